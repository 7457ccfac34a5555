//! What was decided for one stream, for every other stream in the same situation.
//!
//! Invariant: following a precedent leaves a session as deciding anew would. Therefore only ordinary situations make
//! or follow one: nothing is unanswered, held back, rejected or claimed, so that the interests and the collections
//! alone decide. Both are compared by identity, or by content where that is short.

use std::sync::Arc;

use super::apply;
use super::sent::{Before, Sent};
use super::subscription::{Claim, Subscription};
use super::view::View;
use crate::{ClientProfile, Collection, Dialect, Interest, Lifetimes, Reference, ResourceType, Response};

/// Where decisions are kept that other streams can follow; see [`crate::Session::poll_response_with`].
///
/// An implementation keeps as many as it likes, and forgets them when it likes. The session takes no lock; the
/// implementation may.
pub trait Precedents {
    /// A precedent to which `applies` says yes; the latest are the most likely.
    fn find(&self, applies: impl Fn(&Precedent) -> bool) -> Option<Arc<Precedent>>;

    /// Offers a decision that others can follow.
    fn keep(&self, precedent: Arc<Precedent>);
}

/// Every stream decides for itself.
impl Precedents for () {
    fn find(&self, _applies: impl Fn(&Precedent) -> bool) -> Option<Arc<Precedent>> {
        None
    }

    fn keep(&self, _precedent: Arc<Precedent>) {}
}

/// A decision about one type, and the situation in which it was made.
pub struct Precedent {
    dialect: Dialect,
    profile: ClientProfile,
    lifetimes: Lifetimes,
    response_bytes: usize,
    resource_type: ResourceType,
    answer_due: bool,
    is_returning: bool,
    has_unknown: bool,
    standpoints: Box<[Standpoint]>,
    told: u64,
    answer_still_due: bool,
    /// The response but for nonce and revision, if there is one.
    response: Option<Response>,
    pub(super) children: Box<[Reference]>,
}

/// One type of the stream: what is asked for, what the client has of it, and what it should have.
struct Standpoint {
    resource_type: ResourceType,
    interest: Interest,
    base: Option<Arc<Collection>>,
    target: Option<Arc<Collection>>,
}

/// Whether nothing but interests and collections decides what a type is told.
pub(super) fn is_ordinary(view: &View<'_>, resource_type: &ResourceType) -> bool {
    let is_plain = |one: &Subscription| {
        one.overlay.is_empty()
            && one.search.is_none()
            && matches!(one.claim, Claim::Nothing)
            && !one.is_awaiting()
    };
    view.spared.is_empty_of(resource_type) && view.subscriptions.values().all(|one| is_plain(one))
}

impl Precedent {
    /// The situation of a type on a stream, before anything is decided.
    pub(super) fn of(view: &View<'_>, resource_type: &ResourceType, lifetimes: Lifetimes) -> Option<Self> {
        let subscription = view.subscriptions.get(resource_type)?;
        let standpoint = |of: &ResourceType, one: &Subscription| Standpoint {
            resource_type: of.clone(),
            interest: one.interest.clone(),
            base: one.base.clone(),
            target: view.snapshot.collection(of).cloned(),
        };
        Some(Self {
            dialect: view.dialect,
            profile: view.profile,
            lifetimes,
            response_bytes: view.response_bytes,
            resource_type: resource_type.clone(),
            answer_due: subscription.answer_due,
            is_returning: subscription.is_returning,
            has_unknown: has_unknown(view, subscription),
            standpoints: view.subscriptions.iter().map(|(of, one)| standpoint(of, one)).collect(),
            told: 0,
            answer_still_due: false,
            response: None,
            children: Box::default(),
        })
    }

    /// Whether an ordinary situation is the one of this precedent.
    pub(super) fn applies(
        &self,
        view: &View<'_>,
        resource_type: &ResourceType,
        lifetimes: Lifetimes,
    ) -> bool {
        let Some(subscription) = view.subscriptions.get(resource_type) else {
            return false;
        };
        let is_alike = |ours: &Standpoint, of: &ResourceType, theirs: &Subscription| {
            ours.resource_type == *of
                && is_same(ours.base.as_ref(), theirs.base.as_ref())
                && is_same(ours.target.as_ref(), view.snapshot.collection(of))
                && ours.interest == theirs.interest
        };
        let mut pairs = self.standpoints.iter().zip(view.subscriptions);
        self.resource_type == *resource_type
            && self.dialect == view.dialect
            && self.profile == view.profile
            && self.lifetimes == lifetimes
            && self.response_bytes == view.response_bytes
            && self.answer_due == subscription.answer_due
            && self.is_returning == subscription.is_returning
            && self.has_unknown == has_unknown(view, subscription)
            && self.standpoints.len() == view.subscriptions.len()
            && pairs.all(|(ours, (of, theirs))| is_alike(ours, of, theirs))
    }

    /// The precedent with what came of the decision, unless that is the stream's own affair.
    pub(super) fn decided(
        mut self,
        subscription: &Subscription,
        response: Option<&Response>,
        children: &[Reference],
    ) -> Option<Self> {
        if !subscription.overlay.is_empty() || subscription.base.is_none() {
            return None;
        }
        if let Some(response) = response {
            let sent = subscription.sent.as_ref().filter(|sent| sent.nonce == response.nonce);
            if !sent.is_some_and(Sent::is_without_exceptions) {
                return None;
            }
        }
        self.told = subscription.told;
        self.answer_still_due = subscription.answer_due;
        self.response = response.cloned();
        self.children = children.into();
        Some(self)
    }

    /// Decides for this stream what was decided for the other.
    pub(super) fn follow(
        &self,
        subscription: &mut Subscription,
        target: Arc<Collection>,
        context: &apply::Context,
    ) -> Option<Response> {
        let before = Before::now(subscription);
        subscription.base = Some(target);
        subscription.told = self.told;
        subscription.answer_due = self.answer_still_due;
        let (nonce, revision) = (context.nonce, context.revision);
        let response = Response { nonce, revision, ..self.response.clone()? };
        subscription.is_returning = false;
        Some(apply::send(subscription, response, before, context))
    }
}

/// Whether the client may still use what it has by what it kept of an earlier stream.
fn has_unknown(view: &View<'_>, subscription: &Subscription) -> bool {
    subscription.unknown_until.is_some_and(|until| view.now < until)
}

fn is_same(ours: Option<&Arc<Collection>>, theirs: Option<&Arc<Collection>>) -> bool {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs),
        (None, None) => true,
        _ => false,
    }
}
