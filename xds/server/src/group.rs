//! One group of streams and its latest snapshot: who has to be woken by a publication, and who need not be.
//!
//! Invariant: a publication is seen by every stream that it concerns. A stream first announces what it is interested
//! in and then looks for a newer snapshot; a publisher first stores the snapshot and then looks who is interested.
//! Either way round, one of them sees the other.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_protocol::{Collection, Holding, Resource, ResourceType, Revision, Snapshot, Spared};
use tokio::sync::{Notify, oneshot};

use crate::StreamId;
use crate::history::History;
use crate::precedents::Docket;
use crate::rejections::{Kind, Rejections};

/// A group's snapshot and its streams.
#[derive(Default)]
pub(crate) struct Group {
    generation: AtomicU64,
    precedents: Docket,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    latest: Option<Snapshot>,
    history: History,
    rejections: Rejections,
    listeners: HashMap<StreamId, Arc<Listener>>,
}

/// One stream, as a publisher sees it.
#[derive(Default)]
pub(crate) struct Listener {
    wake: Notify,
    /// Whether there is something else to do than to look for a snapshot.
    errand: AtomicBool,
    errands: Mutex<Vec<Errand>>,
    /// Whether the stream is to ask again which group it belongs to.
    regroup: AtomicBool,
    types: AtomicU32,
    pub(crate) watermark: Watermark,
}

/// What a stream's own task is asked to do, since only it has the session.
pub(crate) enum Errand {
    /// Look at what the clients of its kind are spared.
    Spare,
    /// Say what the client has.
    Report(oneshot::Sender<Vec<Holding>>),
}

/// The greatest revision that a stream is known to have in full.
#[derive(Default)]
pub(crate) struct Watermark(AtomicU64);

impl Watermark {
    pub(crate) fn get(&self) -> Option<Revision> {
        self.0.load(Ordering::SeqCst).checked_sub(1).map(Revision)
    }

    /// Raises the mark, and says whether it moved.
    pub(crate) fn raise(&self, revision: Revision) -> bool {
        let mark = encoded(revision);
        self.0.fetch_max(mark, Ordering::SeqCst) < mark
    }

    fn advance(&self, from: Revision, to: Revision) -> bool {
        self.0.compare_exchange(encoded(from), encoded(to), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// Zero is "none".
fn encoded(revision: Revision) -> u64 {
    revision.0.saturating_add(1)
}

impl Listener {
    /// Waits until a publication concerns this stream.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Has the stream ask again which group it belongs to.
    pub(crate) fn regroup(&self) {
        self.regroup.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether that was asked for, since this was looked at last.
    pub(crate) fn take_regroup(&self) -> bool {
        self.regroup.swap(false, Ordering::SeqCst)
    }

    /// Has the stream do something for somebody else.
    pub(crate) fn send_on(&self, errand: Errand) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).push(errand);
        self.errand.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// What others want of the stream, since this was looked at last.
    pub(crate) fn take_errands(&self) -> Vec<Errand> {
        if !self.errand.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces interest in a type; look for a newer snapshot afterwards.
    pub(crate) fn announce(&self, resource_type: &ResourceType) {
        self.types.fetch_or(bit(resource_type), Ordering::SeqCst);
    }
}

impl Group {
    /// Replaces the snapshot, and wakes the streams that asked for a type that differs. Returns whether a stream that
    /// is not concerned has thereby reached the new revision.
    pub(crate) fn publish(&self, snapshot: Snapshot) -> bool {
        let mut members = self.members();
        let former = members.latest.replace(snapshot.clone());
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.precedents.clear();
        let changed = former.as_ref().map_or(u32::MAX, |former| changed_types(former, &snapshot));
        if let Some(former) = &former {
            members.history.replaced(former, &snapshot);
        }
        let mut moved = false;
        for listener in members.listeners.values() {
            if listener.types.load(Ordering::SeqCst) & changed != 0 {
                listener.wake.notify_one();
            } else if let Some(former) = &former {
                moved |= listener.watermark.advance(former.revision(), snapshot.revision());
            }
        }
        moved
    }

    /// What was decided for others of the group.
    pub(crate) fn precedents(&self) -> &Docket {
        &self.precedents
    }

    /// The latest snapshot.
    pub(crate) fn latest(&self) -> Option<Snapshot> {
        self.members().latest.clone()
    }

    /// The latest snapshot, if one was published since `seen`, which is brought up to date.
    pub(crate) fn newer(&self, seen: &mut u64) -> Option<Snapshot> {
        if self.generation.load(Ordering::SeqCst) == *seen {
            return None;
        }
        let members = self.members();
        *seen = self.generation.load(Ordering::SeqCst);
        members.latest.clone()
    }

    /// Notes that a client has rejected a resource, and tells all streams if others are spared it from now on.
    pub(crate) fn note_rejection(
        &self,
        client: (&Kind, &Arc<str>),
        resource_type: &ResourceType,
        resource: &Resource,
        threshold: NonZeroUsize,
    ) -> bool {
        let mut members = self.members();
        let spares = members.rejections.note(client, resource_type, resource, threshold);
        if spares {
            members.listeners.values().for_each(|listener| listener.send_on(Errand::Spare));
        }
        spares
    }

    /// What clients of a kind are spared.
    pub(crate) fn spared(&self, kind: &Kind) -> Option<Arc<Spared>> {
        self.members().rejections.spared(kind)
    }

    /// Keeps what the client of a stream that ends may come back with.
    pub(crate) fn remember(&self, states: Vec<(ResourceType, Arc<Collection>)>) {
        let mut members = self.members();
        states.into_iter().for_each(|(resource_type, state)| members.history.keep(resource_type, state));
    }

    /// The state that clients of the group had under this version of a type, if that was not long ago.
    pub(crate) fn recollection(
        &self,
        resource_type: &ResourceType,
        version: &str,
    ) -> Option<Arc<Collection>> {
        self.members().history.find(resource_type, version)
    }

    /// Adds a stream, and says whether it is the first.
    pub(crate) fn join(&self, stream: StreamId, listener: Arc<Listener>) -> bool {
        let mut members = self.members();
        let is_first = members.listeners.is_empty();
        members.listeners.insert(stream, listener);
        is_first
    }

    /// Takes a stream away, and says whether it was the last.
    pub(crate) fn leave(&self, stream: StreamId) -> bool {
        let mut members = self.members();
        members.listeners.remove(&stream).is_some() && members.listeners.is_empty()
    }

    pub(crate) fn is_deserted(&self) -> bool {
        self.members().listeners.is_empty()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Nothing panics while the lock is held; if something did, the maps would still be whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn changed_types(former: &Snapshot, latest: &Snapshot) -> u32 {
    let differs = |(resource_type, collection): (&ResourceType, &Arc<_>), other: &Snapshot| {
        let is_same = other.collection(resource_type).is_some_and(|theirs| Arc::ptr_eq(theirs, collection));
        if is_same { 0 } else { bit(resource_type) }
    };
    let appeared = latest.iter().map(|entry| differs(entry, former));
    let vanished = former.iter().map(|entry| differs(entry, latest));
    appeared.chain(vanished).fold(0, |bits, bit| bits | bit)
}

/// The place of a type in a set of types; all types outside the table share one.
fn bit(resource_type: &ResourceType) -> u32 {
    let index = ResourceType::KNOWN.iter().position(|known| known == resource_type);
    1 << index.unwrap_or(ResourceType::KNOWN.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pilotage_protocol::{Collection, Resource};

    fn snapshot(revision: u64, resource_type: ResourceType) -> Snapshot {
        let collection: Collection = [Resource::new("a", vec![1])].into_iter().collect();
        Snapshot::new(Revision(revision)).with(resource_type, Arc::new(collection))
    }

    #[test]
    fn a_stream_that_is_not_concerned_moves_on_without_being_woken() {
        let group = Group::default();
        let first = snapshot(1, ResourceType::Cluster);
        group.publish(first.clone());
        let listener = Arc::new(Listener::default());
        assert!(group.join(StreamId(1), listener.clone()));
        listener.announce(&ResourceType::Cluster);
        listener.watermark.raise(Revision(1));

        let routes = Arc::new(Collection::default());
        let second = first.at(Revision(2)).with(ResourceType::Route, routes);
        assert!(group.publish(second.clone()));
        assert_eq!(listener.watermark.get(), Some(Revision(2)));

        let clusters = Arc::new(Collection::default());
        assert!(!group.publish(second.at(Revision(3)).with(ResourceType::Cluster, clusters)));
        assert_eq!(listener.watermark.get(), Some(Revision(2)));
        assert!(group.leave(StreamId(1)));
        assert!(!group.leave(StreamId(1)));
    }

    #[test]
    fn every_type_has_a_bit_of_its_own() {
        let bits = ResourceType::KNOWN.iter().map(bit).fold(0, |bits, bit| bits | bit);
        assert_eq!(bits.count_ones() as usize, ResourceType::KNOWN.len());
        assert_eq!(bits & bit(&ResourceType::Other("x".into())), 0);
    }
}
