//! Heartbeats: responses that extend the time to live of what a client has, and change nothing (R62).
//!
//! Only clients that understand a time to live are given one, and never gRPC, which takes a heartbeat for a fault.

use std::sync::Arc;
use std::time::Instant;

use super::subscription::Subscription;
use crate::{Resource, ResourceType};

/// Heartbeats within one time to live: one may be lost, or late, and nothing expires.
const BEATS: u32 = 3;

/// When the next heartbeat of a type is due, if it needs any; counted from now.
pub(super) fn schedule(subscription: &Subscription, now: Instant) -> Option<Instant> {
    let shortest = mortal(subscription).filter_map(Resource::ttl).min()?;
    Some(now + shortest / BEATS)
}

/// What a heartbeat that is due lists.
pub(super) fn due(
    subscription: &Subscription,
    resource_type: &ResourceType,
    now: Instant,
) -> Option<Arc<[Resource]>> {
    // There is none for virtual hosts.
    if *resource_type == ResourceType::VirtualHost || subscription.heartbeat_at? > now {
        return None;
    }
    let mut resources: Vec<Resource> = mortal(subscription).cloned().collect();
    resources.sort_unstable_by(|a, b| a.name().cmp(b.name()));
    Some(resources.into()).filter(|resources: &Arc<[Resource]>| !resources.is_empty())
}

fn mortal(subscription: &Subscription) -> impl Iterator<Item = &Resource> {
    let has_any = subscription.base.as_ref().is_some_and(|base| base.is_mortal());
    let held = has_any.then(|| subscription.held_resources());
    held.into_iter().flatten().filter(|resource| resource.ttl().is_some())
}
