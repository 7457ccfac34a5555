//! Nodes, of which only the labels that say where they stand are used.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Labels;

/// Where a Node stands. Its labels are read for this alone, so that a Node whose other labels change is the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The region, from the label `topology.kubernetes.io/region`.
    pub region: Option<Arc<str>>,
    /// The zone, from the label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// The part of the zone, from the label `topology.istio.io/subzone`.
    pub subzone: Option<Arc<str>>,
}

impl Node {
    /// Where a Node with these labels stands.
    pub fn of(labels: &Labels) -> Self {
        let label = |key: &str| labels.get(key).filter(|value| !value.is_empty()).cloned();
        Self {
            region: label("topology.kubernetes.io/region"),
            zone: label("topology.kubernetes.io/zone"),
            subzone: label("topology.istio.io/subzone"),
        }
    }
}
