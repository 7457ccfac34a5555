//! Equal interests of many streams as one object: the names of a thousand clusters are 100 KiB, and every stream has
//! the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pilotage_protocol::{Interest, WeakInterest};

/// Interests with fewer names are not worth a look.
const WORTHWHILE: usize = 8;

/// The interests of all streams that are in use.
#[derive(Default)]
pub(crate) struct Interner {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    interests: HashMap<u64, WeakInterest>,
    /// How many there may be before those that nobody uses any more are looked for.
    sweep_at: usize,
}

impl Interner {
    /// The same interest, as another stream may already have it.
    pub(crate) fn share(&self, interest: &Interest) -> Option<Interest> {
        if interest.named().len() < WORTHWHILE {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = interest.hash();
        if let Some(other) = known.interests.get(&hash).and_then(WeakInterest::upgrade) {
            return (&other == interest).then_some(other);
        }
        if known.interests.len() >= known.sweep_at {
            known.interests.retain(|_, interest| interest.upgrade().is_some());
            known.sweep_at = 64.max(known.interests.len() * 2);
        }
        known.interests.insert(hash, interest.downgrade());
        None
    }
}
