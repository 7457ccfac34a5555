//! What a SotW client still has of an earlier stream, where the driver remembers it (R12, R56).
//!
//! The version that a client comes back with stands for all that it holds under a wildcard, but only to who remembers
//! that state. To who does, a new stream goes on where the old one ended, and a removal waits for what still refers to
//! it. Without it the first full list deletes at once whatever it lacks. Delta needs none of this: its clients list
//! what they hold.

use std::sync::Arc;

use super::subscription::{Claim, Held, Subscription};
use super::{Phase, Session};
use crate::{Collection, Dialect, ResourceType};

impl Session {
    /// The states that the client may come back with on another stream: of each type that is listed in full, what it
    /// has, and what it had before a response that it has not answered.
    ///
    /// Keep them by their [`Collection::version`] when a stream ends, for [`Session::handle_recollection`].
    pub fn recollections(&self) -> Vec<(ResourceType, Arc<Collection>)> {
        if self.dialect != Dialect::Sotw {
            return Vec::new();
        }
        let listed = self.subscriptions.iter().filter(|(resource_type, subscription)| {
            resource_type.is_full_state_in_sotw() && is_whole(subscription)
        });
        let states = listed.flat_map(|(resource_type, subscription)| {
            let now = now(subscription);
            let before = now.as_ref().and_then(|now| before(subscription, now));
            now.into_iter().chain(before).map(|state| (resource_type.clone(), state))
        });
        states.collect()
    }

    /// Takes in the state that a client has come back with; call it after the first request of the type.
    ///
    /// It is ignored unless that request quoted the version of `state`, and after the first response.
    pub fn handle_recollection(&mut self, resource_type: &ResourceType, state: &Arc<Collection>) {
        let Some(subscription) = self.subscriptions.get_mut(resource_type) else {
            return;
        };
        let is_quoted =
            matches!(&subscription.claim, Claim::Version(version) if *version == state.version().to_string());
        if is_quoted && subscription.base.is_none() && is_whole(subscription) {
            subscription.base = Some(state.clone());
            subscription.told = state.version().0;
            subscription.claim = Claim::Nothing;
            subscription.is_returning = false;
            subscription.answer_due = false;
        }
    }
}

/// Whether the version of the type stands for a whole collection.
fn is_whole(subscription: &Subscription) -> bool {
    subscription.interest.is_wildcard() && subscription.interest.named().is_empty()
}

fn now(subscription: &Subscription) -> Option<Arc<Collection>> {
    let base = subscription.base.as_ref()?;
    if subscription.overlay.is_empty() {
        return Some(base.clone());
    }
    let is_known = |held: &Held| !matches!(held, Held::Stale);
    let are_known = subscription.overlay.values().all(|exception| is_known(&exception.held));
    are_known.then(|| Arc::new(subscription.held_resources().cloned().collect()))
}

fn before(subscription: &Subscription, now: &Collection) -> Option<Arc<Collection>> {
    let sent = subscription.sent.as_ref().filter(|sent| sent.phase != Phase::Acked)?;
    let base = subscription.base.as_ref()?;
    if !sent.has_predecessor() {
        return None;
    }
    let (mut changed, mut gone) = (Vec::new(), Vec::new());
    for name in sent.changed_names(base) {
        match sent.before(&name) {
            Held::Nothing => gone.push(name),
            Held::Resource(resource) => changed.push(resource),
            Held::Stale => return None,
        }
    }
    Some(Arc::new(now.with_changes(changed, gone)))
}
