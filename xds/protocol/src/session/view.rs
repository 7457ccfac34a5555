//! What the planner may look at: the whole stream, read-only.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::subscription::Subscription;
use crate::{ClientProfile, Collection, Dialect, Reference, Resource, ResourceType, Snapshot, Spared};

/// What a known type is where the snapshot has no collection of it: one object, so that it is recognised.
static NOTHING: LazyLock<Arc<Collection>> = LazyLock::new(Arc::default);

pub(super) struct View<'a> {
    pub(super) dialect: Dialect,
    pub(super) profile: ClientProfile,
    pub(super) response_bytes: usize,
    pub(super) now: Instant,
    pub(super) reference_wait: Duration,
    pub(super) snapshot: &'a Snapshot,
    pub(super) spared: &'a Spared,
    pub(super) subscriptions: &'a BTreeMap<ResourceType, Box<Subscription>>,
}

impl View<'_> {
    /// What clients should have of a type: nothing where the snapshot has no collection of a known type, and no
    /// answer at all for a type that nobody knows (H3).
    pub(super) fn target(&self, resource_type: &ResourceType) -> Option<Arc<Collection>> {
        match (self.snapshot.collection(resource_type), resource_type) {
            (Some(collection), _) => Some(collection.clone()),
            (None, ResourceType::Other(_)) => None,
            (None, _) => Some(NOTHING.clone()),
        }
    }

    /// Whether the client can be told in so many words that a name does not exist (R63, R68).
    pub(super) fn has_word_for_missing(&self, resource_type: &ResourceType) -> bool {
        match self.dialect {
            Dialect::Sotw => self.profile == ClientProfile::Grpc,
            Dialect::Delta => *resource_type == ResourceType::VirtualHost,
        }
    }

    /// The resource that a reference leads to.
    pub(super) fn resolve(&self, reference: &Reference) -> Option<&Resource> {
        self.snapshot.collection(&reference.resource_type)?.get(&reference.name)
    }
}
