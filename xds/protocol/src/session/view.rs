//! What the planner may look at: the whole stream, read-only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::subscription::Subscription;
use crate::{Collection, Dialect, Reference, Resource, ResourceType, Snapshot, Spared};

pub(super) struct View<'a> {
    pub(super) dialect: Dialect,
    pub(super) now: Instant,
    pub(super) reference_wait: Duration,
    pub(super) snapshot: &'a Snapshot,
    pub(super) spared: &'a Spared,
    pub(super) subscriptions: &'a BTreeMap<ResourceType, Subscription>,
}

impl View<'_> {
    /// What clients should have of a type: nothing where the snapshot has no collection of a known type, and no
    /// answer at all for a type that nobody knows (H3).
    pub(super) fn target(&self, resource_type: &ResourceType) -> Option<Arc<Collection>> {
        match (self.snapshot.collection(resource_type), resource_type) {
            (Some(collection), _) => Some(collection.clone()),
            (None, ResourceType::Other(_)) => None,
            (None, _) => Some(Arc::default()),
        }
    }

    /// The resource that a reference leads to.
    pub(super) fn resolve(&self, reference: &Reference) -> Option<&Resource> {
        self.snapshot.collection(&reference.resource_type)?.get(&reference.name)
    }
}
