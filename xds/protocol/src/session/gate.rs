//! Make before break: what a reference holds back (R55–R58).
//!
//! An update waits until the resources that it newly refers to have been accepted, and until a changed parent that
//! refers to it has been sent. A removal waits until the client has accepted what stops referring to it. Updates only
//! wait for types that are sent earlier, so that no two wait for each other; references to what does not exist, or to
//! what the client has not subscribed to, hold nothing back.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::subscription::{Exception, Held, Subscription};
use super::view::View;
use crate::{Collection, Name, Reference, Resource, ResourceType};

/// Whether something may be sent now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    /// It has to wait, but not for ever.
    Blocked,
    /// The client still uses it, because it rejected what would replace the user.
    Pinned,
}

pub(super) struct Gate<'a> {
    view: &'a View<'a>,
    resource_type: &'a ResourceType,
    /// Names of this type that a changed resource refers to which has not been sent yet.
    awaited_parents: OnceCell<BTreeSet<Name>>,
    /// Resources that the client has and that are about to go or to change, and whether it rejected the change.
    passing: OnceCell<Vec<(Resource, Passage)>>,
    has_unseen_users: OnceCell<bool>,
}

/// What leads to clusters.
const USERS: [ResourceType; 4] =
    [ResourceType::Listener, ResourceType::ScopedRoute, ResourceType::Route, ResourceType::VirtualHost];

impl<'a> Gate<'a> {
    pub(super) fn new(view: &'a View<'a>, resource_type: &'a ResourceType) -> Self {
        let (awaited_parents, passing, has_unseen_users) = Default::default();
        Self { view, resource_type, awaited_parents, passing, has_unseen_users }
    }

    /// Whether `wanted` may replace `held`.
    pub(super) fn for_update(&self, name: &Name, wanted: &Resource, held: Option<&Resource>) -> Passage {
        let former = held.map_or(&[][..], Resource::references);
        let is_new = |reference: &&Reference| former.binary_search(reference).is_err();
        let needed = || wanted.references().iter().filter(is_new);
        // What the client has rejected will not come, and what leads to it would fail.
        if held.is_some() && needed().any(|reference| self.is_refused(reference)) {
            return Passage::Pinned;
        }
        let missing = needed().any(|reference| !self.is_usable(reference, held.is_some()));
        if missing || self.awaited_parents.get_or_init(|| self.find_awaited_parents()).contains(name) {
            Passage::Blocked
        } else {
            Passage::Open
        }
    }

    /// Whether the client may lose `held`.
    pub(super) fn for_removal(&self, name: &Name, held: &Held) -> Passage {
        if held.is_nothing() {
            return Passage::Open;
        }
        let reference = Reference::new(self.resource_type.clone(), name.clone());
        let users = self.passing.get_or_init(|| self.find_passing()).iter();
        let mut passage = if self.may_be_used_unseen() { Passage::Blocked } else { Passage::Open };
        for (user, reason) in users {
            if user.references().binary_search(&reference).is_ok() {
                match reason {
                    Passage::Pinned => return Passage::Pinned,
                    reason => passage = *reason,
                }
            }
        }
        passage
    }

    /// Whether a client that has come back may use clusters by listeners and routes of an earlier stream, of which
    /// nobody knows where they lead; it may until it has had those of this snapshot.
    fn may_be_used_unseen(&self) -> bool {
        let own = self.view.subscriptions.get(self.resource_type);
        *self.resource_type == ResourceType::Cluster
            && own.and_then(|own| own.unknown_until).is_some_and(|until| self.view.now < until)
            && *self.has_unseen_users.get_or_init(|| self.find_unseen_users())
    }

    fn find_unseen_users(&self) -> bool {
        let target = |of: &ResourceType| self.view.snapshot.collection(of);
        let held = |of: &ResourceType| {
            let subscription = self.view.subscriptions.get(of)?;
            let is_claimed = |target: &&Arc<Collection>| subscription.claims(target);
            subscription.base.as_ref().or_else(|| target(of).filter(is_claimed))
        };
        let is_known = |exception: &Exception| !matches!(exception.held, Held::Stale);
        let has_latest = |of: &ResourceType| {
            let is_latest = match (held(of), target(of)) {
                (Some(held), Some(target)) => Arc::ptr_eq(held, target),
                (held, _) => held.is_some(),
            };
            let subscription = self.view.subscriptions.get(of);
            is_latest
                && subscription.is_some_and(|one| !one.is_awaiting() && one.overlay.values().all(is_known))
        };
        // Nobody uses a cluster without a listener, and a client asks for the rest when something leads there.
        let is_expected = |of: &ResourceType| {
            *of == ResourceType::Listener
                || self.view.subscriptions.contains_key(of)
                || USERS.iter().filter_map(held).flat_map(|held| held.iter()).any(|user| leads_to(user, of))
        };
        USERS.iter().any(|of| is_expected(of) && !has_latest(of))
    }

    /// Whether the client has rejected what a reference leads to, and has nothing in its place.
    fn is_refused(&self, reference: &Reference) -> bool {
        let subscription = self.view.subscriptions.get(&reference.resource_type);
        let Some((subscription, wanted)) = subscription.zip(self.view.resolve(reference)) else {
            return false;
        };
        reference.resource_type < *self.resource_type
            && is_rejected(subscription, wanted)
            && !is_on_trial(subscription, wanted)
            && subscription.held(&reference.name).is_none()
    }

    /// Whether the client can use what a reference leads to, and what that in turn needs.
    fn is_usable(&self, reference: &Reference, has_predecessor: bool) -> bool {
        if reference.resource_type >= *self.resource_type {
            return true;
        }
        let (Some(subscription), Some(wanted)) =
            (self.view.subscriptions.get(&reference.resource_type), self.view.resolve(reference))
        else {
            return true;
        };
        if !subscription.interest.covers(&reference.name) {
            return true;
        }
        if !is_accepted(subscription, wanted, has_predecessor) {
            return false;
        }
        // A cluster without its endpoints is still warming, and a route to it would fail. The client asks for the
        // endpoints only after it has the cluster, so that "not asked for yet" counts as missing.
        wanted.references().iter().all(|needed| {
            if needed.resource_type >= *self.resource_type || needed.resource_type == reference.resource_type
            {
                return true;
            }
            match (self.view.subscriptions.get(&needed.resource_type), self.view.resolve(needed)) {
                (Some(subscription), Some(wanted)) => is_accepted(subscription, wanted, has_predecessor),
                _ => true,
            }
        })
    }

    fn find_awaited_parents(&self) -> BTreeSet<Name> {
        let mut children = BTreeSet::new();
        for (resource_type, subscription) in self.view.subscriptions.range(..self.resource_type) {
            let (Some(base), Some(target)) =
                (&subscription.base, self.view.snapshot.collection(resource_type))
            else {
                continue;
            };
            let changed = target.changed_since(base);
            for name in changed.iter().chain(subscription.overlay.keys()) {
                let Some(parent) = target.get(name).filter(|_| subscription.interest.covers(name)) else {
                    continue;
                };
                if !is_rejected(subscription, parent) {
                    children.extend(
                        parent
                            .references()
                            .iter()
                            .filter(|child| child.resource_type == *self.resource_type)
                            .map(|child| child.name.clone()),
                    );
                }
            }
        }
        children
    }

    fn find_passing(&self) -> Vec<(Resource, Passage)> {
        let mut passing = Vec::new();
        for (resource_type, subscription) in self.view.subscriptions {
            if resource_type == self.resource_type {
                continue;
            }
            let target = self.view.snapshot.collection(resource_type);
            for (name, exception) in &subscription.overlay {
                let Some(held) = exception.held.resource() else {
                    continue;
                };
                let is_parked = target
                    .and_then(|target| target.get(name))
                    .is_some_and(|wanted| is_rejected(subscription, wanted));
                passing.push((held.clone(), if is_parked { Passage::Pinned } else { Passage::Blocked }));
            }
            let Some(base) = &subscription.base else {
                continue;
            };
            if let Some(sent) = subscription.sent.as_ref().filter(|_| subscription.is_awaiting()) {
                let before = sent.changed_names(base).into_iter().map(|name| sent.before(&name));
                passing.extend(before.filter_map(|held| Some((held.resource()?.clone(), Passage::Blocked))));
            }
            if let Some(target) = target {
                let changed = target.changed_since(base).into_iter();
                let pending = changed.filter_map(|name| subscription.held(&name).cloned());
                passing.extend(pending.map(|held| (held, Passage::Blocked)));
            }
        }
        passing
    }
}

/// Whether the client has accepted this very content, or keeps something in its place that it can use.
fn is_accepted(subscription: &Subscription, wanted: &Resource, has_predecessor: bool) -> bool {
    let name = wanted.name();
    let held = subscription.held(name);
    if is_on_trial(subscription, wanted) {
        return false;
    }
    if is_rejected(subscription, wanted) {
        // Without a predecessor to fall back to, waiting for something better gains nothing.
        return held.is_some() || !has_predecessor;
    }
    let is_asked = subscription.overlay.get(name).is_some_and(|exception| exception.asked);
    held == Some(wanted) && !is_asked && !subscription.is_in_flight(name)
}

/// Whether it is not known yet if the client rejects this very content.
fn is_on_trial(subscription: &Subscription, wanted: &Resource) -> bool {
    subscription.search.as_ref().is_some_and(|search| search.suspects(wanted.name()))
}

fn is_rejected(subscription: &Subscription, wanted: &Resource) -> bool {
    let exception = subscription.overlay.get(wanted.name());
    exception.is_some_and(|exception| exception.rejected == Some(wanted.version()))
}

fn leads_to(user: &Resource, of: &ResourceType) -> bool {
    user.references().iter().any(|reference| reference.resource_type == *of)
}
