//! What is known of each kind, for readiness and for people.

use std::collections::BTreeMap;

use tokio::sync::watch;

use crate::Kind;

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
    pub(super) fn set(&self, kind: Kind, state: KindState) -> bool {
        self.status.send_if_modified(|status| {
            let same = status.kinds.get(&kind) == Some(&state);
            if !same {
                status.kinds.insert(kind, state);
            }
            !same
        })
    }

    /// Takes in how many objects are held.
    pub(super) fn count(&self, kind: Kind, objects: usize) {
        self.status.send_if_modified(|status| status.objects.insert(kind, objects) != Some(objects));
    }
}
