//! What differs between two snapshots, and whom it concerns.
//!
//! Invariant: it says "not concerned" only of an interest that covers no name that differs. Streams mostly share their
//! interests, so that each is looked at once for all of them.

use std::collections::HashMap;

use std::sync::Arc;

use pilotage_protocol::{Collection, Interest, Name, ResourceType, Snapshot};

/// Beyond so many names of a type it is not worth looking whom they concern.
const NAMES: usize = 1024;

/// Interests with fewer names are looked at again for each stream.
const SHARED: usize = 8;

/// The difference between two snapshots.
pub(super) struct Change {
    types: u32,
    names: Vec<(ResourceType, Option<Vec<Name>>)>,
    /// What is known of interests that many streams share: by type, and by where their names are.
    known: HashMap<(u32, *const Name), bool>,
}

impl Change {
    pub(super) fn between(former: Option<&Snapshot>, latest: &Snapshot) -> Self {
        let Some(former) = former else {
            return Self { types: u32::MAX, names: Vec::new(), known: HashMap::new() };
        };
        let of_latest = latest.iter().map(|(of, collection)| (of, former.collection(of), Some(collection)));
        let vanished = former.iter().filter(|(of, _)| latest.collection(of).is_none());
        let vanished = vanished.map(|(of, collection)| (of, Some(collection), None));
        let names: Vec<_> = of_latest
            .chain(vanished)
            .filter(|(_, before, after)| !is_same(*before, *after))
            .map(|(of, before, after)| (of.clone(), before.zip(after).and_then(differing)))
            .collect();
        let types = names.iter().map(|(of, _)| bit(of)).fold(0, |bits, bit| bits | bit);
        Self { types, names, known: HashMap::new() }
    }

    /// Whether any of these types differs.
    pub(super) fn is_of(&self, types: u32) -> bool {
        self.types & types != 0
    }

    /// Whether anything may differ that an interest covers.
    pub(super) fn concerns(&mut self, of: &ResourceType, interest: &Interest) -> bool {
        if self.types & bit(of) == 0 {
            return false;
        }
        if interest.is_wildcard() || self.names.is_empty() {
            return true;
        }
        let names = &self.names;
        let look = || {
            let differing = names.iter().find(|(other, _)| other == of).map(|(_, names)| names);
            match differing {
                Some(Some(names)) => names.iter().any(|name| interest.covers(name)),
                Some(None) => true,
                // Another type that shares the bit.
                None => false,
            }
        };
        if interest.named().len() < SHARED {
            return look();
        }
        *self.known.entry((bit(of), interest.named().as_ptr())).or_insert_with(look)
    }
}

/// The names that differ, unless they are too many.
fn differing((before, after): (&Arc<Collection>, &Arc<Collection>)) -> Option<Vec<Name>> {
    Some(after.changed_since(before)).filter(|names| names.len() <= NAMES)
}

fn is_same(before: Option<&Arc<Collection>>, after: Option<&Arc<Collection>>) -> bool {
    before.zip(after).is_some_and(|(before, after)| Arc::ptr_eq(before, after))
}

/// The place of a type in a set of types; all types outside the table share one.
pub(super) fn bit(resource_type: &ResourceType) -> u32 {
    let index = ResourceType::KNOWN.iter().position(|known| known == resource_type);
    1 << index.unwrap_or(ResourceType::KNOWN.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_bit_of_its_own() {
        let bits = ResourceType::KNOWN.iter().map(bit).fold(0, |bits, bit| bits | bit);
        assert_eq!(bits.count_ones() as usize, ResourceType::KNOWN.len());
        assert_eq!(bits & bit(&ResourceType::Other("x".into())), 0);
    }
}
