//! The decisions of a group's sessions that other streams of the group can follow.
//!
//! Invariant: few are kept, and none for longer than the snapshot that it is about, so that no content outlives its
//! use.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_protocol::{Precedent, Precedents};

/// How many are kept: enough for a few kinds of clients, each with a few types.
const KEPT: usize = 32;

/// What was decided since the latest publication.
#[derive(Default)]
pub(crate) struct Docket {
    kept: Mutex<Vec<Arc<Precedent>>>,
}

impl Docket {
    /// Forgets everything: the snapshot is another one.
    pub(crate) fn clear(&self) {
        // Let go of outside of the lock.
        drop(std::mem::take(&mut *self.kept()));
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Arc<Precedent>>> {
        // Nothing panics while the lock is held; if something did, the list would still be whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Precedents for Docket {
    fn find(&self, applies: impl Fn(&Precedent) -> bool) -> Option<Arc<Precedent>> {
        self.kept().iter().rev().find(|precedent| applies(precedent)).cloned()
    }

    fn keep(&self, precedent: Arc<Precedent>) {
        let mut kept = self.kept();
        let oldest = if kept.len() >= KEPT { Some(kept.remove(0)) } else { None };
        kept.push(precedent);
        drop(kept);
        drop(oldest);
    }
}
