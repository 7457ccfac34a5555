//! One ADS stream, in either dialect: requests, snapshots and time go in, responses and events come out.
//!
//! Invariant: at most one response per type is unanswered; whatever happens meanwhile is merged behind it. The rules
//! of a request are in [`sotw`] and [`delta`], those of an answer in [`answer`], those of a response in [`plan`] and
//! [`gate`].

mod answer;
mod apply;
mod delta;
mod gate;
mod heartbeat;
mod overdue;
mod plan;
mod precedent;
mod recollection;
mod search;
mod sent;
mod sotw;
mod subscription;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

pub use self::precedent::{Precedent, Precedents};
use self::sent::Phase;
use self::sotw::LegacyWildcard;
use self::subscription::{Added, Claim, Subscription};
use self::view::View;
use crate::name::normalised;
use crate::response::{Lifetimes, Nonce};
use crate::{
    ClientFeatures, ClientProfile, Dialect, Event, Holding, Interest, Inventory, Name, Names, Request,
    RequestError, ResourceType, Response, Revision, SessionConfig, Snapshot, Spared, Wildcard,
};

/// The state machine of one stream.
///
/// Its methods are of four kinds. `handle_*` take in what happened: a request, a snapshot, the passing of time.
/// `poll_*` hand out what follows from it; after every input, call [`Session::poll_response`] and
/// [`Session::poll_event`] until they return `None`, and then ask [`Session::poll_timeout`] when to come back. The
/// rest are getters. Responses may be left unpolled while the transport is busy: newer state then replaces older.
///
/// Before the first snapshot nothing is answered (R40).
pub struct Session {
    dialect: Dialect,
    profile: ClientProfile,
    features: ClientFeatures,
    config: SessionConfig,
    now: Instant,
    snapshot: Option<Snapshot>,
    spared: Arc<Spared>,
    subscriptions: BTreeMap<ResourceType, Subscription>,
    events: VecDeque<Event>,
    last_nonce: u64,
}

impl Session {
    /// A stream on which nothing has been said.
    pub fn new(dialect: Dialect, profile: ClientProfile, config: SessionConfig, now: Instant) -> Self {
        Self {
            dialect,
            profile,
            features: ClientFeatures::default(),
            config,
            now,
            snapshot: None,
            spared: Arc::default(),
            subscriptions: BTreeMap::new(),
            events: VecDeque::new(),
            last_nonce: 0,
        }
    }

    /// The same stream with a client that has these features.
    #[must_use]
    pub fn with_features(self, features: ClientFeatures) -> Self {
        Self { features, ..self }
    }

    /// Takes in a request.
    ///
    /// # Errors
    ///
    /// When the client asks for more than the [`crate::Limits`] allow, or in the wrong dialect; the stream should be
    /// closed.
    pub fn handle_request(&mut self, now: Instant, request: Request) -> Result<(), RequestError> {
        self.advance(now);
        let Request { resource_type, nonce, error, names } = request;
        self.check(&resource_type, &names)?;
        if self.is_outdated(&resource_type, &nonce) {
            // It says nothing that the answer to the newer response will not repeat.
            return Ok(());
        }
        if let Some(subscription) = self.subscriptions.get_mut(&resource_type)
            && overdue::is_of(subscription, &nonce)
        {
            self.events.extend(overdue::hear(subscription, &resource_type, error.clone()));
            if self.dialect == Dialect::Sotw {
                // Of the names, the answer to the newer response will tell.
                return Ok(());
            }
        }
        let is_first = !self.subscriptions.contains_key(&resource_type);
        let legacy = if resource_type.has_legacy_wildcard() && self.profile.has_legacy_wildcard() {
            LegacyWildcard::Allowed
        } else {
            LegacyWildcard::Denied
        };
        let subscription = self.subscriptions.entry(resource_type.clone()).or_default();
        let latest = subscription.sent.as_ref();
        let is_current = latest.is_some_and(|sent| sent.nonce.is(&nonce));
        if is_current {
            match error {
                Some(rejection) => {
                    let event = answer::reject(subscription, &resource_type, self.dialect, rejection);
                    self.events.extend(event);
                }
                None if is_acceptance(subscription, &names, self.dialect) => {
                    self.events.extend(answer::accept(subscription, &resource_type));
                }
                None => {}
            }
        }

        let collection = self.snapshot.as_ref().and_then(|snapshot| snapshot.collection(&resource_type));
        let intern = |name: &str| {
            let name = normalised(name);
            match collection.and_then(|collection| collection.get(&name)) {
                Some(resource) => resource.name().clone(),
                None => Name::from(name.as_ref()),
            }
        };
        let unknown_until = self.now + self.config.reference_wait;
        let added = match (names, self.dialect) {
            (Names::Change { subscribe, unsubscribe, initial_versions }, _) => {
                let legacy = if is_first { legacy } else { LegacyWildcard::Denied };
                let added = delta::apply(subscription, (&subscribe, &unsubscribe), legacy, intern);
                if is_first {
                    subscription.claim = delta::claim(initial_versions);
                    let is_returning = !matches!(subscription.claim, Claim::Nothing);
                    subscription.unknown_until = is_returning.then_some(unknown_until);
                    // A client that lists what it holds is not waiting to be initialised.
                    subscription.answer_due &= matches!(subscription.claim, Claim::Nothing);
                }
                added
            }
            (Names::Shared { interest, .. }, Dialect::Delta) => delta::add(subscription, interest),
            (Names::Repeated { .. }, _) if !is_first => Added::nothing(),
            (names, _) => {
                let (added, version) = match names {
                    Names::Exactly { names, version } => {
                        (sotw::apply(subscription, &names, legacy, intern), version)
                    }
                    Names::Shared { interest, version } => (sotw::replace(subscription, interest), version),
                    Names::Repeated { version } => (sotw::apply(subscription, &[], legacy, intern), version),
                    Names::Change { .. } => return Err(RequestError::WrongDialect(self.dialect)),
                };
                if is_first {
                    subscription.is_returning = !version.is_empty();
                    subscription.unknown_until = subscription.is_returning.then_some(unknown_until);
                    subscription.claim = sotw::claim(subscription, version);
                }
                let is_full = resource_type.is_full_state_in_sotw();
                subscription.answer_due |= is_full && !added.is_empty();
                added
            }
        };
        if !added.is_empty() {
            self.check_size(&resource_type)?;
        }
        let all = self.interest(&resource_type).cloned().unwrap_or_default();
        self.report_missing(&resource_type, added.names(&all), is_first);
        Ok(())
    }

    /// Takes in the first delta request of a type, if it lists as held just what it asks for: then there is nothing to
    /// say, and no name needs a look. Otherwise returns `false` and takes in nothing; see [`Session::handle_request`].
    ///
    /// `named` are the names asked for: none where the request names nothing.
    pub fn resume(
        &mut self,
        now: Instant,
        resource_type: &ResourceType,
        named: Interest,
        held: &Inventory,
    ) -> bool {
        self.advance(now);
        let limits = &self.config.limits;
        let collection = self.snapshot.as_ref().and_then(|snapshot| snapshot.collection(resource_type));
        let may_be_wild = resource_type.has_legacy_wildcard() && self.profile.has_legacy_wildcard();
        let (Some(collection), false) = (collection, named.is_empty() && !may_be_wild) else {
            return false;
        };
        let bytes = self.subscriptions.values().map(|one| one.interest.name_bytes()).sum::<usize>();
        let interest = if named.is_empty() { Interest::new(Wildcard::Legacy, []) } else { named };
        if self.dialect != Dialect::Delta
            || self.subscriptions.contains_key(resource_type)
            || self.subscriptions.len() >= limits.types
            || interest.named().len() > limits.names_per_type
            || bytes + interest.name_bytes() > limits.name_bytes
            || held.is_empty()
            || !self.spared.is_empty_of(resource_type)
            || !held.is_all_of(collection, &interest)
        {
            return false;
        }
        let subscription = Subscription {
            interest,
            base: Some(collection.clone()),
            told: held.hash(),
            // What else it holds may still refer to what is taken away next.
            unknown_until: Some(self.now + self.config.reference_wait),
            ..Subscription::default()
        };
        self.subscriptions.insert(resource_type.clone(), subscription);
        true
    }

    /// Takes in the state that the client should be brought to; any snapshot may follow any other.
    pub fn handle_snapshot(&mut self, now: Instant, snapshot: &Snapshot) {
        self.advance(now);
        if self.snapshot.replace(snapshot.clone()).is_some() {
            return;
        }
        // What was asked for before there was anything to compare it with.
        let asked: Vec<(ResourceType, Interest)> = self
            .subscriptions
            .iter()
            .map(|(resource_type, subscription)| (resource_type.clone(), subscription.interest.clone()))
            .collect();
        let unknown_until = self.now + self.config.reference_wait;
        for subscription in self.subscriptions.values_mut() {
            subscription.unknown_until = subscription.unknown_until.map(|_| unknown_until);
        }
        for (resource_type, interest) in asked {
            self.report_missing(&resource_type, interest.named(), true);
        }
    }

    /// Takes in what the client is spared: it keeps what it has under these names, as if it had rejected the content
    /// itself, unless it was sent it before or may hold something unknown.
    pub fn handle_spared(&mut self, now: Instant, spared: Arc<Spared>) {
        self.advance(now);
        self.spared = spared;
    }

    /// Takes in the passing of time.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

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
        while let Some((resource_type, _)) = self.subscriptions.range((from, Bound::Unbounded)).next() {
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
        None
    }

    /// The next event for the driver.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`Session::handle_timeout`] should be called, if nothing else happens before; always later than the time
    /// that the session has seen.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = self.subscriptions.values().flat_map(|subscription| {
            let awaiting = match subscription.sent.as_ref().map(|sent| sent.phase) {
                Some(Phase::Awaiting(deadline)) => Some(deadline),
                _ => None,
            };
            // While an answer is awaited nothing else can be sent, so only that wait counts.
            let waiting = subscription.overlay.values().filter_map(|exception| exception.deadline);
            let waiting = waiting.chain(subscription.heartbeat_at);
            awaiting.into_iter().chain(waiting.filter(move |_| awaiting.is_none()))
        });
        // A time that has passed was acted upon when it did, or there was nothing to do.
        deadlines.filter(|deadline| *deadline > self.now).min()
    }

    /// The revision that the client has in full: it has answered everything that follows from it, and what it does
    /// not have it has rejected, or depends on that. `None` while anything is unanswered or held back, and before the first snapshot.
    pub fn settled(&self) -> Option<Revision> {
        let snapshot = self.snapshot.as_ref()?;
        let is_settled = |(resource_type, subscription): (&ResourceType, &Subscription)| {
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
        self.subscriptions.iter().all(is_settled).then(|| snapshot.revision())
    }

    /// Replaces the interest in a type by an equal one that `share` finds elsewhere, so that many streams need only
    /// one; worth a call after a request.
    pub fn share_interest(
        &mut self,
        resource_type: &ResourceType,
        share: impl FnOnce(&Interest) -> Option<Interest>,
    ) {
        if let Some(subscription) = self.subscriptions.get_mut(resource_type)
            && let Some(shared) =
                share(&subscription.interest).filter(|shared| *shared == subscription.interest)
        {
            subscription.interest = shared;
        }
    }

    /// Whether a request with this nonce would go unheard: in SotW, one that answers an earlier response (R17).
    pub fn is_outdated(&self, resource_type: &ResourceType, nonce: &str) -> bool {
        let is_other = |subscription: &Subscription| {
            subscription.sent.as_ref().is_some_and(|latest| !latest.nonce.is(nonce))
                && !overdue::is_of(subscription, nonce)
        };
        self.dialect == Dialect::Sotw
            && !nonce.is_empty()
            && self.subscriptions.get(resource_type).is_some_and(is_other)
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

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for sent in self.subscriptions.values_mut().filter_map(|subscription| subscription.sent.as_mut()) {
            if matches!(sent.phase, Phase::Awaiting(deadline) if deadline <= self.now) {
                sent.phase = Phase::Unanswered;
            }
        }
    }

    /// Refuses a request before it is applied.
    fn check(&self, resource_type: &ResourceType, names: &Names) -> Result<(), RequestError> {
        let limits = &self.config.limits;
        let listed = match (self.dialect, names) {
            (Dialect::Sotw, Names::Exactly { names, .. }) => names.len(),
            (Dialect::Sotw, Names::Repeated { .. }) => 0,
            (_, Names::Shared { interest, .. }) => interest.named().len(),
            (Dialect::Delta, Names::Change { subscribe, unsubscribe, initial_versions }) => {
                subscribe.len().max(unsubscribe.len()).max(initial_versions.len())
            }
            _ => return Err(RequestError::WrongDialect(self.dialect)),
        };
        if !self.subscriptions.contains_key(resource_type) && self.subscriptions.len() >= limits.types {
            return Err(RequestError::TooManyTypes { limit: limits.types });
        }
        if listed > limits.names_per_type {
            let (resource_type, limit) = (resource_type.clone(), limits.names_per_type);
            return Err(RequestError::TooManyNames { resource_type, limit });
        }
        Ok(())
    }

    /// Refuses subscriptions that have grown too large.
    fn check_size(&self, resource_type: &ResourceType) -> Result<(), RequestError> {
        let limits = &self.config.limits;
        let interest = self.interest(resource_type);
        if interest.is_some_and(|interest| interest.named().len() > limits.names_per_type) {
            let (resource_type, limit) = (resource_type.clone(), limits.names_per_type);
            return Err(RequestError::TooManyNames { resource_type, limit });
        }
        let interests = self.subscriptions.values().map(|subscription| &subscription.interest);
        if interests.map(Interest::name_bytes).sum::<usize>() > limits.name_bytes {
            return Err(RequestError::NamesTooLong { limit: limits.name_bytes });
        }
        Ok(())
    }

    fn report_missing(&mut self, resource_type: &ResourceType, names: &[Name], is_first: bool) {
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        let collection = snapshot.collection(resource_type);
        if collection.is_none() && matches!(resource_type, ResourceType::Other(_)) {
            if is_first {
                self.events.push_back(Event::UnknownType(resource_type.clone()));
            }
            return;
        }
        let names = collection.map_or_else(|| names.to_vec(), |collection| collection.missing(names));
        if !names.is_empty() {
            self.events.push_back(Event::Missing { resource_type: resource_type.clone(), names });
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

/// Whether a request that quotes the latest response without an error accepts it. After a rejection it may be a mere
/// change of the subscription, which in SotW still quotes the version from before (H16).
fn is_acceptance(subscription: &Subscription, names: &Names, dialect: Dialect) -> bool {
    match (&subscription.sent, names) {
        (
            Some(sent),
            Names::Exactly { version, .. } | Names::Repeated { version } | Names::Shared { version, .. },
        ) if sent.phase == Phase::Nacked && dialect == Dialect::Sotw => *version == sent.version.to_string(),
        _ => true,
    }
}
