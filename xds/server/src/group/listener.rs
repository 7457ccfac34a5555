//! One stream, as a publisher sees it: what it asked for, how far it is, and how to wake it.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use pilotage_protocol::{Holding, Interest, ResourceType, Revision};
use tokio::sync::oneshot;

use super::concern::{Change, bit};

/// One stream, as a publisher sees it.
#[derive(Default)]
pub(crate) struct Listener {
    wake: Bell,
    /// Whether there is something else to do than to look for a snapshot.
    errand: AtomicBool,
    errands: Mutex<Vec<Errand>>,
    /// Whether the stream is to ask again which group it belongs to.
    regroup: AtomicBool,
    types: AtomicU32,
    /// They are few: a map would have room for many.
    interests: Mutex<Vec<(ResourceType, Interest)>>,
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

/// Wakes the one task that listens; a ring that nobody heard is heard by the next to listen.
#[derive(Default)]
struct Bell {
    has_rung: AtomicBool,
    listener: AtomicWaker,
}

impl Bell {
    fn ring(&self) {
        self.has_rung.store(true, Ordering::SeqCst);
        self.listener.wake();
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if !self.has_rung.load(Ordering::SeqCst) {
            self.listener.register(context.waker());
        }
        // It may have rung in between.
        if self.has_rung.swap(false, Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Listener {
    /// Waits until a publication concerns this stream.
    pub(crate) async fn woken(&self) {
        poll_fn(|context| self.wake.poll(context)).await;
    }

    /// Wakes the stream if a publication concerns it. Otherwise it is left asleep, and has thereby reached the new
    /// revision if it had the former one; returns whether it has.
    pub(super) fn hear(&self, change: &mut Change, from: Option<Revision>, to: Revision) -> bool {
        let is_of_type = change.is_of(self.types.load(Ordering::SeqCst));
        let is_concerned =
            is_of_type && self.interests().iter().any(|(of, asked)| change.concerns(of, asked));
        let has_reached = !is_concerned && from.is_some_and(|from| self.watermark.advance(from, to));
        // A stream that has something to wait for may wait for what it did not ask for by name.
        if is_concerned || (is_of_type && !has_reached) {
            self.wake.ring();
        }
        has_reached
    }

    /// Has the stream ask again which group it belongs to.
    pub(crate) fn regroup(&self) {
        self.regroup.store(true, Ordering::SeqCst);
        self.wake.ring();
    }

    /// Whether that was asked for, since this was looked at last.
    pub(crate) fn take_regroup(&self) -> bool {
        self.regroup.swap(false, Ordering::SeqCst)
    }

    /// Has the stream do something for somebody else.
    pub(crate) fn send_on(&self, errand: Errand) {
        self.errands.lock().unwrap_or_else(PoisonError::into_inner).push(errand);
        self.errand.store(true, Ordering::SeqCst);
        self.wake.ring();
    }

    /// What others want of the stream, since this was looked at last.
    pub(crate) fn take_errands(&self) -> Vec<Errand> {
        if !self.errand.swap(false, Ordering::SeqCst) {
            return Vec::new();
        }
        std::mem::take(&mut self.errands.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Announces what the stream asks for of a type; look for a newer snapshot afterwards.
    pub(crate) fn announce(&self, resource_type: &ResourceType, interest: &Interest) {
        let mut interests = self.interests();
        match interests.iter_mut().find(|(of, _)| of == resource_type) {
            Some((_, former)) => *former = interest.clone(),
            None => {
                interests.reserve_exact(1);
                interests.push((resource_type.clone(), interest.clone()));
            }
        }
        drop(interests);
        self.types.fetch_or(bit(resource_type), Ordering::SeqCst);
    }

    fn interests(&self) -> MutexGuard<'_, Vec<(ResourceType, Interest)>> {
        // Nothing panics while the lock is held; if something did, the list would still be whole.
        self.interests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn has_been_woken(&self) -> bool {
        self.wake.has_rung.swap(false, Ordering::SeqCst)
    }
}
