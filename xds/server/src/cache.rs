//! The latest snapshot of every group.
//!
//! Invariant: a snapshot is published whole and never changes afterwards; no lock is held across an `await`. How a
//! publication finds its streams is in [`crate::group`].

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use dashmap::DashMap;
use pilotage_protocol::Snapshot;
use tokio::sync::Notify;

use crate::StreamId;
use crate::group::{Group, Listener};

/// What names a group: streams with equal keys are told the same.
pub trait GroupKey: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static {}

impl<K: Clone + Eq + Hash + fmt::Debug + Send + Sync + 'static> GroupKey for K {}

/// The latest snapshot of every group; a clone is another handle to the same cache.
///
/// A group exists from the first publication or the first stream, whichever comes first, until [`Cache::evict`].
pub struct Cache<K> {
    groups: Arc<DashMap<K, Arc<Group>>>,
    /// Told whenever a stream reaches a revision; see [`crate::Streams::reached`].
    pub(crate) progress: Arc<Notify>,
}

impl<K: GroupKey> Cache<K> {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes this what the group's streams are told.
    ///
    /// Wakes the streams that asked for a name whose resource differs, and no others. Keep the `Arc` of a collection
    /// that did not change, and make one that did from its predecessor: then only what changed is looked at.
    ///
    /// ```
    /// use pilotage_server::Cache;
    /// use pilotage_server::protocol::{Revision, Snapshot};
    ///
    /// let cache = Cache::new();
    /// cache.publish(&"gateways", Snapshot::new(Revision(1)));
    /// assert_eq!(cache.get(&"gateways").map(|latest| latest.revision()), Some(Revision(1)));
    /// assert!(cache.get(&"sidecars").is_none());
    /// ```
    pub fn publish(&self, group: &K, snapshot: Snapshot) {
        // The group stays locked, so that it cannot be evicted before the snapshot is in it.
        let moved = match self.groups.get(group) {
            Some(known) => known.publish(snapshot),
            None => self.groups.entry(group.clone()).or_default().publish(snapshot),
        };
        if moved {
            self.progress.notify_waiters();
        }
    }

    /// What the group's streams are told.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pilotage_server::Cache;
    /// use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
    ///
    /// let cache = Cache::new();
    /// let clusters: Collection = [Resource::new("red", &b"encoded"[..])].into_iter().collect();
    /// cache.publish(&"edge", Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters)));
    /// // The next state, made from the latest: what did not change is shared.
    /// if let Some(latest) = cache.get(&"edge")
    ///     && let Some(clusters) = latest.collection(&ResourceType::Cluster)
    /// {
    ///     let clusters = clusters.with_changes([Resource::new("blue", &b"encoded"[..])], []);
    ///     cache.publish(&"edge", latest.with(ResourceType::Cluster, Arc::new(clusters)).at(Revision(2)));
    /// }
    /// # assert_eq!(cache.get(&"edge").and_then(|it| Some(it.collection(&ResourceType::Cluster)?.len())), Some(2));
    /// ```
    pub fn get(&self, group: &K) -> Option<Snapshot> {
        let group = self.groups.get(group)?.clone();
        group.latest()
    }

    /// Forgets a group that has no streams; returns whether it did.
    ///
    /// ```
    /// # use pilotage_server::Cache;
    /// # use pilotage_server::protocol::{Revision, Snapshot};
    /// let cache = Cache::new();
    /// cache.publish(&"edge", Snapshot::new(Revision(1)));
    /// assert!(cache.evict(&"edge"), "no stream is there that would need it");
    /// assert!(cache.get(&"edge").is_none());
    /// ```
    pub fn evict(&self, group: &K) -> bool {
        self.groups.remove_if(group, |_, members| members.is_deserted()).is_some()
    }

    /// Adds a stream to a group; the flag says whether it is the first.
    pub(crate) fn join(&self, group: &K, stream: StreamId, listener: Arc<Listener>) -> (Arc<Group>, bool) {
        // The entry stays locked while the stream joins, so that the group cannot be evicted in between.
        let entry = self.groups.entry(group.clone()).or_default();
        let is_first = entry.join(stream, listener);
        (entry.clone(), is_first)
    }
}

impl<K: GroupKey> Default for Cache<K> {
    fn default() -> Self {
        Self { groups: Arc::default(), progress: Arc::default() }
    }
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { groups: self.groups.clone(), progress: self.progress.clone() }
    }
}
