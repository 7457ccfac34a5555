//! What conversations do not show: bounds at their very values, bookkeeping, and the getters that drivers live on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pilotage_protocol::{
    ClientFeatures, ClientProfile, Collection, Contents, Dialect, Interest, Limits, Name, Names, Reference,
    Request, RequestError, Resource, ResourceType, Revision, Session, SessionConfig, Snapshot, Standing,
    Version, Wildcard,
};

const CLUSTER: ResourceType = ResourceType::Cluster;

fn resource(name: &str, content: &str) -> Resource {
    Resource::new(name, content.as_bytes().to_vec())
}

fn subscribe(resource_type: ResourceType, names: &[&str]) -> Request {
    let subscribe = names.iter().map(|&name| name.to_owned()).collect();
    let names = Names::Change { subscribe, unsubscribe: Vec::new(), initial_versions: HashMap::new() };
    Request { resource_type, nonce: String::new(), error: None, names }
}

fn answer(resource_type: ResourceType, nonce: &str) -> Request {
    Request { nonce: nonce.to_owned(), ..subscribe(resource_type, &[]) }
}

fn session(limits: Limits) -> (Session, Instant) {
    let (now, config) = (Instant::now(), SessionConfig { limits, ..SessionConfig::default() });
    (Session::new(Dialect::Delta, ClientProfile::Unknown, config, now), now)
}

#[test]
fn clients_are_told_by_how_they_call_themselves() {
    for (name, profile) in [
        ("envoy", ClientProfile::Envoy),
        ("Envoy-custom", ClientProfile::Envoy),
        ("gRPC Go", ClientProfile::Grpc),
        ("grpc-java", ClientProfile::Grpc),
        ("other", ClientProfile::Unknown),
        ("", ClientProfile::Unknown),
        ("äöü", ClientProfile::Unknown),
    ] {
        assert_eq!(ClientProfile::from_user_agent(name), profile, "{name}");
    }
}

#[test]
fn features_are_those_that_a_client_lists() {
    let (ttl, wrapped) = ("xds.config.supports-resource-ttl", "xds.config.resource-in-sotw");
    for (listed, features) in [
        (vec![ttl], ClientFeatures { ttl: true, wrapped_in_sotw: false }),
        (vec!["something else", wrapped], ClientFeatures { ttl: false, wrapped_in_sotw: true }),
        (vec![wrapped, ttl], ClientFeatures { ttl: true, wrapped_in_sotw: true }),
        (vec![], ClientFeatures::default()),
    ] {
        assert_eq!(ClientFeatures::listed(listed.iter().copied()), features, "{listed:?}");
    }
}

/// However long a history is, the difference to any earlier state is what a comparison of both gives.
#[test]
fn a_long_history_tells_what_changed_and_counts_what_is_there() {
    let mut states = vec![Collection::default(), [resource("0", "first")].into_iter().collect()];
    for step in 0..3000_usize {
        let latest = states.last().expect("a state");
        let upserts = [resource(&(step % 17).to_string(), &"x".repeat(step % 5))];
        let removals = (step % 3 == 0).then(|| Name::from((step % 13).to_string()));
        let next = latest.with_changes(upserts, removals);
        assert_eq!(next.bytes(), next.iter().map(|one| one.body_len()).sum::<usize>());
        if step % 500 == 0 {
            states.push(next);
        } else {
            *states.last_mut().expect("a state") = next;
        }
    }
    let content = |state: &Collection| -> BTreeMap<Name, Resource> {
        state.iter().map(|one| (one.name().clone(), one.clone())).collect()
    };
    for older in &states {
        for newer in &states {
            let (before, after) = (content(older), content(newer));
            let mut expected: Vec<Name> = before.keys().chain(after.keys()).cloned().collect();
            expected.sort_unstable();
            expected.dedup();
            expected.retain(|name| before.get(name) != after.get(name));
            assert_eq!(newer.changed_since(older), expected);
        }
    }
}

#[test]
fn references_are_in_order_whatever_order_they_came_in() {
    let references: Vec<Reference> = ["a", "b", "c"].map(|name| Reference::new(CLUSTER, name)).into();
    for disorder in [[2, 1, 0], [0, 0, 1], [1, 2, 0]] {
        let list = disorder.map(|index| references[index].clone());
        let mut expected = list.to_vec();
        expected.sort_unstable();
        expected.dedup();
        let ordered = resource("r", "").with_references(list);
        assert_eq!(ordered.references(), expected);
        let successor = resource("r", "next").with_references_of(&ordered);
        assert!(std::ptr::eq(successor.references(), ordered.references()), "the list is shared");
    }
}

#[test]
fn a_body_in_pieces_is_what_they_are_together() {
    let pieces = ["one", "", "two"].map(Bytes::from);
    let whole = Resource::versioned("r", Version(1), "onetwo");
    let joint = Resource::in_pieces("r", Version(1), pieces.clone());
    assert_eq!((joint.body(), joint.body_len()), (whole.body(), whole.body_len()));
    assert_eq!((joint.body_pieces(), whole.body_pieces()), (&pieces[..], &[Bytes::from("onetwo")][..]));
}

#[test]
fn an_interest_is_empty_without_names_and_wildcard_and_lives_while_it_is_had() {
    let names = || [Name::from("a")];
    assert!(Interest::default().is_empty());
    assert!(!Interest::new(Wildcard::None, names()).is_empty());
    assert!(!Interest::new(Wildcard::Explicit, []).is_empty());
    let hash =
        |wildcard, names: &[&str]| Interest::new(wildcard, names.iter().map(|&name| name.into())).hash();
    let hashes = [
        hash(Wildcard::None, &["a", "b"]),
        hash(Wildcard::None, &["a"]),
        hash(Wildcard::None, &["ab"]),
        hash(Wildcard::Explicit, &["a", "b"]),
    ];
    assert!((1..hashes.len()).all(|index| !hashes[..index].contains(&hashes[index])), "{hashes:?}");
    assert_eq!(hash(Wildcard::None, &["b", "a"]), hashes[0]);
    let interest = Interest::new(Wildcard::Legacy, names());
    let weak = interest.downgrade();
    assert_eq!(weak.upgrade(), Some(interest.clone()));
    drop(interest);
    assert_eq!(weak.upgrade(), None);
}

#[test]
fn contents_are_counted() {
    let whole = Contents::Whole(Arc::new([resource("a", "")].into_iter().collect()));
    let some = Contents::Some([resource("a", ""), resource("b", "")].into());
    assert_eq!((whole.len(), whole.is_empty(), some.len(), some.is_empty()), (1, false, 2, false));
    assert!(Contents::Some(Arc::default()).is_empty());
    assert!(Contents::Whole(Arc::default()).is_empty() && Collection::default().is_empty());
    assert!(!Collection::from_iter([resource("a", "")]).is_empty());
}

#[test]
fn limits_are_met_and_not_exceeded() {
    let limits = || Limits { types: 2, names_per_type: 3, name_bytes: 8 };
    let (mut session, now) = session(limits());
    session.handle_request(now, subscribe(CLUSTER, &["a", "b", "c"])).expect("as many as may be");
    session.handle_request(now, subscribe(ResourceType::Endpoint, &["12345"])).expect("as long as may be");
    let types = session.handle_request(now, subscribe(ResourceType::Route, &["r"]));
    assert_eq!(types, Err(RequestError::TooManyTypes { limit: 2 }));
    let listed = session.handle_request(now, subscribe(CLUSTER, &["a", "b", "c", "d"]));
    assert_eq!(listed, Err(RequestError::TooManyNames { resource_type: CLUSTER, limit: 3 }));
    let grown = session.handle_request(now, subscribe(CLUSTER, &["d"]));
    assert_eq!(grown, Err(RequestError::TooManyNames { resource_type: CLUSTER, limit: 3 }));
    let (mut session, now) = self::session(limits());
    session.handle_request(now, subscribe(CLUSTER, &["abcd"])).expect("short enough");
    let long = session.handle_request(now, subscribe(ResourceType::Endpoint, &["12345"]));
    assert_eq!(long, Err(RequestError::NamesTooLong { limit: 8 }));
    let wrong = Names::Exactly { names: Vec::new(), version: String::new() };
    let wrong = session.handle_request(now, Request { names: wrong, ..subscribe(CLUSTER, &[]) });
    assert_eq!(wrong, Err(RequestError::WrongDialect(Dialect::Delta)));
}

#[test]
fn holdings_tell_what_was_sent_and_accepted_and_what_waits() {
    let (mut session, now) = session(Limits::default());
    let clusters: Collection = [resource("a", "one"), resource("b", "two")].into_iter().collect();
    let snapshot = Snapshot::new(Revision(1)).with(CLUSTER, Arc::new(clusters.clone()));
    session.handle_snapshot(now, &snapshot);
    session.handle_request(now, subscribe(CLUSTER, &[])).expect("a request");
    assert!(session.holdings().is_empty(), "nothing has been sent");
    let response = session.poll_response().expect("both clusters");
    let standings = |session: &Session| -> Vec<(String, Standing)> {
        let holdings = session.holdings().into_iter();
        holdings.map(|holding| (holding.resource.name().to_string(), holding.standing)).collect()
    };
    assert_eq!(standings(&session), [("a".to_owned(), Standing::Sent), ("b".to_owned(), Standing::Sent)]);
    session.handle_request(now, answer(CLUSTER, &response.nonce.to_string())).expect("an ACK");
    let accepted = [("a".to_owned(), Standing::Accepted), ("b".to_owned(), Standing::Accepted)];
    assert_eq!(standings(&session), accepted);

    // A timer runs for exactly as long as an answer is awaited.
    assert_eq!(session.poll_timeout(), None);
    let changed = clusters.with_changes([resource("a", "three")], []);
    session.handle_snapshot(now, &snapshot.at(Revision(2)).with(CLUSTER, Arc::new(changed)));
    assert!(session.poll_response().is_some());
    let wait = SessionConfig::default().answer_wait;
    assert_eq!(session.poll_timeout(), Some(now + wait));
    session.handle_timeout(now + wait - Duration::from_nanos(1));
    assert_eq!(session.poll_timeout(), Some(now + wait));
    session.handle_timeout(now + wait);
    assert_eq!(session.poll_timeout(), None);
}

/// The names of the request before stand, and before the first request there are none, which is the wildcard.
#[test]
fn repeated_names_are_those_of_the_request_before() {
    let now = Instant::now();
    let mut session = Session::new(Dialect::Sotw, ClientProfile::Envoy, SessionConfig::default(), now);
    let snapshot = |revision, content: &str| {
        let clusters: Collection = [resource("a", content), resource("b", content)].into_iter().collect();
        Snapshot::new(Revision(revision)).with(CLUSTER, Arc::new(clusters))
    };
    let say = |session: &mut Session, nonce: String, names: Names| {
        let request = Request { resource_type: CLUSTER, nonce, error: None, names };
        session.handle_request(now, request).expect("a request");
    };
    let repeated = |version: &str| Names::Repeated { version: version.to_owned() };
    let exactly = |names: &[&str]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        Names::Exactly { names, version: String::new() }
    };
    session.handle_snapshot(now, &snapshot(1, "one"));
    say(&mut session, String::new(), repeated(""));
    let all = session.poll_response().expect("everything");
    assert_eq!(all.resources.len(), 2);
    say(&mut session, all.nonce.to_string(), exactly(&["a"]));
    session.handle_snapshot(now, &snapshot(2, "two"));
    let one = session.poll_response().expect("what is named");
    assert_eq!(one.resources.len(), 1);
    say(&mut session, one.nonce.to_string(), repeated(&one.version.to_string()));
    session.handle_snapshot(now, &snapshot(3, "three"));
    assert_eq!(session.poll_response().expect("what is named").resources.len(), 1);

    // As a first request it may say which version the client has.
    let mut session = Session::new(Dialect::Sotw, ClientProfile::Envoy, SessionConfig::default(), now);
    session.handle_snapshot(now, &snapshot(1, "one"));
    say(&mut session, String::new(), repeated(&all.version.to_string()));
    assert!(session.poll_response().is_none(), "the client has it");
}

#[test]
fn an_equal_interest_is_shared_and_another_is_not() {
    let (mut session, now) = session(Limits::default());
    session.handle_request(now, subscribe(CLUSTER, &["a"])).expect("a request");
    let equal = Interest::new(Wildcard::None, [Name::from("a")]);
    session.share_interest(&CLUSTER, |_| Some(Interest::new(Wildcard::None, [Name::from("b")])));
    assert_eq!(session.interest(&CLUSTER), Some(&equal));
    session.share_interest(&CLUSTER, |_| Some(equal.clone()));
    let ours = session.interest(&CLUSTER).expect("an interest");
    assert!(std::ptr::eq(ours.named(), equal.named()), "the same list");
}
