//! Which proxies share a snapshot: all that a translation may read of a node, and nothing else.
//!
//! A field that no translation reads would split snapshots for nothing, so labels are kept only where a resource
//! looks at them. What a node says of itself is read from its metadata:
//!
//! | key | value |
//! |---|---|
//! | `PILOTAGE_KIND` | `sidecar`, `gateway` or `grpc` |
//! | `NAMESPACE` | the workload's namespace; default `default` |
//! | `LABELS` | the workload's labels, an object of strings |
//! | `NODE_NAME` | the machine that the workload runs on, for Services that are local to one |
//! | `EGRESS_PORT` | the port of a sidecar's egress listener on 127.0.0.1, a number or a string; default 15001 |
//! | `TCP_EGRESS` | `true`: a sidecar also listens on 127.0.0.1 at every opaque Service port |
//! | `INTERCEPTION_MODE` | `REDIRECT`: iptables hand a sidecar all of the workload's connections, at ports 15001 and 15006 |
//! | `GENERATOR` | `grpc`, as Istio's agents say it, is the same as kind `grpc` |
//!
//! Region and zone come from the node's own `locality`. A node whose id is the name of a Pod that is known has the Pod's
//! labels and machine in place of those that it says, and where it says no locality, that of the machine. Where the metadata is silent, an Istio-style id (`sidecar~ip~pod.namespace~namespace.svc.domain`) or a gRPC user
//! agent says the kind. Anything else is a sidecar.

mod label_keys;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pilotage_protos::discovery::Node;
use pilotage_protos::envoy::Value;
use pilotage_protos::envoy::protobuf::value::Kind as Json;
use pilotage_watcher::Workloads;

pub use label_keys::LabelKeys;

/// The port of a sidecar's egress listener where the node names none.
pub const DEFAULT_EGRESS_PORT: u16 = 15001;

/// Proxies that are told the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// The kind of proxy.
    pub kind: ProxyKind,
    /// The namespace of the workload.
    pub namespace: Arc<str>,
    /// Those of the workload's labels that some resource looks at.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// Where the workload runs, as far as some resource looks at it.
    pub location: Location,
}

/// Where a workload runs; what is unknown, or of no account, is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The region.
    pub region: Arc<str>,
    /// The zone.
    pub zone: Arc<str>,
    /// The part of the zone.
    pub subzone: Arc<str>,
    /// The name of the machine.
    pub node: Arc<str>,
}

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyKind {
    /// An Envoy beside a workload, which calls out through it.
    Sidecar {
        /// The port of the egress listener on 127.0.0.1.
        egress_port: u16,
        /// Whether opaque Service ports are listened on as well.
        tcp_egress: bool,
    },
    /// An Envoy beside a workload whose connections the kernel redirects to it: those that it opens to port 15001, those
    /// that are opened to it to port 15006.
    Intercepted,
    /// An Envoy at the edge, with the listeners of the Gateways that select it.
    Gateway,
    /// A gRPC client that speaks xDS itself.
    Grpc,
}

impl Group {
    /// The group of a node that may be one of these workloads.
    pub fn of_workload(node: &Node, labels: &LabelKeys, workloads: &Workloads) -> Self {
        let mut group = Self::of(node, labels);
        let pod =
            pod_names(&node.id, &group.namespace).find_map(|name| workloads.pod(&group.namespace, name));
        if let Some(pod) = pod {
            let looked_at = |(key, value): (&Arc<str>, &Arc<str>)| {
                Some((labels.get(group.kind, key)?.clone(), value.clone()))
            };
            group.labels = pod.meta.labels.iter().filter_map(looked_at).collect();
            if labels.looks_at_nodes() {
                group.location.node = pod.spec.node.clone().unwrap_or_default();
            }
        }
        if labels.looks_at_localities() && node.locality.is_none() {
            let named = || field(node, "NODE_NAME").and_then(as_text).map(Arc::from);
            let machine = pod.and_then(|pod| pod.spec.node.clone()).or_else(named);
            let place = workloads.place(machine.as_ref());
            let [region, zone, subzone] =
                [&place.region, &place.zone, &place.subzone].map(|part| part.clone().unwrap_or_default());
            group.location = Location { region, zone, subzone, ..group.location };
        }
        group
    }

    /// The group of a node, by what it says of itself; `labels` are those that the world looks at.
    pub fn of(node: &Node, labels: &LabelKeys) -> Self {
        let text = |key: &str| field(node, key).and_then(as_text);
        let id: Vec<&str> = node.id.split('~').collect();
        let istio = (id.len() == 4).then_some(id);
        let sidecar = || match text("INTERCEPTION_MODE").as_deref() {
            Some("REDIRECT") => ProxyKind::Intercepted,
            _ => ProxyKind::Sidecar {
                egress_port: text("EGRESS_PORT")
                    .and_then(|port| port.parse().ok())
                    .filter(|port| *port != 0)
                    .unwrap_or(DEFAULT_EGRESS_PORT),
                tcp_egress: text("TCP_EGRESS").is_some_and(|value| value == "true"),
            },
        };
        let kind = match text("PILOTAGE_KIND").as_deref() {
            Some("gateway") => ProxyKind::Gateway,
            Some("grpc") => ProxyKind::Grpc,
            Some("sidecar") => sidecar(),
            _ if text("GENERATOR").as_deref() == Some("grpc") => ProxyKind::Grpc,
            _ if istio.as_ref().is_some_and(|id| id[0] == "router") => ProxyKind::Gateway,
            _ if istio.as_ref().is_some_and(|id| id[0] == "sidecar") => sidecar(),
            _ if node.user_agent_name.to_ascii_lowercase().starts_with("grpc") => ProxyKind::Grpc,
            _ => sidecar(),
        };
        let namespace = text("NAMESPACE")
            .filter(|namespace| !namespace.is_empty())
            .or_else(|| istio.and_then(|id| id[3].split('.').next().map(str::to_owned)))
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        let mut location = Location::default();
        if labels.looks_at_localities() {
            let of_node = node.locality.clone().unwrap_or_default();
            location.region = of_node.region.into();
            location.zone = of_node.zone.into();
            location.subzone = of_node.sub_zone.into();
        }
        if labels.looks_at_nodes() {
            location.node = text("NODE_NAME").unwrap_or_default().into();
        }
        let labels = match field(node, "LABELS") {
            Some(Json::StructValue(given)) => given
                .fields
                .iter()
                .filter_map(|(key, value)| {
                    let key = labels.get(kind, key)?.clone();
                    Some((key, Arc::from(as_text(value.kind.as_ref()?)?)))
                })
                .collect(),
            _ => BTreeMap::new(),
        };
        Self { kind, namespace: namespace.into(), labels, location }
    }

    /// Whether the workload has all of these labels.
    pub(crate) fn has_labels<'a>(&self, wanted: impl IntoIterator<Item = (&'a String, &'a String)>) -> bool {
        wanted
            .into_iter()
            .all(|(key, value)| self.labels.get(key.as_str()).is_some_and(|found| **found == **value))
    }
}

/// The names that the Pod of a node in this namespace may have, by the node's id: the id itself, `name.namespace`, or an
/// Istio-style id that has one of these.
pub fn pod_names<'a>(id: &'a str, namespace: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let parts: Vec<&str> = id.split('~').collect();
    let named = if parts.len() == 4 { parts[2] } else { id };
    let short = named.strip_suffix(namespace).and_then(|rest| rest.strip_suffix('.'));
    short.into_iter().chain([named])
}

/// The kind and `/namespace`, and the labels that matter.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            ProxyKind::Sidecar { .. } => "sidecar",
            ProxyKind::Intercepted => "intercepted",
            ProxyKind::Gateway => "gateway",
            ProxyKind::Grpc => "grpc",
        };
        write!(f, "{kind}/{}", self.namespace)?;
        for (key, value) in &self.labels {
            write!(f, ",{key}={value}")?;
        }
        let Location { region, zone, subzone, node } = &self.location;
        if !region.is_empty() || !zone.is_empty() {
            write!(f, ",{region}/{zone}/{subzone}")?;
        }
        if !node.is_empty() {
            write!(f, ",on {node}")?;
        }
        Ok(())
    }
}

fn field<'a>(node: &'a Node, key: &str) -> Option<&'a Json> {
    node.metadata.as_ref()?.fields.get(key).and_then(|value: &Value| value.kind.as_ref())
}

fn as_text(value: &Json) -> Option<String> {
    match value {
        Json::StringValue(text) => Some(text.clone()),
        Json::NumberValue(number) => Some(number.to_string()),
        Json::BoolValue(flag) => Some(flag.to_string()),
        Json::NullValue(_) | Json::StructValue(_) | Json::ListValue(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use pilotage_protos::envoy::Struct;

    use super::*;

    fn text(text: &str) -> Value {
        Value { kind: Some(Json::StringValue(text.to_owned())) }
    }

    fn node(id: &str, user_agent: &str, metadata: &[(&str, Value)]) -> Node {
        let fields: HashMap<String, Value> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        Node {
            id: id.to_owned(),
            user_agent_name: user_agent.to_owned(),
            metadata: (!fields.is_empty()).then_some(Struct { fields }),
            ..Node::default()
        }
    }

    fn of(node: &Node) -> Group {
        Group::of(node, &LabelKeys::new(["istio"], ["tier"]))
    }

    const PLAIN: ProxyKind = ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress: false };

    #[test]
    fn metadata_says_who_a_node_is_before_anything_else_does() {
        let group = of(&node(
            "router~10.0.0.1~pod.ns~ns.svc.cluster.local",
            "envoy",
            &[
                ("PILOTAGE_KIND", text("sidecar")),
                ("NAMESPACE", text("shop")),
                ("EGRESS_PORT", Value { kind: Some(Json::NumberValue(16001.0)) }),
                ("TCP_EGRESS", text("true")),
            ],
        ));
        assert_eq!(group.kind, ProxyKind::Sidecar { egress_port: 16001, tcp_egress: true });
        assert_eq!(&*group.namespace, "shop");
    }

    #[test]
    fn istio_ids_and_user_agents_are_understood() {
        let group = of(&node("router~10.0.0.1~pod.edge~edge.svc.cluster.local", "envoy", &[]));
        assert_eq!((group.kind, &*group.namespace), (ProxyKind::Gateway, "edge"));
        let group = of(&node("sidecar~10.0.0.1~pod.apps~apps.svc.cluster.local", "envoy", &[]));
        assert_eq!((group.kind, &*group.namespace), (PLAIN, "apps"));
        assert_eq!(of(&node("n", "gRPC Go", &[])).kind, ProxyKind::Grpc);
        assert_eq!(of(&node("n", "envoy", &[("GENERATOR", text("grpc"))])).kind, ProxyKind::Grpc);
        let group = of(&node("", "", &[]));
        assert_eq!((group.kind, &*group.namespace), (PLAIN, "default"));
    }

    #[test]
    fn a_pod_that_is_known_is_what_the_cluster_says_that_it_is() {
        use pilotage_watcher::resources::{self, Labels, Meta, WithMeta};
        use pilotage_watcher::{Object, World};

        let labels = |pairs: &[(&str, &str)]| -> Labels {
            pairs.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect()
        };
        let meta = |namespace: &str, name: &str, labels| Meta {
            namespace: namespace.into(),
            name: name.into(),
            labels,
            ..Meta::default()
        };
        let mut world = World::default();
        let pod = resources::Pod { node: Some("n1".into()), ..Default::default() };
        let of_pod = meta("shop", "web-1", labels(&[("tier", "gold"), ("pod-template-hash", "7d4f")]));
        world.apply(Object::Pod(Arc::new(WithMeta { meta: of_pod, spec: pod })));
        let place = resources::Node { zone: Some("a".into()), region: Some("eu".into()), subzone: None };
        world.apply(Object::Node(Arc::new(WithMeta { meta: meta("", "n1", Labels::new()), spec: place })));
        let claimed = Value {
            kind: Some(Json::StructValue(Struct { fields: [("istio".to_owned(), text("x"))].into() })),
        };
        let of = |id: &str, more: &[(&str, Value)]| {
            let metadata = [&[("NAMESPACE", text("shop")), ("LABELS", claimed.clone())], more].concat();
            let keys = LabelKeys::new(["istio"], ["tier"]);
            Group::of_workload(&node(id, "", &metadata), &keys, &world.workloads())
        };
        for id in ["web-1", "web-1.shop", "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local"] {
            assert_eq!(of(id, &[]).to_string(), "sidecar/shop,tier=gold,eu/a/", "{id}");
        }
        // Whoever claims to be a gateway has the Pod's labels, and so only the Gateways that select it.
        assert_eq!(
            of("web-1", &[("PILOTAGE_KIND", text("gateway"))]).to_string(),
            "gateway/shop,tier=gold,eu/a/"
        );
        // Nobody knows this one, but where it runs.
        let other = of("web-2", &[("PILOTAGE_KIND", text("gateway")), ("NODE_NAME", text("n1"))]);
        assert_eq!(other.to_string(), "gateway/shop,istio=x,eu/a/");
    }

    #[test]
    fn nonsense_falls_back_to_the_defaults() {
        let group = of(&node(
            "~~~",
            "envoy",
            &[("PILOTAGE_KIND", text("?")), ("EGRESS_PORT", text("70000")), ("NAMESPACE", text(""))],
        ));
        assert_eq!((group.kind, &*group.namespace), (PLAIN, "default"));
        assert_eq!(of(&node("n", "", &[("EGRESS_PORT", text("0"))])).kind, PLAIN);
    }

    #[test]
    fn labels_are_kept_only_where_something_looks_at_them() {
        let fields = [("istio", "ingress"), ("tier", "gold"), ("pod-template-hash", "7d4f")]
            .map(|(key, value)| (key.to_owned(), text(value)));
        let labels = Value { kind: Some(Json::StructValue(Struct { fields: fields.into() })) };
        let sidecar = of(&node("n", "", &[("LABELS", labels.clone())]));
        assert_eq!(sidecar.to_string(), "sidecar/default,tier=gold");
        let gateway = of(&node("n", "", &[("LABELS", labels), ("PILOTAGE_KIND", text("gateway"))]));
        assert_eq!(gateway.to_string(), "gateway/default,istio=ingress,tier=gold");
    }
}
