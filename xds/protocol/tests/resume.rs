//! A delta client that comes back with all that it asks for is taken in without a look at any name, and in every other
//! case it is not: then the request has to be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_protocol::{
    ClientProfile, Collection, Dialect, Interest, Inventory, Limits, Name, Names, Request, Resource,
    ResourceType, Revision, Session, SessionConfig, Snapshot, Spared, Wildcard,
};

const CLUSTER: ResourceType = ResourceType::Cluster;
const ENDPOINT: ResourceType = ResourceType::Endpoint;
const NAMES: [&str; 3] = ["a", "b", "c"];

struct Case {
    dialect: Dialect,
    profile: ClientProfile,
    limits: Limits,
    /// Names asked for of another type before.
    others: &'static [&'static str],
    spared: Spared,
    resource_type: ResourceType,
    named: &'static [&'static str],
    held: &'static [&'static str],
    content: &'static str,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            dialect: Dialect::Delta,
            profile: ClientProfile::Envoy,
            // As much as the case needs.
            limits: Limits { types: 2, names_per_type: 3, name_bytes: 5 },
            others: &["12"],
            spared: Spared::default(),
            resource_type: ENDPOINT,
            named: &NAMES,
            held: &NAMES,
            content: "content",
        }
    }
}

impl Case {
    fn session(&self, now: Instant) -> Session {
        let config = SessionConfig { limits: self.limits.clone(), ..SessionConfig::default() };
        let mut session = Session::new(self.dialect, self.profile, config, now);
        let collection: Arc<Collection> =
            Arc::new(NAMES.map(|name| Resource::new(name, "content")).into_iter().collect());
        let snapshot =
            Snapshot::new(Revision(1)).with(CLUSTER, collection.clone()).with(ENDPOINT, collection);
        session.handle_snapshot(now, &snapshot);
        session.handle_spared(now, Arc::new(self.spared.clone()));
        if !self.others.is_empty() {
            let names: Vec<String> = self.others.iter().map(|&name| name.to_owned()).collect();
            let names = match self.dialect {
                Dialect::Sotw => Names::Exactly { names, version: String::new() },
                Dialect::Delta => Names::Change {
                    subscribe: names,
                    unsubscribe: Vec::new(),
                    initial_versions: HashMap::new(),
                },
            };
            let (resource_type, nonce) = (ResourceType::Route, String::new());
            let request = Request { resource_type, nonce, error: None, names };
            session.handle_request(now, request).expect("a request within the limits");
        }
        session
    }

    fn resume(&self, session: &mut Session, now: Instant) -> bool {
        let named = Interest::new(Wildcard::None, self.named.iter().map(|&name| Name::from(name)));
        let mut held = Inventory::default();
        for name in self.held {
            held.add(name, Resource::new(*name, self.content).version().to_string());
        }
        session.resume(now, &self.resource_type, named, &held)
    }

    fn is_resumed(&self) -> bool {
        let now = Instant::now();
        self.resume(&mut self.session(now), now)
    }
}

#[test]
fn a_client_that_has_everything_is_resumed() {
    assert!(Case::default().is_resumed());
    let wildcard = Case { resource_type: CLUSTER, named: &[], ..Case::default() };
    assert!(wildcard.is_resumed());
    let now = Instant::now();
    let mut session = wildcard.session(now);
    assert!(wildcard.resume(&mut session, now));
    assert!(session.interest(&CLUSTER).expect("a subscription").is_wildcard());
    assert!(!wildcard.resume(&mut session, now), "a type has one first request");
}

#[test]
fn every_other_client_is_not() {
    let limits = |types, names_per_type, name_bytes| Limits { types, names_per_type, name_bytes };
    let usual = Case::default;
    let spared = Spared::default().with(ENDPOINT, &Resource::new("z", "bad"));
    for (case, why) in [
        (Case { dialect: Dialect::Sotw, ..usual() }, "no list of versions in SotW"),
        (Case { limits: limits(1, 3, 5), ..usual() }, "too many types"),
        (Case { limits: limits(2, 2, 5), ..usual() }, "too many names"),
        (Case { limits: limits(2, 3, 4), ..usual() }, "too long names"),
        (Case { spared, ..usual() }, "something is spared"),
        (Case { held: &[], ..usual() }, "nothing is held"),
        (Case { held: &["a", "b"], ..usual() }, "something is lacking"),
        (Case { named: &["a", "b"], ..usual() }, "something is too much"),
        (Case { content: "other", ..usual() }, "something else is held"),
        (Case { resource_type: ResourceType::Listener, ..usual() }, "there is no such collection"),
        (Case { named: &[], ..usual() }, "no wildcard of this type"),
        (
            Case { named: &[], resource_type: CLUSTER, profile: ClientProfile::Grpc, ..usual() },
            "no wildcard of this client",
        ),
    ] {
        assert!(!case.is_resumed(), "{why}");
    }
}

/// What it held beside may still lead to a cluster that goes next, for as long as after any other return.
#[test]
fn a_resumed_client_keeps_for_a_while_what_it_may_use() {
    let case = Case { resource_type: CLUSTER, named: &[], others: &[], ..Case::default() };
    let now = Instant::now();
    let mut session = case.session(now);
    assert!(case.resume(&mut session, now));
    let clusters: Collection = ["a", "b"].map(|name| Resource::new(name, "content")).into_iter().collect();
    session.handle_snapshot(now, &Snapshot::new(Revision(2)).with(CLUSTER, Arc::new(clusters)));
    assert!(session.poll_response().is_none(), "it goes at once");
    let wait = SessionConfig::default().reference_wait;
    assert_eq!(session.poll_timeout(), Some(now + wait));
    session.handle_timeout(now + wait - Duration::from_nanos(1));
    assert!(session.poll_response().is_none(), "it goes too early");
    session.handle_timeout(now + wait);
    let response = session.poll_response().expect("a removal");
    assert_eq!(response.removed.iter().map(AsRef::as_ref).collect::<Vec<&str>>(), ["c"]);
}
