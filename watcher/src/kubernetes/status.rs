//! What is known of each kind, for readiness and for people.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::subject::Subject;
use crate::{Kind, NamespacedName};

/// Where the source stands with a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KindState {
    /// It has not been listed yet.
    #[default]
    Listing,
    /// It is being followed; what is held is what the API server has.
    Watching,
    /// The API server does not have the kind.
    Absent,
    /// The API server refuses it, in these words. What was read before stays.
    Forbidden(String),
    /// The API server cannot be reached or does not answer, for this reason. What was read before stays.
    Away(String),
}

/// What is known of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The state of each kind that is watched.
    pub kinds: BTreeMap<Kind, KindState>,
    /// How many objects of each kind are held.
    pub objects: BTreeMap<Kind, usize>,
    /// The `apiVersion` in which each kind is read, as far as it has been found out.
    pub versions: BTreeMap<Kind, String>,
    /// The state of each Secret that something refers to, by namespace and name.
    pub secrets: BTreeMap<NamespacedName, KindState>,
}

impl Status {
    /// The kinds of which what is held may be out of date, and why.
    pub fn stale(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.kinds.iter().filter_map(|(kind, state)| match state {
            KindState::Forbidden(reason) | KindState::Away(reason) => Some((*kind, reason.as_str())),
            KindState::Listing | KindState::Watching | KindState::Absent => None,
        })
    }
}

/// Where followers write what they know.
#[derive(Debug, Default)]
pub(super) struct Board {
    status: watch::Sender<Status>,
}

impl Board {
    pub(super) fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Takes in a state; gives whether it is another one than before.
    pub(super) fn set(&self, subject: &Subject, state: KindState) -> bool {
        self.status.send_if_modified(|status| match &subject.name {
            None => replace(&mut status.kinds, subject.kind(), state),
            Some(name) => replace(&mut status.secrets, name.clone(), state),
        })
    }

    /// Takes in the version in which a kind is read.
    pub(super) fn read_in(&self, subject: &Subject, api_version: String) {
        if subject.name.is_none() {
            self.status.send_if_modified(|status| replace(&mut status.versions, subject.kind(), api_version));
        }
    }

    /// Takes in how many objects are held; single ones are not counted.
    pub(super) fn count(&self, subject: &Subject, objects: usize) {
        if subject.name.is_none() {
            self.status
                .send_if_modified(|status| status.objects.insert(subject.kind(), objects) != Some(objects));
        }
    }

    /// Forgets a Secret that nothing refers to any more.
    pub(super) fn forget(&self, name: &NamespacedName) {
        self.status.send_if_modified(|status| status.secrets.remove(name).is_some());
    }
}

/// Puts a value in its place; gives whether it is another one than before.
fn replace<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, V>, key: K, value: V) -> bool {
    if map.get(&key) == Some(&value) {
        return false;
    }
    map.insert(key, value);
    true
}
