//! What a subscription covers: a set of names, a wildcard, or both.
//!
//! Invariant: an interest never changes; its names are sorted, distinct, not empty and never `*`. Cloning one counts
//! a reference, so that equal interests of many streams can be one object.

use std::sync::{Arc, Weak};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::Name;

/// Whether a subscription covers everything, and how the client said so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// Only the names are covered.
    #[default]
    None,
    /// Everything, because the first request named nothing (R26, R27).
    Legacy,
    /// Everything, because the client asked for `*` (R25).
    Explicit,
}

/// What a client has subscribed to within one type.
#[derive(Clone, Debug, Default, Eq, Hash)]
#[expect(
    clippy::derived_hash_with_manual_eq,
    reason = "equality is that of the content, however it is found out"
)]
pub struct Interest {
    wildcard: Wildcard,
    names: Arc<[Name]>,
    /// The length of all names, which a limit is set on.
    bytes: usize,
}

impl Interest {
    /// An interest in these names, beside the wildcard; the empty name and `*` name nothing (R33).
    pub fn new(wildcard: Wildcard, names: impl IntoIterator<Item = Name>) -> Self {
        let mut names: Vec<Name> = names.into_iter().filter(|name| is_plain(name)).collect();
        names.sort_unstable();
        names.dedup();
        let bytes = names.iter().map(|name| name.len()).sum();
        Self { wildcard, names: names.into(), bytes }
    }

    /// Whether a resource of this name belongs to the subscription.
    pub fn covers(&self, name: &str) -> bool {
        self.is_wildcard() || self.names(name)
    }

    /// Whether this very name was asked for, the wildcard aside.
    pub fn names(&self, name: &str) -> bool {
        self.names.binary_search_by(|known| known.as_ref().cmp(name)).is_ok()
    }

    /// A hash of the whole, by which equal interests can be found and shared; equal on every run.
    pub fn hash(&self) -> u64 {
        let seed = self.wildcard as u64;
        self.names.iter().fold(seed, |hash, name| xxh3_64_with_seed(name.as_bytes(), hash))
    }

    /// A handle that does not keep the interest alive.
    pub fn downgrade(&self) -> WeakInterest {
        WeakInterest { wildcard: self.wildcard, names: Arc::downgrade(&self.names), bytes: self.bytes }
    }

    /// The names asked for, sorted.
    pub fn named(&self) -> &[Name] {
        &self.names
    }

    /// The length of all names in bytes.
    pub(crate) fn name_bytes(&self) -> usize {
        self.bytes
    }

    /// How the wildcard stands.
    pub fn wildcard(&self) -> Wildcard {
        self.wildcard
    }

    /// Whether everything is covered.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard != Wildcard::None
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        !self.is_wildcard() && self.names.is_empty()
    }
}

impl PartialEq for Interest {
    /// Equal interests are mostly one object; an `Arc` of a slice compares name by name all the same.
    fn eq(&self, other: &Self) -> bool {
        self.wildcard == other.wildcard
            && self.bytes == other.bytes
            && (Arc::ptr_eq(&self.names, &other.names) || self.names == other.names)
    }
}

/// An interest that somebody else may still have; see [`Interest::downgrade`].
#[derive(Clone, Debug)]
pub struct WeakInterest {
    wildcard: Wildcard,
    names: Weak<[Name]>,
    bytes: usize,
}

impl WeakInterest {
    /// The interest, if anybody has it.
    pub fn upgrade(&self) -> Option<Interest> {
        Some(Interest { wildcard: self.wildcard, names: self.names.upgrade()?, bytes: self.bytes })
    }
}

/// Whether a name in a request names a resource: `*` is the wildcard, and the empty name is how some clients
/// unsubscribe from everything (R33).
pub(crate) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name != "*"
}
