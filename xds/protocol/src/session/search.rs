//! Finds the bad resource among several that a client rejected together without saying which (R16).
//!
//! Each probe offers half of the candidates and leaves everything else at what the client last accepted, so that one
//! bad resource among n is found with log2 n probes; one more response then brings the rest. No set is offered twice.
//! Several bad ones are found one after the other. A client that accepts no probe of a search may have a reason that
//! no resource is to blame for: if it rejects the rest as well, and both halves of the rest, it is left alone.
//! A response may have been applied in part or not at all: a probe is right in both cases. Answers to probes arrive
//! in [`super::answer`]; [`super::plan`] asks here what to offer.

use super::subscription::{Exception, Subscription};
use crate::{Answered, Blame, Collection, Event, Rejection, Resource};

/// A search that has not ended.
pub(super) struct Search {
    /// The response that began it, and the client's words about it.
    pub(super) response: Answered,
    pub(super) rejection: Rejection,
    /// At least one of these is rejected.
    candidates: Vec<Resource>,
    /// These were rejected beside the candidates; nothing is known of them.
    others: Vec<Resource>,
    /// How many of the candidates, from the first, the latest probe offers; none before the first probe.
    offered: usize,
    /// Whether the client has accepted any probe.
    has_accepted: bool,
    /// Whether an earlier search has ended without that.
    is_last: bool,
    /// In a last search, the half that was rejected while the other half is offered.
    rejected_half: Option<Vec<Resource>>,
}

/// How a search goes on after an answer.
pub(super) enum Step {
    /// With another probe.
    Probe(Search),
    /// It has ended: these are rejected, and those are to be sent.
    Found { culprits: Vec<Resource>, rest: Vec<Resource>, search: Search },
    /// Without a result: the client rejects all of these, in whatever company.
    Hopeless { suspects: Vec<Resource>, search: Search },
}

impl Search {
    pub(super) fn new(response: Answered, rejection: Rejection, candidates: Vec<Resource>) -> Self {
        let (others, offered, has_accepted) = (Vec::new(), 0, false);
        let (is_last, rejected_half) = (false, None);
        Self { response, rejection, candidates, others, offered, has_accepted, is_last, rejected_half }
    }

    /// A search with a client that has accepted no probe of an earlier one.
    pub(super) fn last(self) -> Self {
        Self { is_last: true, ..self }
    }

    /// What the next probe offers.
    pub(super) fn probe(&self) -> &[Resource] {
        match self.rejected_half {
            Some(_) => &self.candidates,
            None => &self.candidates[..self.candidates.len().div_ceil(2)],
        }
    }

    pub(super) fn has_accepted(&self) -> bool {
        self.has_accepted
    }

    /// Notes that the probe is on its way.
    pub(super) fn sent(&mut self) {
        self.offered = self.probe().len();
    }

    /// Whether the candidate is known to be rejected or may yet turn out to be.
    pub(super) fn suspects(&self, name: &str) -> bool {
        self.suspended().any(|resource| resource.name().as_ref() == name)
    }

    /// Hears that the client accepted the probe.
    pub(super) fn accepted(mut self) -> Step {
        self.has_accepted = true;
        self.candidates.drain(..self.offered);
        if let Some(half) = self.rejected_half.take() {
            self.candidates = half;
        }
        self.next()
    }

    /// Hears that the client rejected the probe, and which of its resources it named.
    pub(super) fn rejected(mut self, named: Vec<Resource>) -> Step {
        let unoffered = self.candidates.split_off(self.offered);
        if named.is_empty() {
            if let Some(mut suspects) = self.rejected_half.take() {
                suspects.append(&mut self.candidates);
                return Step::Hopeless { suspects, search: self };
            }
            if self.is_last && !self.has_accepted {
                self.rejected_half = Some(std::mem::replace(&mut self.candidates, unoffered));
                self.offered = 0;
                return Step::Probe(self);
            }
            self.others.extend(unoffered);
            return self.next();
        }
        self.others.extend(unoffered);
        self.others.extend(self.rejected_half.take().into_iter().flatten());
        let mut rest = std::mem::take(&mut self.candidates);
        rest.retain(|candidate| !named.contains(candidate));
        rest.append(&mut self.others);
        Step::Found { culprits: named, rest, search: self }
    }

    fn next(mut self) -> Step {
        self.offered = 0;
        if self.candidates.len() > 1 {
            return Step::Probe(self);
        }
        let (culprits, rest) = (std::mem::take(&mut self.candidates), std::mem::take(&mut self.others));
        Step::Found { culprits, rest, search: self }
    }

    /// Everything that is withheld while the search goes on.
    fn suspended(&self) -> impl Iterator<Item = &Resource> {
        let half = self.rejected_half.iter().flatten();
        self.candidates[self.offered..].iter().chain(half).chain(&self.others)
    }
}

/// Whether a search can go on towards this target: every candidate is still wanted as it is, and nothing else was
/// said about it.
fn is_sound(search: &Search, subscription: &Subscription, target: Option<&Collection>) -> bool {
    let Some(base) = &subscription.base else {
        return false;
    };
    search.offered == 0
        && search.candidates.iter().all(|candidate| {
            let name = candidate.name();
            let is_withheld = subscription
                .overlay
                .get(name)
                .is_some_and(|exception| !exception.asked && exception.rejected == Some(candidate.version()));
            let is_wanted = target.and_then(|target| target.get(name)) == Some(candidate);
            is_withheld && is_wanted && base.get(name) == Some(candidate)
        })
}

/// Gives up a search that has lost its object, because what it looks for has changed, is not wanted any more, or was
/// asked for anew, or because a probe was not answered. All that it withheld is tried again, except where nothing
/// has changed: what an unanswered probe left open stays rejected.
pub(super) fn revise(subscription: &mut Subscription, target: Option<&Collection>) -> Option<Event> {
    let search = subscription.search.take()?;
    if is_sound(&search, subscription, target) {
        subscription.search = Some(search);
        return None;
    }
    let is_unanswered = search.offered > 0;
    let withheld: Vec<Resource> = search.suspended().cloned().collect();
    release(subscription, if is_unanswered { &search.others } else { &withheld });
    let Search { response, rejection, mut candidates, rejected_half, .. } = search;
    candidates.extend(rejected_half.into_iter().flatten());
    Some(Event::Nacked { response, rejection, suspects: candidates, blame: Blame::Shared })
}

/// Has resources sent that were rejected beside a bad one.
pub(super) fn release(subscription: &mut Subscription, resources: &[Resource]) {
    for resource in resources {
        if let Some(exception) = subscription.overlay.get_mut(resource.name())
            && exception.rejected == Some(resource.version())
        {
            let held = exception.held.clone();
            let asked = exception.asked;
            *exception = Exception { held, asked, is_uncertain: true, ..Exception::default() };
        }
    }
}
