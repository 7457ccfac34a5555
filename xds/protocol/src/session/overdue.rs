//! A rejection that comes after its response was given up and followed by another (R16, R21).
//!
//! Envoy holds its answer about clusters back while any of them warms, and a cluster that it rejects in the last moment
//! warms for ever: the answer then comes when that cluster is changed or taken away, which may be long after.

use super::answer::mentions;
use super::sent::{Phase, Sent};
use super::subscription::{Exception, Subscription};
use crate::{Blame, Event, Rejection, Resource, ResourceType};

/// Makes `sent` the latest response, and keeps the one before in mind if it was never answered.
pub(super) fn follow(subscription: &mut Subscription, sent: Sent) {
    if let Some(former) = subscription.sent.replace(sent).filter(|former| former.phase == Phase::Unanswered) {
        subscription.overdue = Some(former);
    }
}

/// Whether a nonce is that of a response which was given up.
pub(super) fn is_of(subscription: &Subscription, nonce: &str) -> bool {
    subscription.overdue.as_ref().is_some_and(|overdue| overdue.nonce.is(nonce))
}

/// Hears the late answer. What is to blame is kept back, as far as the client should still have it; its neighbours are
/// sent again, for nobody knows whether the client took them.
pub(super) fn hear(
    subscription: &mut Subscription,
    resource_type: &ResourceType,
    rejection: Option<Rejection>,
) -> Option<Event> {
    let (overdue, rejection) = subscription.overdue.take().zip(rejection)?;
    let is_new = |resource: &&Resource| overdue.before(resource.name()).resource() != Some(resource);
    let new: Vec<Resource> = overdue.contents()?.iter().filter(is_new).cloned().collect();
    let is_named = |resource: &Resource| new.len() == 1 || mentions(&rejection.message, resource.name());
    let (culprits, neighbours): (Vec<_>, Vec<_>) = new.iter().cloned().partition(is_named);
    let response = overdue.answered(resource_type.clone());
    if culprits.is_empty() {
        // It stays unknown which: a probe would now be mixed with what came since.
        return Some(Event::Nacked { response, rejection, suspects: new, blame: Blame::Shared });
    }
    for (resources, is_uncertain) in [(&culprits, false), (&neighbours, true)] {
        for resource in resources {
            let (name, held) = (resource.name(), overdue.before(resource.name()));
            // Only what the client is thought to have by this response is another thing now.
            if subscription.held(name) != Some(resource) {
                continue;
            }
            let former = subscription.overlay.get(name).cloned().unwrap_or_default();
            let rejected = if is_uncertain { former.rejected } else { Some(resource.version()) };
            subscription.set_exception(name.clone(), Exception { held, rejected, is_uncertain, ..former });
        }
    }
    Some(Event::Nacked { response, rejection, suspects: culprits, blame: Blame::Certain })
}
