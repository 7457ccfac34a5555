//! The parts of a translation, each with the names that it looked at: a part holds for as long as they mean the same.
//!
//! What a part looked at is noted while it is made ([`crate::hosts::Trace`]), so that nothing has to be known here of
//! who depends on what: a change of what a name means makes the part of that name stale, and those that looked at it.

use std::collections::BTreeSet;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilotage_watcher::Problem;

use crate::hosts::{Changes, Reads, wildcard_covers};

/// One part.
#[derive(Clone, Debug)]
pub(crate) struct Part<T> {
    pub(crate) outcome: T,
    pub(crate) problems: Arc<[Problem]>,
    pub(crate) reads: Reads,
}

/// Parts by name, and who looked at which names; a clone shares everything.
#[derive(Clone, Debug)]
pub(crate) struct Parts<T> {
    parts: OrdMap<Arc<str>, Arc<Part<T>>>,
    /// By a name that is not their own, the parts that looked at it.
    readers: OrdMap<Arc<str>, OrdSet<Arc<str>>>,
    /// Those to which it matters which names there are at all.
    readers_of_all: OrdSet<Arc<str>>,
    /// Those that looked into Secrets.
    readers_of_secrets: OrdSet<Arc<str>>,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            parts: OrdMap::new(),
            readers: OrdMap::new(),
            readers_of_all: OrdSet::new(),
            readers_of_secrets: OrdSet::new(),
        }
    }
}

impl<T> Parts<T> {
    pub(crate) fn get(&self, name: &str) -> Option<&Part<T>> {
        self.parts.get(name).map(|part| &**part)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Part<T>> {
        self.parts.values().map(|part| &**part)
    }

    /// The names of the parts that no longer hold, and those that may have become parts.
    pub(crate) fn stale(&self, changes: &Changes) -> BTreeSet<Arc<str>> {
        if changes.everything {
            return self.names().chain(&changes.names).cloned().collect();
        }
        let mut stale = BTreeSet::new();
        for name in &changes.names {
            if name.starts_with('*') {
                stale.extend(self.names().filter(|own| wildcard_covers(name, own)).cloned());
                let covered = self.readers.iter().filter(|(read, _)| wildcard_covers(name, read));
                stale.extend(covered.flat_map(|(_, readers)| readers).cloned());
            }
            stale.insert(name.clone());
            stale.extend(self.readers.get(name).into_iter().flatten().cloned());
        }
        if changes.hosts {
            stale.extend(self.readers_of_all.iter().cloned());
        }
        if changes.secrets {
            stale.extend(self.readers_of_secrets.iter().cloned());
        }
        stale
    }

    /// Puts a part in the place of the one of its name; none where nothing is left of it.
    pub(crate) fn set(&mut self, name: &Arc<str>, part: Option<Part<T>>) {
        let before = match part {
            Some(part) => {
                let part = Arc::new(part);
                let before = self.parts.insert(name.clone(), part.clone());
                if before.as_ref().is_none_or(|before| before.reads != part.reads) {
                    before.iter().for_each(|before| self.forget(name, &before.reads));
                    self.note(name, &part.reads);
                }
                return;
            }
            None => self.parts.remove(name),
        };
        before.iter().for_each(|before| self.forget(name, &before.reads));
    }

    fn note(&mut self, name: &Arc<str>, reads: &Reads) {
        for read in &reads.names {
            self.readers.entry(read.clone()).or_default().insert(name.clone());
        }
        if reads.all {
            self.readers_of_all.insert(name.clone());
        }
        if reads.secrets {
            self.readers_of_secrets.insert(name.clone());
        }
    }

    fn forget(&mut self, name: &Arc<str>, reads: &Reads) {
        for read in &reads.names {
            if let Some(readers) = self.readers.get_mut(read) {
                readers.remove(name);
                if readers.is_empty() {
                    self.readers.remove(read);
                }
            }
        }
        self.readers_of_all.remove(name);
        self.readers_of_secrets.remove(name);
    }
}
