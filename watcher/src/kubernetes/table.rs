//! What is held of one kind, and so what a list or an event changes.
//!
//! A complete list is the truth: what it does not have is gone. Until it is complete nothing of it is taken in, so that
//! a list that breaks off changes nothing.

use std::collections::HashMap;
use std::sync::Arc;

use super::read::{Head, Reading, read};
use crate::{Change, Kind, ObjectKey, Problem};

/// Namespace and name.
type Id = (Arc<str>, Arc<str>);

/// The objects of a kind, as far as they must be known to tell what changes.
#[derive(Debug)]
pub(super) struct Table {
    kind: Kind,
    held: HashMap<Id, Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    version: u64,
    has_problems: bool,
}

/// A list that is being read.
#[derive(Debug, Default)]
pub(super) struct Listing {
    seen: HashMap<Id, Held>,
    changes: Vec<Change>,
}

impl Table {
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, held: HashMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Takes an object of a list.
    pub(super) fn list(&self, listing: &mut Listing, head: Head, json: &str) {
        let id = (head.key.namespace.clone(), head.key.name.clone());
        let before = self.held.get(&id);
        let held = match before {
            // A list after a pause is mostly what was there before it.
            Some(held) if held.version == head.version => *held,
            _ => take(&head, json, before, &mut listing.changes),
        };
        listing.seen.insert(id, held);
    }

    /// Ends a list: it is now what is held. Gives what changes, what is gone last.
    pub(super) fn finish(&mut self, listing: Listing) -> Vec<Change> {
        let Listing { seen, mut changes } = listing;
        let before = std::mem::replace(&mut self.held, seen);
        for (id, held) in before {
            if !self.held.contains_key(&id) {
                forget(self.kind, id, held, &mut changes);
            }
        }
        changes
    }

    /// Takes an object that is new or has changed.
    pub(super) fn apply(&mut self, head: Head, json: &str) -> Vec<Change> {
        let id = (head.key.namespace.clone(), head.key.name.clone());
        let mut changes = Vec::with_capacity(1);
        let held = take(&head, json, self.held.get(&id), &mut changes);
        self.held.insert(id, held);
        changes
    }

    /// Forgets an object that is gone.
    pub(super) fn delete(&mut self, head: Head) -> Vec<Change> {
        let id = (head.key.namespace, head.key.name);
        let mut changes = Vec::with_capacity(1);
        if let Some(held) = self.held.remove(&id) {
            forget(self.kind, id, held, &mut changes);
        }
        changes
    }
}

fn take(head: &Head, json: &str, before: Option<&Held>, changes: &mut Vec<Change>) -> Held {
    let Reading { object, problems } = read(head, json);
    changes.extend(object.map(Change::Apply));
    let has_problems = !problems.is_empty();
    if has_problems || before.is_some_and(|held| held.has_problems) {
        changes.push(problems_of(&head.key, problems));
    }
    Held { version: head.version, has_problems }
}

fn forget(kind: Kind, (namespace, name): Id, held: Held, changes: &mut Vec<Change>) {
    let key = ObjectKey { kind, namespace, name };
    if held.has_problems {
        changes.push(problems_of(&key, Vec::new()));
    }
    changes.push(Change::Delete(key));
}

fn problems_of(key: &ObjectKey, problems: Vec<Problem>) -> Change {
    Change::Problems { scope: format!("kubernetes {key}").into(), problems }
}

#[cfg(test)]
mod tests;
