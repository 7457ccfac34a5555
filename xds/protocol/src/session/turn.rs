//! The next response: whose turn it is, what is decided, and what follows from it. [`super::plan`] decides and
//! [`super::apply`] carries out; many streams in the same situation share a [`Precedent`].

use std::ops::Bound;
use std::sync::Arc;

use super::subscription::Subscription;
use super::view::View;
use super::{Precedent, Precedents, Session, apply, plan, precedent, search};
use crate::response::{Lifetimes, Nonce};
use crate::{ClientFeatures, ClientProfile, Dialect, ResourceType, Response};

impl Session {
    /// The next response to send, in the order of the types (R55).
    pub fn poll_response(&mut self) -> Option<Response> {
        self.poll_response_with(&())
    }

    /// The same, where many streams are in the same situation: what was decided for one is not worked out anew.
    ///
    /// The responses are those of [`Session::poll_response`]; only their cost differs.
    pub fn poll_response_with(&mut self, precedents: &impl Precedents) -> Option<Response> {
        let snapshot = self.snapshot.as_ref()?;
        let mut from = Bound::Unbounded;
        loop {
            let mut rest = self.subscriptions.range((from, Bound::Unbounded));
            let is_at_rest = |of: &ResourceType, one: &Subscription| one.is_at_rest(snapshot.collection(of));
            let (resource_type, _) = rest.find(|(of, one)| !is_at_rest(of, one))?;
            let resource_type = resource_type.clone();
            if let Some(subscription) = self.subscriptions.get_mut(&resource_type)
                && subscription.search.is_some()
                && !subscription.is_awaiting()
            {
                let target = snapshot.collection(&resource_type).map(Arc::as_ref);
                self.events.extend(search::revise(subscription, target));
            }
            let view = View {
                dialect: self.dialect,
                profile: self.profile,
                response_bytes: self.config.response_bytes,
                now: self.now,
                reference_wait: self.config.reference_wait,
                snapshot,
                spared: &self.spared,
                subscriptions: &self.subscriptions,
            };
            let lifetimes = lifetimes(self.dialect, self.profile, self.features);
            let target = plan::target(&view, &resource_type);
            let is_ordinary = target.is_some() && precedent::is_ordinary(&view, &resource_type);
            let applies = |one: &Precedent| one.applies(&view, &resource_type, lifetimes);
            let found = is_ordinary.then(|| precedents.find(applies)).flatten();
            let is_new = is_ordinary && found.is_none();
            let new = is_new.then(|| Precedent::of(&view, &resource_type, lifetimes)).flatten();
            let plan = target.clone().filter(|_| found.is_none());
            let plan = plan.and_then(|target| plan::plan(&view, &resource_type, target));
            let has_children = self.subscriptions.keys().any(ResourceType::is_sent_again_after_parent);
            if let Some(subscription) = self.subscriptions.get_mut(&resource_type) {
                let context = apply::Context {
                    dialect: self.dialect,
                    revision: snapshot.revision(),
                    nonce: Nonce(self.last_nonce + 1),
                    now: self.now,
                    answer_until: self.now + self.config.answer_wait,
                    lifetimes,
                    has_children,
                };
                let mut children = Vec::new();
                let mut response = match (&found, target, plan) {
                    (Some(found), Some(target), _) => found.follow(subscription, target, &context),
                    (_, _, Some(plan)) => {
                        apply::apply(subscription, &resource_type, plan, &context, &mut children)
                    }
                    _ => None,
                };
                let new = new.and_then(|new| new.decided(subscription, response.as_ref(), &children));
                if let Some(new) = new {
                    precedents.keep(Arc::new(new));
                }
                if response.is_none() {
                    response = apply::beat(subscription, &resource_type, &context);
                }
                debug_assert_eq!(subscription.told, subscription.told_by_recount());
                for child in found.iter().flat_map(|found| &found.children).chain(&children) {
                    if let Some(subscription) = self.subscriptions.get_mut(&child.resource_type) {
                        subscription.send_again(&child.name);
                    }
                }
                if response.is_some() {
                    self.last_nonce += 1;
                    return response;
                }
            }
            from = Bound::Excluded(resource_type);
        }
    }
}

/// Whether a client is told times to live: where it says that it understands them, SotW has the wrapper for them, and
/// the heartbeats that they need are no fault to it (R61, R62).
fn lifetimes(dialect: Dialect, profile: ClientProfile, features: ClientFeatures) -> Lifetimes {
    let has_place = dialect == Dialect::Delta || features.wrapped_in_sotw;
    if features.ttl && has_place && profile != ClientProfile::Grpc {
        Lifetimes::Said
    } else {
        Lifetimes::Unsaid
    }
}
