//! The Pods and Nodes of one moment, by which clients are known for what they are.

use std::sync::Arc;

use super::{Table, place};
use crate::resources::{Node, Pod, WithMeta};

/// The Pods and Nodes of one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Workloads {
    pub(super) pods: Table<Pod>,
    pub(super) nodes: Table<Node>,
}

impl Workloads {
    /// One Pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Pod>>> {
        self.pods.get(&(namespace.into(), name.into()))
    }

    /// Where a Node stands; one that is not known stands nowhere.
    pub fn place(&self, node: Option<&Arc<str>>) -> &Node {
        place(&self.nodes, node)
    }
}
