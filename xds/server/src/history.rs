//! The lists that clients of a group had lately, by which one that comes back is known (R12).
//!
//! Invariant: what is kept shares its parts with the snapshots that it came from, and there is a bound on how much it
//! is. What is forgotten costs a client that comes back with it no more than the order of removals.

use std::collections::VecDeque;
use std::sync::Arc;

use pilotage_protocol::{Collection, ResourceType, Snapshot};

/// States that are kept, of all types together.
const REMEMBERED: usize = 32;

/// The latest states of the types that SotW lists in full, oldest first.
#[derive(Default)]
pub(crate) struct History(VecDeque<(ResourceType, Arc<Collection>)>);

impl History {
    /// Keeps what `latest` replaces.
    pub(crate) fn replaced(&mut self, former: &Snapshot, latest: &Snapshot) {
        let listed = former.iter().filter(|(resource_type, _)| resource_type.is_full_state_in_sotw());
        for (resource_type, collection) in listed {
            if latest.collection(resource_type).is_none_or(|latest| !Arc::ptr_eq(latest, collection)) {
                self.keep(resource_type.clone(), collection.clone());
            }
        }
    }

    /// Keeps a state.
    pub(crate) fn keep(&mut self, resource_type: ResourceType, state: Arc<Collection>) {
        let is_known = |(known_type, known): &(ResourceType, Arc<Collection>)| {
            *known_type == resource_type && known.version() == state.version()
        };
        if self.0.iter().any(is_known) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((resource_type, state));
    }

    /// The state of a type that has this version.
    pub(crate) fn find(&self, resource_type: &ResourceType, version: &str) -> Option<Arc<Collection>> {
        let states = self.0.iter().rev().filter(|(of, _)| of == resource_type).map(|(_, state)| state);
        states.into_iter().find(|state| state.version().to_string() == version).cloned()
    }
}

#[cfg(test)]
mod tests {
    use pilotage_protocol::Resource;

    use super::*;

    fn state(name: u64) -> Arc<Collection> {
        Arc::new([Resource::new(name.to_string(), Vec::new())].into_iter().collect())
    }

    #[test]
    fn the_latest_states_are_found_by_their_version_and_no_others() {
        let mut history = History::default();
        for name in 0..=REMEMBERED as u64 {
            history.keep(ResourceType::Cluster, state(name));
            history.keep(ResourceType::Cluster, state(name));
        }
        let find = |resource_type, name| history.find(&resource_type, &state(name).version().to_string());
        assert!(find(ResourceType::Cluster, 0).is_none(), "the oldest is forgotten");
        assert!(find(ResourceType::Cluster, 1).is_some_and(|found| found.contains("1")));
        assert!(find(ResourceType::Listener, 1).is_none(), "that is another type");
    }
}
