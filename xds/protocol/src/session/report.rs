//! What drivers and people may want to know of a session: when to come back, what the client has, and how far it is.

use std::sync::Arc;
use std::time::Instant;

use super::subscription::Subscription;
use super::{Phase, Session};
use crate::{Dialect, Holding, Interest, ResourceType, Revision};

impl Session {
    /// When [`Session::handle_timeout`] should be called, if nothing else happens before; always later than the time
    /// that the session has seen.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = |subscription: &Subscription| {
            // A time that has passed was acted upon when it did, or there was nothing to do.
            let is_ahead = |deadline: &Instant| *deadline > self.now;
            // While an answer is awaited nothing else can be sent, so only that wait counts.
            if let Some(Phase::Awaiting(deadline)) = subscription.sent.as_ref().map(|sent| sent.phase) {
                return Some(deadline).filter(is_ahead);
            }
            let waiting = subscription.overlay.values().filter_map(|exception| exception.deadline);
            waiting.chain(subscription.heartbeat_at).filter(is_ahead).min()
        };
        self.subscriptions.values().filter_map(|subscription| deadline(subscription)).min()
    }

    /// The revision that the client has in full: it has answered everything that follows from it, and what it does
    /// not have it has rejected, or depends on that. `None` while anything is unanswered or held back, and before the first snapshot.
    pub fn settled(&self) -> Option<Revision> {
        let snapshot = self.snapshot.as_ref()?;
        let is_settled = |resource_type: &ResourceType, subscription: &Subscription| {
            let Some(target) = snapshot.collection(resource_type) else {
                return !subscription.is_awaiting()
                    && subscription.base.as_ref().is_none_or(|b| b.is_empty());
            };
            let is_at_target = match &subscription.base {
                Some(base) => Arc::ptr_eq(base, target),
                None => subscription.interest.is_empty(),
            };
            is_at_target
                && !subscription.is_awaiting()
                && !subscription.answer_due
                && subscription.search.is_none()
                && subscription.overlay.iter().all(|(name, exception)| {
                    let rejected = exception.rejected;
                    let is_rejected =
                        rejected.is_some() && rejected == target.get(name).map(|wanted| wanted.version());
                    is_rejected || exception.is_pinned
                })
        };
        self.subscriptions.iter().all(|(of, one)| is_settled(of, one)).then(|| snapshot.revision())
    }

    /// What the client has subscribed to within a type.
    pub fn interest(&self, resource_type: &ResourceType) -> Option<&Interest> {
        Some(&self.subscriptions.get(resource_type)?.interest)
    }

    /// What the client has, was sent or has rejected, by type and in the order of names.
    pub fn holdings(&self) -> Vec<Holding> {
        let mut holdings = Vec::new();
        for (resource_type, subscription) in &self.subscriptions {
            let Some(base) = &subscription.base else {
                continue;
            };
            let interest = &subscription.interest;
            let covered = base.iter().filter(|resource| interest.covers(resource.name()));
            holdings.extend(covered.map(|resource| Holding {
                resource_type: resource_type.clone(),
                resource: resource.clone(),
                standing: subscription.standing(resource),
            }));
        }
        holdings
    }

    /// The types that the client has asked about, in the order in which they are sent.
    pub fn resource_types(&self) -> impl ExactSizeIterator<Item = &ResourceType> {
        self.subscriptions.keys()
    }

    /// The dialect of the stream.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}
