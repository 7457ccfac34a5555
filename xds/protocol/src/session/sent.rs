//! The latest response of a type, and what the client had before it.

use std::sync::Arc;
use std::time::Instant;

use super::subscription::Held;
use crate::response::{Contents, Nonce};
use crate::{Answered, Collection, Interest, Name, ResourceType, Revision, Version};

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
    interest: Interest,
    base: Option<Arc<Collection>>,
    /// Whether the client may have had anything where the base says that it had nothing.
    is_continued: bool,
    /// Of the names in the response, those that were asked for, and those in which the client differed from that
    /// base; sorted.
    exceptions: Vec<(Name, Held)>,
}

impl Detail {
    fn position(&self, name: &str) -> Result<usize, usize> {
        self.exceptions.binary_search_by(|(known, _)| known.as_ref().cmp(name))
    }
}

impl Sent {
    /// A response to be sent now; `base`, `interest` and `exceptions` say what the client had before it.
    pub(super) fn new(
        (nonce, version, revision): (Nonce, Version, Revision),
        answer_until: Instant,
        contents: Contents,
        (base, interest): (Option<Arc<Collection>>, Interest),
        exceptions: Vec<(Name, Held)>,
        is_continued: bool,
    ) -> Self {
        Self {
            nonce,
            version,
            revision,
            phase: Phase::Awaiting(answer_until),
            detail: Some(Detail { contents, interest, base, is_continued, exceptions }),
        }
    }

    /// Records that the client accepted it, and lets go of what came before.
    pub(super) fn accept(&mut self) {
        self.phase = Phase::Acked;
        self.detail = None;
    }

    /// Whether the response has this name although the collections may not differ in it.
    pub(super) fn is_exception(&self, name: &str) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.position(name).is_ok())
    }

    /// What the client had under this name before the response.
    pub(super) fn before(&self, name: &str) -> Held {
        let Some(detail) = &self.detail else {
            return Held::Nothing;
        };
        match detail.position(name) {
            Ok(index) => detail.exceptions[index].1.clone(),
            Err(_) if detail.is_continued => Held::Stale,
            Err(_) if detail.interest.covers(name) => {
                detail.base.as_ref().and_then(|base| base.get(name)).into()
            }
            Err(_) => Held::Nothing,
        }
    }

    /// Whether it is known what the client had before it.
    pub(super) fn has_predecessor(&self) -> bool {
        self.detail.as_ref().is_some_and(|detail| detail.base.is_some() && !detail.is_continued)
    }

    /// Whether the client may have had anything before; `None` where names of the response differed from the base.
    pub(super) fn is_without_exceptions(&self) -> Option<bool> {
        let detail = self.detail.as_ref()?;
        detail.exceptions.is_empty().then_some(detail.is_continued)
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
        let mut names: Vec<Name> = detail.exceptions.iter().map(|(name, _)| name.clone()).collect();
        if let Some(before) = &detail.base {
            names.extend(base.changed_since(before));
        }
        names
    }

    /// What an event says about it.
    pub(super) fn answered(&self, resource_type: ResourceType) -> Answered {
        Answered { resource_type, nonce: self.nonce, version: self.version, revision: self.revision }
    }
}
