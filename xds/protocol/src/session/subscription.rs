//! The state of one type on one stream.
//!
//! Invariant: what the client holds is `base` restricted to the interest, with the exceptions in `overlay`; there is
//! no other record of it. While nothing is held back the overlay is empty. The planner in [`super::plan`] moves
//! `base` forward and is the only one to decide what is sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::search::Search;
use super::sent::{Phase, Sent};
use crate::collection::entry_hash;
use crate::{Collection, Interest, Name, Resource, Standing, Version, Wildcard};

#[derive(Default)]
pub(super) struct Subscription {
    pub(super) interest: Interest,
    /// Whether a SotW request ever named anything, which ends the legacy wildcard for good (R26).
    pub(super) named_before: bool,
    /// The collection that the client was last brought up to; `None` before the first response.
    pub(super) base: Option<Arc<Collection>>,
    /// Where the client differs from `base`.
    pub(super) overlay: BTreeMap<Name, Exception>,
    /// The hash of everything that the client holds, kept in step so that it need not be recomputed.
    pub(super) told: u64,
    /// Whether the client waits for a response even if there is nothing to put into it (R39, R41).
    pub(super) answer_due: bool,
    /// The latest response; its nonce is the one that the client may quote.
    pub(super) sent: Option<Sent>,
    /// The response before that, if it was never answered.
    pub(super) overdue: Option<Sent>,
    /// What the first request said that the client holds; read when the first response is planned.
    pub(super) claim: Claim,
    /// Whether the client came with a version in SotW and has had no response yet, so that it may have anything.
    pub(super) is_returning: bool,
    /// Until when the client may use what it kept from an earlier stream by other parts of it, of which nobody knows
    /// what they refer to.
    pub(super) unknown_until: Option<Instant>,
    /// When the next heartbeat is due (R62).
    pub(super) heartbeat_at: Option<Instant>,
    /// Who is to blame for a rejection, while that is not known.
    pub(super) search: Option<Search>,
    /// Whether the client has accepted nothing since a search in which it rejected every probe.
    pub(super) is_stubborn: bool,
}

/// A name for which the client differs from the base.
#[derive(Clone, Debug, Default)]
pub(super) struct Exception {
    /// What the client has.
    pub(super) held: Held,
    /// Whether the client asked for this very name, so that it is answered even if it has it (R24, R46, R48).
    pub(super) asked: bool,
    /// The content that the client rejected (R16).
    pub(super) rejected: Option<Version>,
    /// When the wait for a reference ends.
    pub(super) deadline: Option<Instant>,
    /// Whether the wait is for the client's sake, and has no end: it rejected what this depends on.
    pub(super) is_pinned: bool,
    /// Whether the client may have what a rejected response offered instead: it may have taken the good ones.
    pub(super) is_uncertain: bool,
}

impl Exception {
    /// Whether full lists have the rejected content all the same: the client keeps something else under the name that
    /// nobody knows, and absence would delete it.
    pub(super) fn is_listed_nevertheless(&self) -> bool {
        self.rejected.is_some() && matches!(self.held, Held::Stale)
    }
}

/// What a client has under a name.
#[derive(Clone, Debug, Default)]
pub(super) enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// Something from an earlier stream that is not the current content.
    Stale,
    /// This.
    Resource(Resource),
}

impl Held {
    pub(super) fn resource(&self) -> Option<&Resource> {
        match self {
            Self::Resource(resource) => Some(resource),
            Self::Nothing | Self::Stale => None,
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn hash(&self) -> u64 {
        self.resource().map_or(0, entry_hash)
    }
}

impl From<Option<&Resource>> for Held {
    fn from(resource: Option<&Resource>) -> Self {
        resource.cloned().map_or(Self::Nothing, Self::Resource)
    }
}

/// What a client said on its first request that it still has from an earlier stream.
#[derive(Debug, Default)]
pub(super) enum Claim {
    #[default]
    Nothing,
    /// SotW: the version of the whole type.
    Version(String),
    /// Delta: versions by name (R49).
    Resources(HashMap<Name, Option<Version>>),
}

/// Names that are asked for and were not before.
pub(super) enum Added {
    /// All of the interest.
    Everything,
    /// Some of it, sorted.
    Names(Vec<Name>),
}

impl Added {
    pub(super) fn nothing() -> Self {
        Self::Names(Vec::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Names(names) if names.is_empty())
    }

    /// The names, given the interest that they were added to.
    pub(super) fn names<'a>(&'a self, interest: &'a Interest) -> &'a [Name] {
        match self {
            Self::Everything => interest.named(),
            Self::Names(names) => names,
        }
    }
}

impl Subscription {
    pub(super) fn is_awaiting(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| matches!(sent.phase, Phase::Awaiting(_)))
    }

    /// Whether the client has said that it holds just what it asks for of the target.
    pub(super) fn claims(&self, target: &Collection) -> bool {
        let Claim::Resources(claimed) = &self.claim else {
            return matches!(&self.claim, Claim::Version(version) if *version == target.version().to_string());
        };
        let names = self.interest.named();
        let holds = |resource: &Resource| claimed.get(resource.name()) == Some(&Some(resource.version()));
        if self.interest.is_wildcard() {
            return names.is_empty() && claimed.len() == target.len() && target.iter().all(holds);
        }
        claimed.len() == names.len() && names.iter().all(|name| target.get(name).is_some_and(holds))
    }

    /// Whether there is nothing to say while this is what the client should have: most types are so most of the time,
    /// and are passed over.
    pub(super) fn is_at_rest(&self, target: Option<&Arc<Collection>>) -> bool {
        let is_there =
            || self.base.as_ref().zip(target).is_some_and(|(base, target)| Arc::ptr_eq(base, target));
        self.is_awaiting()
            || (is_there()
                && self.overlay.is_empty()
                && self.search.is_none()
                && !self.answer_due
                && self.heartbeat_at.is_none())
    }

    /// What the client has under this name.
    pub(super) fn held(&self, name: &str) -> Option<&Resource> {
        match self.overlay.get(name) {
            Some(exception) => exception.held.resource(),
            None if self.interest.covers(name) => self.base.as_ref()?.get(name),
            None => None,
        }
    }

    /// Whether the unanswered response is about to change what the client has under this name.
    pub(super) fn is_in_flight(&self, name: &str) -> bool {
        let Some(sent) = self.sent.as_ref().filter(|_| self.is_awaiting()) else {
            return false;
        };
        !self.overlay.contains_key(name)
            && (sent.is_exception(name)
                || sent.before(name).resource() != self.base.as_ref().and_then(|base| base.get(name)))
    }

    /// Where a resource of the base stands.
    pub(super) fn standing(&self, resource: &Resource) -> Standing {
        let name = resource.name();
        match self.overlay.get(name) {
            Some(_) if self.search.as_ref().is_some_and(|search| search.suspects(name)) => Standing::Withheld,
            Some(exception) if exception.rejected.is_some() => Standing::Rejected,
            Some(exception) if exception.held.resource() != Some(resource) => Standing::Withheld,
            _ if self.is_in_flight(name) => Standing::Sent,
            _ => Standing::Accepted,
        }
    }

    /// Whether full lists have the rejected content under this name; see [`Exception::is_listed_nevertheless`].
    pub(super) fn is_listed_nevertheless(&self, name: &str) -> bool {
        self.overlay.get(name).is_some_and(Exception::is_listed_nevertheless)
    }

    /// What full lists have of the base though the client has rejected it.
    pub(super) fn listed_nevertheless(&self) -> impl Iterator<Item = &Resource> {
        let names = self.overlay.iter().filter(|(_, exception)| exception.is_listed_nevertheless());
        names.filter_map(|(name, _)| self.base.as_ref()?.get(name))
    }

    /// Records what the client has under a name, from an exception to an exception.
    pub(super) fn set_exception(&mut self, name: Name, exception: Exception) {
        let former = self.held(&name).map_or(0, entry_hash);
        self.told = self.told.wrapping_sub(former).wrapping_add(exception.held.hash());
        self.overlay.insert(name, exception);
    }

    /// Records that the client has what `target` holds under this name; the base must become `target`.
    pub(super) fn settle(&mut self, name: &Name, target: &Collection) {
        let former = self.held(name).map_or(0, entry_hash);
        let now = target.get(name).filter(|_| self.interest.covers(name)).map_or(0, entry_hash);
        self.told = self.told.wrapping_sub(former).wrapping_add(now);
        self.overlay.remove(name);
    }

    /// Marks a name as asked for: it will be answered whatever the client has.
    pub(super) fn ask(&mut self, name: &Name) {
        if self.base.is_none() && !self.overlay.contains_key(name) {
            // The first response answers every name as it is.
            return;
        }
        let held = Held::from(self.held(name));
        self.overlay
            .entry(name.clone())
            .or_insert_with(|| Exception { held, ..Exception::default() })
            .asked = true;
    }

    /// Has a name sent again after a change of what refers to it, whatever the client has or says it has.
    pub(super) fn send_again(&mut self, name: &Name) {
        if let Claim::Resources(claimed) = &mut self.claim
            && let Some(version) = claimed.get_mut(name)
        {
            *version = None;
        }
        if self.interest.covers(name) {
            self.ask(name);
        }
    }

    /// Replaces the interest, and returns the names that are asked for and were not before.
    pub(super) fn change_interest(&mut self, new: Interest) -> Added {
        let old = self.interest.clone();
        if old.is_empty() && self.base.is_none() {
            // The usual first request: there is nothing to compare it with.
            self.interest = new;
            return Added::Everything;
        }
        let left: Vec<Name> = old.named().iter().filter(|name| !new.covers(name)).cloned().collect();
        for name in left {
            let former = self.held(&name).map_or(0, entry_hash);
            self.told = self.told.wrapping_sub(former);
            self.overlay.remove(&name);
        }
        let added: Vec<Name> = new.named().iter().filter(|name| !old.names(name)).cloned().collect();
        if new.is_wildcard() && !old.is_wildcard() {
            self.grow_to_wildcard();
        }
        if self.base.is_some() {
            for name in &added {
                // Under a wildcard the client already has it; it is sent again all the same (R24).
                let held = Held::from(self.held(name));
                self.overlay
                    .entry(name.clone())
                    .or_insert(Exception { held, ..Exception::default() })
                    .asked = true;
            }
        }
        self.expect_what_is_on_its_way(&old, &new);
        self.interest = new;
        if old.is_wildcard() && !self.interest.is_wildcard() {
            let interest = self.interest.clone();
            self.overlay.retain(|name, _| interest.names(name));
            self.told = self.told_by_recount();
        }
        Added::Names(added)
    }

    /// Notes what unanswered responses bring under names that were given up after they were sent, and are covered
    /// again: the client takes it when it arrives, whatever it asked for in between. Two responses are remembered, so
    /// that a client that never answers takes no more memory than others.
    fn expect_what_is_on_its_way(&mut self, old: &Interest, new: &Interest) {
        let latest = self.sent.as_ref().filter(|sent| !matches!(sent.phase, Phase::Acked | Phase::Nacked));
        let contents = latest.into_iter().chain(&self.overdue).filter_map(Sent::contents);
        for name in contents.flat_map(|contents| contents.iter().map(Resource::name)) {
            if new.covers(name) && !old.covers(name) {
                self.overlay.entry(name.clone()).or_default().held = Held::Stale;
            }
        }
    }

    /// Reduces the base to what the client holds of it, before a wildcard covers the rest as well.
    fn grow_to_wildcard(&mut self) {
        if let Some(base) = &self.base {
            let held = self.interest.named().iter().filter_map(|name| base.get(name)).cloned();
            self.base = Some(Arc::new(held.collect()));
        }
    }

    /// [`Subscription::told`] from scratch.
    pub(super) fn told_by_recount(&self) -> u64 {
        self.held_resources().map(entry_hash).fold(0, u64::wrapping_add)
    }

    /// Everything that the client has, in no particular order.
    pub(super) fn held_resources(&self) -> impl Iterator<Item = &Resource> {
        let of_base = self.base.iter().flat_map(|base| {
            let whole = self.interest.is_wildcard().then(|| base.iter());
            let named =
                whole.is_none().then(|| self.interest.named().iter().filter_map(|name| base.get(name)));
            whole.into_iter().flatten().chain(named.into_iter().flatten())
        });
        of_base
            .filter(|resource| !self.overlay.contains_key(resource.name()))
            .chain(self.overlay.values().filter_map(|exception| exception.held.resource()))
    }

    /// How the wildcard stands.
    pub(super) fn wildcard(&self) -> Wildcard {
        self.interest.wildcard()
    }
}
