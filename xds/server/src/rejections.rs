//! Who of a group has rejected which content, and what the others are therefore spared.
//!
//! Invariant: one client alone changes nothing for others. Only distinct nodes of one kind, which is a client's name
//! and version, add up, and only for one content; what they hold against a resource ends with that content.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use pilotage_protocol::{Name, Resource, ResourceType, Spared, Version};
use pilotage_protos::discovery::Node;
use pilotage_protos::envoy::core::node::UserAgentVersionType;

/// Rejected names that are remembered for one group; beyond that all are forgotten, and counted anew.
const NAMES: usize = 4096;

/// Clients that can be expected to reject the same things.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind(Arc<str>);

impl Kind {
    pub(crate) fn of(node: &Node) -> Self {
        // The numbers alone: the metadata of a build is a map, which has no order.
        let version = match &node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
                let version = build.version.unwrap_or_default();
                format!("{}.{}.{}", version.major_number, version.minor_number, version.patch)
            }
            None => String::new(),
        };
        Self(format!("{} {version}", node.user_agent_name).into())
    }
}

/// The nodes that have rejected one content.
#[derive(Default)]
struct Witnesses {
    version: Version,
    nodes: BTreeSet<Arc<str>>,
}

#[derive(Default)]
pub(crate) struct Rejections {
    witnesses: HashMap<(Kind, ResourceType, Name), Witnesses>,
    spared: HashMap<Kind, Arc<Spared>>,
}

impl Rejections {
    /// Notes that a node has rejected a resource; returns whether others are spared it from now on.
    pub(crate) fn note(
        &mut self,
        (kind, node): (&Kind, &Arc<str>),
        resource_type: &ResourceType,
        resource: &Resource,
        threshold: NonZeroUsize,
    ) -> bool {
        if self.witnesses.len() >= NAMES {
            self.witnesses.clear();
        }
        let key = (kind.clone(), resource_type.clone(), resource.name().clone());
        let Witnesses { version, nodes } = self.witnesses.entry(key).or_default();
        if *version != resource.version() {
            *version = resource.version();
            nodes.clear();
        }
        if nodes.len() >= threshold.get() {
            return false;
        }
        if !nodes.insert(node.clone()) || nodes.len() < threshold.get() {
            return false;
        }
        let spared = self.spared.entry(kind.clone()).or_default();
        *spared = Arc::new(spared.as_ref().clone().with(resource_type.clone(), resource));
        true
    }

    /// What clients of a kind are spared.
    pub(crate) fn spared(&self, kind: &Kind) -> Option<Arc<Spared>> {
        self.spared.get(kind).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: ResourceType = ResourceType::Cluster;

    fn kind(name: &str) -> Kind {
        Kind::of(&Node { user_agent_name: name.to_owned(), ..Node::default() })
    }

    #[test]
    fn a_kind_is_a_name_and_a_version() {
        use pilotage_protos::envoy::core::BuildVersion;
        use pilotage_protos::envoy::protobuf::{Struct, Value};
        use pilotage_protos::envoy::types::v3::SemanticVersion;

        let envoy = |minor_number, notes: &[&str]| {
            let version = Some(SemanticVersion { major_number: 1, minor_number, patch: 0 });
            let fields = notes.iter().map(|note| ((*note).to_owned(), Value::default())).collect();
            let build = BuildVersion { version, metadata: Some(Struct { fields }) };
            let version = Some(UserAgentVersionType::UserAgentBuildVersion(build));
            Kind::of(&Node { user_agent_version_type: version, ..Node::default() })
        };
        assert_eq!(envoy(40, &["a", "b", "c", "d"]), envoy(40, &["d", "c", "b", "a"]));
        assert_ne!(envoy(40, &[]), envoy(38, &[]));
    }

    #[test]
    fn only_distinct_nodes_of_one_kind_and_one_content_add_up() {
        let mut rejections = Rejections::default();
        let (envoy, grpc) = (kind("envoy"), kind("grpc"));
        let (bad, worse) = (Resource::new("a", "bad"), Resource::new("a", "worse"));
        let two = NonZeroUsize::new(2).expect("two is not zero");
        let mut note = |kind: &Kind, node: &str, resource: &Resource| {
            rejections.note((kind, &node.into()), &TYPE, resource, two)
        };
        assert!(!note(&envoy, "n1", &bad));
        assert!(!note(&envoy, "n1", &bad), "one node, however often");
        assert!(!note(&grpc, "n2", &bad), "another kind");
        assert!(!note(&envoy, "n2", &worse), "another content");
        assert!(!note(&envoy, "n1", &bad), "which also starts the count anew");
        assert!(note(&envoy, "n3", &bad));
        assert!(!note(&envoy, "n4", &bad), "it is spared already");
        assert!(rejections.spared(&envoy).expect("something is spared").covers(&TYPE, &bad));
        assert!(rejections.spared(&grpc).is_none());
    }
}
