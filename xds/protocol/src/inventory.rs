//! What a returning client says that it has, boiled down to a number.
//!
//! Invariant: two inventories are equal only if names and versions are, whatever their order, as far as 64 bits of hash
//! and a count can tell. A client that fools it fools nobody but itself.

use crate::collection::hash_of;
use crate::{Collection, Interest, Version};

/// Names and versions, as `initial_resource_versions` lists them (R49).
///
/// ```
/// use pilotage_protocol::{Collection, Interest, Inventory, Resource, Wildcard};
///
/// let state: Collection = [Resource::new("a", "one"), Resource::new("b", "two")].into_iter().collect();
/// let mut held = Inventory::default();
/// for resource in state.iter() {
///     held.add(resource.name().as_bytes(), resource.version().to_string());
/// }
/// assert!(held.is_all_of(&state, &Interest::new(Wildcard::Legacy, [])));
/// assert!(!held.is_all_of(&state, &Interest::new(Wildcard::None, ["a".into()])));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    count: usize,
    /// The sum of the hashes of all entries, as in [`Collection::version`].
    hash: u64,
    /// Whether anything was listed that cannot be summed up.
    is_vague: bool,
}

impl Inventory {
    /// Adds what the client has under a name. Both are taken as bytes: what is no text equals nothing.
    pub fn add(&mut self, name: impl AsRef<[u8]>, version: impl AsRef<[u8]>) {
        self.count += 1;
        let name = name.as_ref();
        // Names of this form have several spellings; versions of another form were never sent.
        match Version::from_digits(version.as_ref()) {
            Some(version) if !name.starts_with(b"xdstp:") => {
                self.hash = self.hash.wrapping_add(hash_of(name, version));
            }
            _ => self.is_vague = true,
        }
    }

    /// Whether nothing was listed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether this is just what the collection has of an interest, none of whose names is missing.
    pub fn is_all_of(&self, collection: &Collection, interest: &Interest) -> bool {
        if self.is_vague {
            return false;
        }
        if interest.is_wildcard() {
            return interest.named().is_empty()
                && self.count == collection.len()
                && self.hash == collection.version().0;
        }
        self.count == interest.named().len() && collection.hash_of_all(interest.named()) == Some(self.hash)
    }

    /// The hash of everything.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
