//! Decides, for one type, what the next response contains; nothing here changes the session.
//!
//! Every name is judged once, so that no name is twice in a response (R36). What a reference holds back is decided
//! in [`super::gate`]; [`super::apply`] carries the plan out.

use std::sync::Arc;
use std::time::Instant;

use super::gate::{Gate, Passage};
use super::subscription::{Claim, Exception, Held, Subscription};
use super::view::View;
use crate::{Collection, Dialect, Name, Resource, ResourceType, Version};

/// How one type gets from what the client has to the current snapshot.
pub(super) struct Plan {
    pub(super) target: Arc<Collection>,
    pub(super) judgement: Judgement,
}

/// What is to be done about the names of a type.
pub(super) enum Judgement {
    /// The client already holds the whole target (R12).
    Claimed,
    /// The client holds nothing, wants everything, and nothing holds anything back: no name needs a look.
    Whole,
    /// Name by name, sorted; names that are not listed do not change.
    Each(Vec<Judged>),
}

pub(super) struct Judged {
    pub(super) name: Name,
    /// What the client has now.
    pub(super) before: Held,
    pub(super) verdict: Verdict,
}

#[derive(Debug)]
pub(super) enum Verdict {
    /// The client has what it should have.
    Settled,
    /// It must be sent this.
    Send(Resource),
    /// It must be told that the resource is gone or does not exist.
    Remove,
    /// It keeps what it has until a reference is delivered or the time is over; without a time it waits for ever.
    Wait(Option<Instant>),
    /// It rejected the current content and keeps what it has (R16).
    Parked,
    /// It asked for this, which does not exist, and can be told so.
    Missing,
    /// There is no room left in the response, or it goes together with what has to wait.
    Later,
    /// Many like it have rejected this content, and it keeps what it has.
    Spare(Version),
}

/// What a type is to be brought to, or `None` if there is nothing to consider.
pub(super) fn target(view: &View<'_>, resource_type: &ResourceType) -> Option<Arc<Collection>> {
    let subscription = view.subscriptions.get(resource_type)?;
    if subscription.is_awaiting() {
        return None;
    }
    let target = view.target(resource_type)?;
    let is_there = subscription.base.as_ref().is_some_and(|base| Arc::ptr_eq(base, &target));
    let is_idle = subscription.overlay.is_empty() && subscription.search.is_none();
    (!is_there || !is_idle).then_some(target)
}

/// The plan for a type that is to be brought to a target.
pub(super) fn plan(view: &View<'_>, resource_type: &ResourceType, target: Arc<Collection>) -> Option<Plan> {
    let subscription = view.subscriptions.get(resource_type)?;
    if let Some((search, base)) = subscription.search.as_ref().zip(subscription.base.as_ref()) {
        // While a bad resource is looked for, nothing else joins it, or the answer would not tell them apart.
        let offer = |resource: &Resource| Judged {
            name: resource.name().clone(),
            before: subscription.held(resource.name()).into(),
            verdict: Verdict::Send(resource.clone()),
        };
        let judgement = Judgement::Each(search.probe().iter().map(offer).collect());
        return Some(Plan { target: base.clone(), judgement });
    }
    let gate = Gate::new(view, resource_type);
    let is_list = view.dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    let room = if is_list { usize::MAX } else { view.response_bytes };
    let may_be_whole = view.spared.is_empty_of(resource_type) && target.bytes() <= room;
    let whole = may_be_whole.then(|| judge_whole(subscription, &target, &gate));
    let judgement = whole.flatten().unwrap_or_else(|| {
        let judge = |name| {
            let (before, verdict) = judge(view, resource_type, subscription, &target, &gate, &name);
            Judged { name, before, verdict }
        };
        let mut judged: Vec<Judged> = candidates(subscription, &target).into_iter().map(judge).collect();
        fill(&mut judged, room);
        if is_list {
            keep_together(&mut judged);
        }
        Judgement::Each(judged)
    });
    Some(Plan { target, judgement })
}

/// Leaves for later what does not fit into a response that may be split (H62).
fn fill(judged: &mut [Judged], room: usize) {
    let (mut bytes, mut is_first) = (0_usize, true);
    for one in judged {
        let Verdict::Send(resource) = &one.verdict else {
            continue;
        };
        bytes = bytes.saturating_add(resource.body_len());
        if bytes > room && !is_first {
            one.verdict = Verdict::Later;
        }
        is_first = false;
    }
}

/// Sends nothing of a full list that would lack what the client may have from an earlier stream: what waits there
/// cannot stay as it is, because nobody knows what it is, and absence would delete it.
fn keep_together(judged: &mut [Judged]) {
    let is_torn = |one: &Judged| matches!(one.verdict, Verdict::Wait(_)) && matches!(one.before, Held::Stale);
    if judged.iter().any(is_torn) {
        let sent = judged.iter_mut().filter(|one| matches!(one.verdict, Verdict::Send(_) | Verdict::Remove));
        sent.for_each(|one| one.verdict = Verdict::Later);
    }
}

/// Answers a first request for everything without a record of every name: after a restart all clients ask at once.
fn judge_whole(subscription: &Subscription, target: &Collection, gate: &Gate<'_>) -> Option<Judgement> {
    let is_first = subscription.base.is_none() && subscription.overlay.is_empty();
    if !is_first || !subscription.interest.is_wildcard() || !subscription.interest.named().is_empty() {
        return None;
    }
    match &subscription.claim {
        Claim::Version(_) if subscription.claims(target) => Some(Judgement::Claimed),
        Claim::Nothing | Claim::Version(_) => {
            let is_open =
                |resource: &Resource| gate.for_update(resource.name(), resource, None) == Passage::Open;
            target.iter().all(is_open).then_some(Judgement::Whole)
        }
        Claim::Resources(_) => None,
    }
}

/// The names that may need a response, sorted.
fn candidates(subscription: &Subscription, target: &Collection) -> Vec<Name> {
    let interest = &subscription.interest;
    let mut names: Vec<Name> = match &subscription.base {
        Some(base) => {
            let mut changed = target.changed_since(base);
            changed.retain(|name| interest.covers(name));
            changed
        }
        None => {
            let mut all = interest.named().to_vec();
            if interest.is_wildcard() {
                all.extend(target.iter().map(|resource| resource.name().clone()));
            }
            if let Claim::Resources(claimed) = &subscription.claim {
                all.extend(claimed.keys().cloned());
            }
            all
        }
    };
    names.extend(subscription.overlay.keys().cloned());
    names.sort_unstable();
    names.dedup();
    names
}

fn judge(
    view: &View<'_>,
    resource_type: &ResourceType,
    subscription: &Subscription,
    target: &Collection,
    gate: &Gate<'_>,
    name: &Name,
) -> (Held, Verdict) {
    let no_exception = Exception::default();
    let exception = subscription.overlay.get(name);
    let before = match exception {
        Some(exception) => exception.held.clone(),
        None if subscription.is_returning && target.contains(name) => Held::Stale,
        None => claimed(subscription, target, name).unwrap_or_else(|| subscription.held(name).into()),
    };
    let exception = exception.unwrap_or(&no_exception);
    let is_covered = subscription.interest.covers(name);
    let verdict = match target.get(name).filter(|_| is_covered) {
        Some(wanted) => {
            if !exception.asked {
                match &exception.rejected {
                    Some(version) if *version == wanted.version() => return (before, Verdict::Parked),
                    None if before.resource() == Some(wanted) && !exception.is_uncertain => {
                        return (before, Verdict::Settled);
                    }
                    _ => {}
                }
            }
            let may_keep = view.dialect == Dialect::Delta || !matches!(before, Held::Stale);
            if !exception.asked && may_keep && view.spared.covers(resource_type, wanted) {
                return (before, Verdict::Spare(wanted.version()));
            }
            match gate.for_update(name, wanted, before.resource()) {
                Passage::Open => Verdict::Send(wanted.clone()),
                passage => wait(view, exception, passage).unwrap_or_else(|| Verdict::Send(wanted.clone())),
            }
        }
        None if before.is_nothing()
            && view.has_word_for_missing(resource_type)
            && subscription.interest.names(name)
            && (subscription.base.is_none() || exception.asked) =>
        {
            Verdict::Missing
        }
        None if must_be_told_of_absence(view, resource_type, subscription, exception, &before, name) => {
            let passage = match gate.for_removal(name, &before) {
                // A list cannot have it meanwhile, because nobody knows what it is, and must not wait for ever.
                Passage::Pinned if view.dialect == Dialect::Sotw && matches!(before, Held::Stale) => {
                    Passage::Blocked
                }
                passage => passage,
            };
            wait(view, exception, passage).unwrap_or(Verdict::Remove)
        }
        None => Verdict::Settled,
    };
    (before, verdict)
}

/// What the first request said that the client has under this name (R49).
fn claimed(subscription: &Subscription, target: &Collection, name: &Name) -> Option<Held> {
    let Claim::Resources(claimed) = &subscription.claim else {
        return None;
    };
    let version = claimed.get(name)?;
    let current = target.get(name).filter(|resource| *version == Some(resource.version()));
    Some(current.cloned().map_or(Held::Stale, Held::Resource))
}

fn must_be_told_of_absence(
    view: &View<'_>,
    resource_type: &ResourceType,
    subscription: &Subscription,
    exception: &Exception,
    before: &Held,
    name: &Name,
) -> bool {
    match view.dialect {
        // Absence from a full list is the message; other types have no way to say it (R34, R35).
        Dialect::Sotw => {
            resource_type.is_full_state_in_sotw() && (!before.is_nothing() || exception.is_uncertain)
        }
        // A name that was asked for and does not exist is answered as removed (R42).
        Dialect::Delta => {
            !before.is_nothing()
                || exception.asked
                || exception.rejected.is_some()
                || exception.is_uncertain
                || (subscription.base.is_none() && subscription.interest.names(name))
        }
    }
}

/// Waits for what blocks the passage, unless it has waited long enough.
fn wait(view: &View<'_>, exception: &Exception, passage: Passage) -> Option<Verdict> {
    match passage {
        Passage::Open => None,
        Passage::Pinned => Some(Verdict::Wait(None)),
        Passage::Blocked => {
            let deadline = exception.deadline.unwrap_or(view.now + view.reference_wait);
            (view.now < deadline).then_some(Verdict::Wait(Some(deadline)))
        }
    }
}
