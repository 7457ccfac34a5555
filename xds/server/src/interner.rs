//! Equal interests of many streams as one object: the names of a thousand clusters are 100 KiB, and every stream has
//! the same.
//!
//! Invariant: an interest is found only for equal names. A hash leads to a candidate, which is then compared: the
//! names come from clients, who may know the hash.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_protocol::{Interest, WeakInterest, Wildcard};
use xxhash_rust::xxh3::xxh3_64;

/// Interests with fewer names are not worth a look.
const WORTHWHILE: usize = 8;

/// Bytes of encoded lists that are kept; the newest is kept whatever its length.
const KEPT_BYTES: usize = 4 << 20;

/// The interests of all streams that are in use, and some lists of names by which clients said them.
#[derive(Default)]
pub(crate) struct Interner {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    interests: HashMap<u64, WeakInterest>,
    /// How many there may be before those that nobody uses any more are looked for.
    sweep_at: usize,
    lists: VecDeque<Arc<List>>,
    list_bytes: usize,
}

/// Names as a client encoded them, and what they mean.
struct List {
    hash: u64,
    encoded: Box<[u8]>,
    interest: Interest,
}

impl Interner {
    /// The same interest, as another stream may already have it.
    pub(crate) fn share(&self, interest: &Interest) -> Option<Interest> {
        if interest.named().len() < WORTHWHILE {
            return None;
        }
        let hash = interest.hash();
        let mut known = self.known();
        if let Some(other) = known.interests.get(&hash).and_then(WeakInterest::upgrade) {
            drop(known);
            return (&other == interest).then_some(other);
        }
        if known.interests.len() >= known.sweep_at {
            known.interests.retain(|_, interest| interest.upgrade().is_some());
            known.sweep_at = 64.max(known.interests.len() * 2);
        }
        known.interests.insert(hash, interest.downgrade());
        None
    }

    /// What an encoded list of names means, if it was kept.
    pub(crate) fn find(&self, encoded: &[u8]) -> Option<Interest> {
        let hash = xxh3_64(encoded);
        let is_likely = |list: &&Arc<List>| list.hash == hash && list.encoded.len() == encoded.len();
        let list = self.known().lists.iter().rev().find(is_likely).cloned()?;
        // Compared outside of the lock.
        (*list.encoded == *encoded).then(|| list.interest.clone())
    }

    /// Keeps the meaning of a list of names, unless it names everything, which is not a matter of names alone.
    pub(crate) fn keep(&self, encoded: &[u8], interest: &Interest) {
        if interest.wildcard() != Wildcard::None || interest.named().len() < WORTHWHILE {
            return;
        }
        let hash = xxh3_64(encoded);
        let list = List { hash, encoded: encoded.into(), interest: interest.clone() };
        let mut known = self.known();
        // Another stream may have kept it meanwhile.
        if known.lists.iter().any(|list| list.hash == hash) {
            return;
        }
        while known.list_bytes + encoded.len() > KEPT_BYTES
            && let Some(oldest) = known.lists.pop_front()
        {
            known.list_bytes -= oldest.encoded.len();
        }
        known.list_bytes += encoded.len();
        known.lists.push_back(Arc::new(list));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while the lock is held; if something did, the maps would still be whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interest(first: usize) -> Interest {
        Interest::new(Wildcard::None, (first..first + 10).map(|index| format!("name-{index}").into()))
    }

    #[test]
    fn equal_interests_become_one_object() {
        let interner = Interner::default();
        let first = interest(0);
        assert!(interner.share(&first).is_none());
        let shared = interner.share(&interest(0)).expect("it is known");
        assert!(std::ptr::eq(shared.named(), first.named()));
        assert!(interner.share(&interest(1)).is_none());
    }

    #[test]
    fn a_list_is_found_by_all_of_its_bytes() {
        let interner = Interner::default();
        interner.keep(b"list", &interest(0));
        assert_eq!(interner.find(b"list"), Some(interest(0)));
        assert_eq!(interner.find(b"lisp"), None);
        let wildcard = Interest::new(Wildcard::Explicit, interest(0).named().iter().cloned());
        interner.keep(b"everything", &wildcard);
        assert_eq!(interner.find(b"everything"), None);
        // A candidate of equal hash is not taken for the list.
        let mut known = interner.known();
        let list = List { hash: xxh3_64(b"lost"), encoded: (*b"lust").into(), interest: interest(1) };
        known.lists.push_back(Arc::new(list));
        drop(known);
        assert_eq!(interner.find(b"lost"), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let interner = Interner::default();
        for round in 0..20_u8 {
            interner.keep(&vec![round; KEPT_BYTES / 4], &interest(0));
        }
        let known = interner.known();
        assert_eq!(known.lists.len(), 4);
        assert_eq!(known.list_bytes, known.lists.iter().map(|list| list.encoded.len()).sum::<usize>());
    }
}
