//! Carries a plan out: records what the client will have, and makes the response.

use std::sync::Arc;
use std::time::Instant;

use super::plan::{Judged, Judgement, Plan, Verdict};
use super::sent::{Before, Sent};
use super::subscription::{Claim, Exception, Subscription};
use super::{heartbeat, overdue};
use crate::collection::entry_hash;
use crate::response::{Contents, Lifetimes, Nonce};
use crate::{Dialect, Name, Reference, Resource, ResourceType, Response, Revision, Version};

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
    let is_probe = subscription.search.is_some();
    let mut before_response = Before::now(subscription);
    let mut upserts: Vec<Resource> = Vec::new();
    let mut removed: Vec<Name> = Vec::new();
    let mut missing: Vec<Name> = Vec::new();
    let mut exceptions = Vec::new();
    let mut waits = false;
    let is_whole = matches!(judgement, Judgement::Whole) && !target.is_empty();
    let judged = match judgement {
        Judgement::Each(judged) => judged,
        Judgement::Claimed | Judgement::Whole => {
            subscription.told = target.version().0;
            subscription.is_returning &= matches!(judgement, Judgement::Whole);
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
                if was_asked || !before_response.says(&name, &before) {
                    exceptions.push((name.clone(), before));
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
    subscription.is_returning = false;
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
        exceptions.extend(
            subscription.overlay.iter().map(|(name, exception)| (name.clone(), exception.held.clone())),
        );
    }
    before_response.note(exceptions);
    let response = Response {
        resources,
        removed: match context.dialect {
            Dialect::Sotw => Arc::default(),
            Dialect::Delta => removed.into(),
        },
        missing: missing.into(),
        ..blank(subscription, resource_type, context)
    };
    Some(send(subscription, response, before_response, context))
}

/// A response that only extends times to live, if one is due.
pub(super) fn beat(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
    context: &Context,
) -> Option<Response> {
    if subscription.is_awaiting() {
        return None;
    }
    let heartbeats = heartbeat::due(subscription, resource_type, context.now)?;
    let response = Response { heartbeats, ..blank(subscription, resource_type, context) };
    Some(send(subscription, response, Before::now(subscription), context))
}

/// Makes a response the latest one, which the client is to answer.
pub(super) fn send(
    subscription: &mut Subscription,
    response: Response,
    before: Before,
    context: &Context,
) -> Response {
    if context.lifetimes == Lifetimes::Said {
        subscription.heartbeat_at = heartbeat::schedule(subscription, context.now);
    }
    overdue::follow(subscription, Sent::new(&response, context.answer_until, before));
    response
}

/// A response without contents. Its version is that of what the client will have, with what is listed though the client
/// has rejected it: it accepts that if it accepts the response.
fn blank(subscription: &Subscription, resource_type: &ResourceType, context: &Context) -> Response {
    let nevertheless = subscription.listed_nevertheless().map(entry_hash);
    Response {
        resource_type: resource_type.clone(),
        version: Version(nevertheless.fold(subscription.told, u64::wrapping_add)),
        nonce: context.nonce,
        revision: context.revision,
        resources: Contents::Some(Arc::default()),
        removed: Arc::default(),
        missing: Arc::default(),
        heartbeats: Arc::default(),
        lifetimes: context.lifetimes,
        fingerprint: Arc::default(),
    }
}

/// Notes what the client awaits after this resource.
fn follow(resource: &Resource, children: &mut Vec<Reference>) {
    let awaited =
        resource.references().iter().filter(|child| child.resource_type.is_sent_again_after_parent());
    children.extend(awaited.cloned());
}
