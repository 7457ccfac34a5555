//! The latest response of a type, and what the client had before it.

use std::sync::Arc;
use std::time::Instant;

use super::subscription::{Held, Subscription};
use crate::response::{Contents, Nonce};
use crate::{Answered, Collection, Interest, Name, ResourceType, Response, Revision, Version};

pub(super) struct Sent {
    pub(super) nonce: Nonce,
    pub(super) version: Version,
    pub(super) revision: Revision,
    pub(super) phase: Phase,
    /// What is needed if the client rejects the response; dropped once it has accepted it.
    detail: Option<Detail>,
}

/// Where the conversation about a response stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No answer yet; until then the client is given time.
    Awaiting(Instant),
    /// No answer in time (R21). A late one is still heard.
    Unanswered,
    /// The client accepted it.
    Acked,
    /// The client rejected it.
    Nacked,
}

struct Detail {
    contents: Contents,
    before: Before,
}

/// What the client had before a response.
pub(super) struct Before {
    base: Option<Arc<Collection>>,
    interest: Interest,
    /// Whether the client may have had anything where the base says that it had nothing.
    is_continued: bool,
    /// Of the names in the response, those that were asked for, and those in which the client differed from the rest of
    /// this; sorted.
    exceptions: Vec<(Name, Held)>,
}

impl Before {
    /// Before a response to be made now.
    pub(super) fn now(subscription: &Subscription) -> Self {
        let (base, interest) = (subscription.base.clone(), subscription.interest.clone());
        Self { base, interest, is_continued: subscription.is_returning, exceptions: Vec::new() }
    }

    /// Notes what the client had under names that the response has, of which some may go without saying.
    pub(super) fn note(&mut self, names: impl IntoIterator<Item = (Name, Held)>) {
        self.exceptions.extend(names);
        self.exceptions.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// Whether the client had this, if nothing is noted under the name.
    pub(super) fn says(&self, name: &str, held: &Held) -> bool {
        match (held, self.usual(name)) {
            (Held::Stale, usual) => matches!(usual, Held::Stale),
            (held, usual) => !matches!(usual, Held::Stale) && held.resource() == usual.resource(),
        }
    }

    fn held(&self, name: &str) -> Held {
        match self.position(name) {
            Ok(index) => self.exceptions[index].1.clone(),
            Err(_) => self.usual(name),
        }
    }

    fn usual(&self, name: &str) -> Held {
        if self.is_continued {
            return Held::Stale;
        }
        let base = self.base.as_ref().filter(|_| self.interest.covers(name));
        base.and_then(|base| base.get(name)).into()
    }

    fn position(&self, name: &str) -> Result<usize, usize> {
        self.exceptions.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }
}

impl Sent {
    /// A response to be sent now.
    pub(super) fn new(response: &Response, answer_until: Instant, before: Before) -> Self {
        Self {
            nonce: response.nonce,
            version: response.version,
            revision: response.revision,
            phase: Phase::Awaiting(answer_until),
            detail: Some(Detail { contents: response.resources.clone(), before }),
        }
    }

    /// Records that the client accepted it, and lets go of what came before.
    pub(super) fn accept(&mut self) {
        self.phase = Phase::Acked;
        self.detail = None;
    }

    /// Whether the response has this name although the collections may not differ in it.
    pub(super) fn is_exception(&self, name: &str) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.before.position(name).is_ok())
    }

    /// What the client had under this name before the response.
    pub(super) fn before(&self, name: &str) -> Held {
        self.detail.as_ref().map_or(Held::Nothing, |detail| detail.before.held(name))
    }

    /// Whether it is known what the client had before it.
    pub(super) fn has_predecessor(&self) -> bool {
        let before = self.detail.as_ref().map(|detail| &detail.before);
        before.is_some_and(|before| before.base.is_some() && !before.is_continued)
    }

    /// Whether the interest and the collections tell all that the client had before.
    pub(super) fn is_without_exceptions(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.before.exceptions.is_empty())
    }

    /// The resources of the response, while it can still be rejected.
    pub(super) fn contents(&self) -> Option<&Contents> {
        self.detail.as_ref().map(|detail| &detail.contents)
    }

    /// The names under which the response may have changed something, given the base that it led to.
    pub(super) fn changed_names(&self, base: &Collection) -> Vec<Name> {
        let Some(detail) = &self.detail else {
            return Vec::new();
        };
        let mut names: Vec<Name> = detail.before.exceptions.iter().map(|(name, _)| name.clone()).collect();
        if let Some(before) = &detail.before.base {
            names.extend(base.changed_since(before));
        }
        names
    }

    /// What an event says about it.
    pub(super) fn answered(&self, resource_type: ResourceType) -> Answered {
        Answered { resource_type, nonce: self.nonce, version: self.version, revision: self.revision }
    }
}
