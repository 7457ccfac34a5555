//! The kinds that are watched: where the API serves them, and in which versions they are read.

use super::subject::Subject;
use crate::resources::convert;
use crate::{Kind, SourceName};

/// A kind as the API knows it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) kind: Kind,
    pub(super) group: &'static str,
    /// The versions that are read, the preferred one first.
    pub(super) versions: &'static [&'static str],
    pub(super) plural: &'static str,
    /// Whether it comes from a CustomResourceDefinition, and so may be absent.
    pub(super) custom: bool,
    /// The label that an object must have to be read, with its value; none where all are read.
    pub(super) label: Option<(&'static str, &'static str)>,
    /// How much of an object is asked for.
    pub(super) extent: Extent,
}

/// How much of an object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// Its metadata alone (`PartialObjectMetadata`).
    Metadata,
}

const ISTIO: &str = "networking.istio.io";
const ISTIO_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];

const fn built_in(kind: Kind, group: &'static str, plural: &'static str) -> Watched {
    Watched { kind, group, versions: &["v1"], plural, custom: false, label: None, extent: Extent::Whole }
}

const fn routing(kind: Kind, plural: &'static str) -> Watched {
    custom(kind, ISTIO, ISTIO_VERSIONS, plural)
}

const fn custom(
    kind: Kind,
    group: &'static str,
    versions: &'static [&'static str],
    plural: &'static str,
) -> Watched {
    Watched { kind, group, versions, plural, custom: true, label: None, extent: Extent::Whole }
}

/// Every kind that is watched.
pub(super) const WATCHED: &[Watched] = &[
    built_in(Kind::Service, "", "services"),
    built_in(Kind::EndpointSlice, "discovery.k8s.io", "endpointslices"),
    built_in(Kind::Pod, "", "pods"),
    // A Node's labels say where it stands; the rest of it is large, and changes all the time.
    Watched { extent: Extent::Metadata, ..built_in(Kind::Node, "", "nodes") },
    // ConfigMaps may hold anything: those that hold descriptors are marked.
    Watched { label: Some(convert::DESCRIPTORS), ..built_in(Kind::Descriptors, "", "configmaps") },
    routing(Kind::VirtualService, "virtualservices"),
    routing(Kind::DestinationRule, "destinationrules"),
    routing(Kind::Gateway, "gateways"),
    routing(Kind::ServiceEntry, "serviceentries"),
    routing(Kind::WorkloadEntry, "workloadentries"),
    routing(Kind::Sidecar, "sidecars"),
    custom(Kind::Telemetry, "telemetry.istio.io", &["v1", "v1alpha1"], "telemetries"),
    custom(Kind::EnvoyResources, "pilotage.dev", &["v1alpha1"], "envoyresources"),
];

/// Secrets, which are watched one by one: see `secrets`.
pub(super) const SECRETS: Watched = built_in(Kind::Secret, "", "secrets");

/// The scope of problems with a kind as a whole, such as that it may not be read; none for kinds that are not watched
/// as such.
pub fn kind_scope(kind: Kind) -> Option<SourceName> {
    let watched = WATCHED.iter().find(|watched| watched.kind == kind)?;
    Some(Subject::all(watched).scope())
}

impl Watched {
    /// The path under which a version of the group is served.
    pub(super) fn group_path(&self, version: &str) -> String {
        if self.group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{}/{version}", self.group)
        }
    }

    /// The path of all objects of the kind.
    pub(super) fn path(&self, version: &str) -> String {
        format!("{}/{}", self.group_path(version), self.plural)
    }

    /// The path of the objects of a namespace.
    pub(super) fn path_in(&self, version: &str, namespace: &str) -> String {
        format!("{}/namespaces/{namespace}/{}", self.group_path(version), self.plural)
    }

    /// As `apiVersion` has it.
    pub(super) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }

    /// The name of its CustomResourceDefinition, and what a role names it by.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_group_is_served_elsewhere() {
        let paths: Vec<_> = WATCHED.iter().map(|watched| watched.path(watched.versions[0])).collect();
        assert_eq!(paths[0], "/api/v1/services");
        assert_eq!(paths[1], "/apis/discovery.k8s.io/v1/endpointslices");
        assert_eq!(paths[8], "/apis/networking.istio.io/v1/serviceentries");
        assert_eq!(WATCHED[2].qualified(), "pods");
        assert_eq!(WATCHED[5].qualified(), "virtualservices.networking.istio.io");
        assert_eq!(WATCHED[5].api_version("v1beta1"), "networking.istio.io/v1beta1");
    }
}
