//! Nodes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::meta;
use crate::resources::{Labels, Meta, Node, WithMeta};

/// Where a Node stands, from its metadata. Nothing else of it is kept; its namespace is empty.
pub fn node(metadata: ObjectMeta) -> WithMeta<Node> {
    let meta = meta("v1", metadata);
    let spec = Node::of(&meta.labels);
    WithMeta {
        meta: Meta { namespace: "".into(), labels: Labels::new(), annotations: Labels::new(), ..meta },
        spec,
    }
}
