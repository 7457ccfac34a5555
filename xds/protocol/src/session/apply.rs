//! Carries a plan out: records what the client will have, and makes the response.

use std::sync::Arc;
use std::time::Instant;

use super::plan::{Judged, Judgement, Plan, Verdict};
use super::sent::Sent;
use super::subscription::{Claim, Exception, Held, Subscription};
use super::{heartbeat, overdue};
use crate::collection::entry_hash;
use crate::response::{Contents, Lifetimes, Nonce};
use crate::{
    Collection, Dialect, Interest, Name, Reference, Resource, ResourceType, Response, Revision, Version,
};

/// What a response needs beside the plan.
pub(super) struct Context {
    pub(super) dialect: Dialect,
    pub(super) revision: Revision,
    pub(super) nonce: Nonce,
    pub(super) now: Instant,
    pub(super) answer_until: Instant,
    pub(super) lifetimes: Lifetimes,
    /// Whether the client has subscribed to a type that may have to follow.
    pub(super) has_children: bool,
}

/// Brings the subscription to the plan's target, and returns the response if there is anything to say. What has to
/// follow the response is added to `children`.
pub(super) fn apply(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
    plan: Plan,
    context: &Context,
    children: &mut Vec<Reference>,
) -> Option<Response> {
    let Plan { target, judgement } = plan;
    subscription.claim = Claim::Nothing;
    let is_full = context.dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    let is_continued = std::mem::take(&mut subscription.is_returning);
    let is_probe = subscription.search.is_some();
    let former = (subscription.base.clone(), subscription.interest.clone());
    let mut upserts: Vec<Resource> = Vec::new();
    let mut removed: Vec<Name> = Vec::new();
    let mut missing: Vec<Name> = Vec::new();
    let mut before_response = Vec::new();
    let mut waits = false;
    let is_whole = matches!(judgement, Judgement::Whole) && !target.is_empty();
    let judged = match judgement {
        Judgement::Each(judged) => judged,
        Judgement::Claimed | Judgement::Whole => {
            subscription.told = target.version().0;
            subscription.answer_due &= matches!(judgement, Judgement::Whole);
            Vec::new()
        }
    };
    if is_whole && context.has_children {
        target.iter().for_each(|resource| follow(resource, children));
    }
    for Judged { name, before, verdict } in judged {
        match verdict {
            Verdict::Settled => subscription.settle(&name, &target),
            Verdict::Parked => {
                // What it waited for before is not wanted any more.
                if let Some(exception) = subscription.overlay.get_mut(&name) {
                    exception.deadline = None;
                    exception.is_pinned = false;
                }
            }
            Verdict::Missing => {
                subscription.settle(&name, &target);
                missing.push(name);
            }
            Verdict::Later => {
                waits = true;
                let former = subscription.overlay.get(&name).cloned().unwrap_or_default();
                // Whatever becomes of it, a name that was asked for is answered.
                let asked = former.asked || subscription.interest.names(&name);
                subscription
                    .set_exception(name, Exception { held: before, asked, is_pinned: false, ..former });
            }
            Verdict::Spare(version) => {
                let rejected = Some(version);
                subscription
                    .set_exception(name, Exception { held: before, rejected, ..Exception::default() });
            }
            Verdict::Wait(deadline) => {
                waits = true;
                let former = subscription.overlay.get(&name).cloned().unwrap_or_default();
                let is_pinned = deadline.is_none();
                let exception = Exception { held: before, deadline, is_pinned, ..former };
                subscription.set_exception(name, exception);
            }
            Verdict::Send(_) | Verdict::Remove => {
                let was_asked = subscription.overlay.get(&name).is_some_and(|exception| exception.asked);
                let is_new = before.resource() != target.get(&name);
                subscription.settle(&name, &target);
                if was_asked || !is_held_by(&former, is_continued, &name, &before) {
                    before_response.push((name.clone(), before));
                }
                match verdict {
                    Verdict::Send(resource) => {
                        if is_new && context.has_children {
                            follow(&resource, children);
                        }
                        upserts.push(resource);
                    }
                    _ => removed.push(name),
                }
            }
        }
    }
    subscription.base = Some(target.clone());

    let is_answer = subscription.answer_due && !waits && !is_probe;
    if !is_whole && upserts.is_empty() && removed.is_empty() && missing.is_empty() && !is_answer {
        return None;
    }
    subscription.answer_due &= is_probe;
    if let Some(search) = &mut subscription.search {
        search.sent();
    }
    let is_all = subscription.interest.is_wildcard() && subscription.overlay.is_empty();
    let resources = if is_all && (is_full || is_whole || upserts.len() == target.len()) {
        Contents::Whole(target)
    } else if is_full {
        let listed = subscription.held_resources().chain(subscription.listed_nevertheless());
        let mut held: Vec<Resource> = listed.cloned().collect();
        held.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        Contents::Some(held.into())
    } else {
        Contents::Some(upserts.into())
    };
    if is_full {
        // The list repeats what the client has instead of the base, which must not be taken for news.
        let repeated = subscription.overlay.iter().map(|(name, one)| (name.clone(), one.held.clone()));
        before_response.extend(repeated);
        before_response.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }
    let response = Response {
        resource_type: resource_type.clone(),
        version: version(subscription, is_full),
        nonce: context.nonce,
        revision: context.revision,
        resources,
        removed: match context.dialect {
            Dialect::Sotw => Arc::default(),
            Dialect::Delta => removed.into(),
        },
        missing: missing.into(),
        heartbeats: Arc::default(),
        lifetimes: context.lifetimes,
        fingerprint: Arc::default(),
    };
    if context.lifetimes == Lifetimes::Said {
        subscription.heartbeat_at = heartbeat::schedule(subscription, context.now);
    }
    let sent = Sent::new(
        (response.nonce, response.version, response.revision),
        context.answer_until,
        response.resources.clone(),
        former,
        before_response,
        is_continued,
    );
    overdue::follow(subscription, sent);
    Some(response)
}

/// A response that only extends times to live, if one is due.
pub(super) fn beat(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
    context: &Context,
) -> Option<Response> {
    if context.lifetimes == Lifetimes::Unsaid || subscription.is_awaiting() || subscription.search.is_some() {
        return None;
    }
    let heartbeats = heartbeat::due(subscription, resource_type, context.now)?;
    subscription.heartbeat_at = heartbeat::schedule(subscription, context.now);
    let is_full = context.dialect == Dialect::Sotw && resource_type.is_full_state_in_sotw();
    let (version, nonce, revision) = (version(subscription, is_full), context.nonce, context.revision);
    let nothing = Contents::Some(Arc::default());
    let former = (subscription.base.clone(), subscription.interest.clone());
    let identity = (nonce, version, revision);
    let sent = Sent::new(identity, context.answer_until, nothing.clone(), former, Vec::new(), false);
    overdue::follow(subscription, sent);
    Some(Response {
        resource_type: resource_type.clone(),
        version,
        nonce,
        revision,
        resources: nothing,
        removed: Arc::default(),
        missing: Arc::default(),
        heartbeats,
        lifetimes: Lifetimes::Said,
        fingerprint: Arc::default(),
    })
}

/// Notes what the client awaits after this resource.
fn follow(resource: &Resource, children: &mut Vec<Reference>) {
    let awaited =
        resource.references().iter().filter(|child| child.resource_type.is_sent_again_after_parent());
    children.extend(awaited.cloned());
}

/// The version of what a response leads to, with what it lists though the client has rejected it: it accepts that if it
/// accepts the response.
fn version(subscription: &Subscription, is_full: bool) -> Version {
    let nevertheless = is_full.then(|| subscription.listed_nevertheless().map(entry_hash));
    Version(nevertheless.into_iter().flatten().fold(subscription.told, u64::wrapping_add))
}

/// Whether `before` is what the former base and interest say, so that it needs no record of its own.
fn is_held_by(
    (base, interest): &(Option<Arc<Collection>>, Interest),
    is_continued: bool,
    name: &Name,
    before: &Held,
) -> bool {
    let of_base = base.as_ref().filter(|_| interest.covers(name)).and_then(|base| base.get(name));
    match before {
        Held::Stale => is_continued,
        _ if is_continued => false,
        Held::Nothing => of_base.is_none(),
        Held::Resource(resource) => of_base == Some(resource),
    }
}
