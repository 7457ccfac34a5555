//! Which group a client belongs to: told by its node, and by the labels that the world looks at.

use std::sync::{Arc, PoisonError, RwLock};

use pilotage_compile::{Group, LabelKeys, Settings};
use pilotage_protos::discovery::Node;
use pilotage_watcher::World;

/// The function from node to group, shared by the server, which asks, and the pipeline, which keeps it current.
#[derive(Clone, Debug, Default)]
pub struct Grouping(Arc<RwLock<LabelKeys>>);

impl Grouping {
    /// The group of a node.
    pub fn of(&self, node: &Node) -> Group {
        Group::of(node, &self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at the labels that this world looks at, and says whether they are others than before.
    pub(super) fn update(&self, world: &World, settings: &Settings) -> bool {
        let keys = LabelKeys::of(world, settings);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let has_changed = *known != keys;
        *known = keys;
        has_changed
    }
}
