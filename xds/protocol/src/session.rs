//! One ADS stream, in either dialect: requests, snapshots and time go in, responses and events come out.
//!
//! Invariant: at most one response per type is unanswered; whatever happens meanwhile is merged behind it. Requests come
//! in by [`intake`], responses go out by [`turn`], and [`report`] tells how far that is.

mod answer;
mod apply;
mod delta;
mod gate;
mod heartbeat;
mod intake;
mod overdue;
mod plan;
mod precedent;
mod recollection;
mod report;
mod search;
mod sent;
mod sotw;
mod subscription;
mod turn;
mod view;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub use self::precedent::{Precedent, Precedents};
use self::sent::Phase;
use self::subscription::Subscription;
use crate::{
    ClientFeatures, ClientProfile, Dialect, Event, Interest, Name, ResourceType, SessionConfig, Snapshot,
    Spared,
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
    subscriptions: BTreeMap<ResourceType, Box<Subscription>>,
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

    /// The next event for the driver.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        for sent in self.subscriptions.values_mut().filter_map(|subscription| subscription.sent.as_mut()) {
            if matches!(sent.phase, Phase::Awaiting(deadline) if deadline <= self.now) {
                sent.phase = Phase::Unanswered;
            }
        }
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
