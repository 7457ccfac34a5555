//! What does not depend on the dialect: refusals, limits, the end of streams, shutdown.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use pilotage_protos::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node,
};
use pilotage_server::protocol::{Limits, Request, ResourceType, Response, Revision, SessionConfig};
use pilotage_server::{AdsConfig, Demand, Event, Observer, Outcome, StreamId, StreamStatus};
use tonic::Code;

use crate::client::{Server, bodies, change, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;

fn first(node: Option<Node>, type_url: &str) -> DiscoveryRequest {
    DiscoveryRequest { node, type_url: type_url.to_owned(), ..DiscoveryRequest::default() }
}

#[tokio::test]
async fn a_stream_needs_a_node_with_an_id_and_a_type() {
    let server = Server::start().await;
    for (node, type_url) in
        [(None, CLUSTER.type_url()), (node("", "g"), CLUSTER.type_url()), (node("n", "g"), "")]
    {
        let mut talk = server.sotw().await;
        talk.say(first(node, type_url));
        let status = talk.hear().await.expect_err("a refusal");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    assert!(server.ads.streams().is_empty());
}

#[tokio::test]
async fn the_node_id_may_not_change_and_its_metadata_may() {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), CLUSTER.type_url()));
    assert_eq!(bodies(&talk.response().await.resources), ["one"]);
    let renamed = node("n", "g").map(|node| Node { user_agent_name: "other".to_owned(), ..node });
    talk.say(first(renamed, ResourceType::Listener.type_url()));
    assert_eq!(talk.response().await.type_url, ResourceType::Listener.type_url());
    talk.say(first(node("other", "g"), CLUSTER.type_url()));
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn limits_end_the_stream_that_exceeds_them_and_no_other() {
    let limits = Limits { types: 1, names_per_type: 2, name_bytes: 100 };
    let session = SessionConfig { limits, ..SessionConfig::default() };
    let config = AdsConfig { session, max_node_bytes: 1000, ..AdsConfig::default() };
    let server = Server::start_with(config).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let mut well_behaved = server.sotw().await;
    well_behaved.say(first(node("n", "g"), CLUSTER.type_url()));
    let response = well_behaved.response().await;
    well_behaved.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });

    let mut talk = server.sotw().await;
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    talk.say(DiscoveryRequest { resource_names: names, ..first(node("n", "g"), CLUSTER.type_url()) });
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::ResourceExhausted);

    let mut talk = server.sotw().await;
    let names = vec!["a".repeat(101)];
    talk.say(DiscoveryRequest { resource_names: names, ..first(node("n", "g"), CLUSTER.type_url()) });
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::ResourceExhausted);

    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), "type.googleapis.com/some.Type"));
    talk.say(first(None, "type.googleapis.com/other.Type"));
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::InvalidArgument);
    assert_eq!(server.ads.unknown_type_requests(), 1);

    let mut talk = server.sotw().await;
    talk.say(first(node(&"n".repeat(1000), "g"), CLUSTER.type_url()));
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::ResourceExhausted);

    assert_eq!(server.ads.streams().len(), 1);
    server.cache.publish(&"g".to_owned(), snapshot(2, CLUSTER, &[("a", "two")]));
    assert_eq!(bodies(&well_behaved.response().await.resources), ["two"]);
}

#[tokio::test]
async fn the_last_stream_of_a_group_leaves_a_demand_and_no_trace() {
    let mut server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", "one")]));
    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), CLUSTER.type_url()));
    talk.response().await;
    assert!(!server.cache.evict(&group), "a group with a stream is not evicted");
    talk.hang_up();
    assert!(talk.hear().await.expect("a regular end").is_none());
    loop {
        if let Event::Demand(Demand::Idle { group: idle }) = soon(server.events.next()).await {
            assert_eq!(idle, group);
            break;
        }
    }
    assert!(server.ads.streams().is_empty());
    assert!(server.cache.evict(&group));
    assert!(server.cache.get(&group).is_none());
}

#[tokio::test]
async fn shutdown_ends_streams_and_connections() {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let mut sotw = server.sotw().await;
    sotw.say(first(node("n", "g"), CLUSTER.type_url()));
    sotw.response().await;
    let mut delta =
        server.talk::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>("DeltaAggregatedResources").await;
    // A stream on which nothing was said yet has to end as well.
    server.shutdown.cancel();
    assert_eq!(sotw.hear().await.expect_err("an end with trailers").code(), Code::Unavailable);
    assert!(delta.hear().await.is_err());
    let cut = soon(server.task).await.expect("a task that does not panic");
    assert_eq!(cut, 0, "every connection finished within the deadline");
}

#[tokio::test]
async fn every_stream_of_a_group_is_reached() {
    let server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", "1")]));
    let mut talks = Vec::new();
    for index in 0..20 {
        let mut talk = server.sotw().await;
        talk.say(first(node(&format!("n{index}"), "g"), CLUSTER.type_url()));
        let response = talk.response().await;
        talk.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
        talks.push(talk);
    }
    soon(server.ads.streams().reached(Revision(1))).await;
    server.cache.publish(&group, snapshot(2, CLUSTER, &[("a", "2")]));
    for talk in &mut talks {
        let response = talk.response().await;
        assert_eq!(bodies(&response.resources), ["2"]);
        talk.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
    }
    soon(server.ads.streams().reached(Revision(2))).await;
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let server = Server::start().await;
    let mut talk = server.talk::<DiscoveryRequest, DiscoveryRequest>("NoSuchMethod").await;
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::Unimplemented);
}

/// Waits until no stream of the group is open.
async fn deserted(server: &mut Server) {
    loop {
        if let Event::Demand(Demand::Idle { .. }) = soon(server.events.next()).await {
            return;
        }
    }
}

#[tokio::test]
async fn the_node_is_remembered_for_all_types() {
    let server = Server::start().await;
    let state = snapshot(1, CLUSTER, &[("a", "one")]);
    server.cache.publish(&"g".to_owned(), change(&state, 1, ResourceType::Listener, &[("l", "two")]));
    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), CLUSTER.type_url()));
    assert_eq!(bodies(&talk.response().await.resources), ["one"]);
    talk.say(first(None, ResourceType::Listener.type_url()));
    assert_eq!(bodies(&talk.response().await.resources), ["two"]);
}

/// A request with fields that this server does not know: resource locators and something from the future.
#[derive(Clone, PartialEq, prost::Message)]
struct FutureRequest {
    #[prost(message, optional, tag = "2")]
    node: Option<Node>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(bytes = "vec", repeated, tag = "7")]
    resource_locators: Vec<Vec<u8>>,
    #[prost(uint64, tag = "1999")]
    future: u64,
}

#[tokio::test]
async fn unknown_fields_of_a_request_are_skipped() {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let mut talk = server.talk::<FutureRequest, DiscoveryResponse>("StreamAggregatedResources").await;
    talk.say(FutureRequest {
        node: node("n", "g"),
        type_url: CLUSTER.type_url().to_owned(),
        resource_locators: vec![vec![0xff; 10]],
        future: 7,
    });
    assert_eq!(bodies(&talk.response().await.resources), ["one"]);
}

#[tokio::test]
async fn many_names_are_served_and_too_many_are_refused() {
    let server = Server::start().await;
    let endpoint = ResourceType::Endpoint.type_url();
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, ResourceType::Endpoint, &[("99999", "last")]));
    let names: Vec<String> = (0..100_000).map(|number| format!("{number:05}")).collect();
    let mut talk = server.sotw().await;
    talk.say(DiscoveryRequest { resource_names: names.clone(), ..first(node("n", "g"), endpoint) });
    assert_eq!(bodies(&talk.response().await.resources), ["last"]);
    let mut refused = server.sotw().await;
    let too_many = (0..200_001).map(|number| number.to_string()).collect();
    refused.say(DiscoveryRequest { resource_names: too_many, ..first(node("n", "g"), endpoint) });
    assert_eq!(refused.hear().await.expect_err("a refusal").code(), Code::ResourceExhausted);

    // A client that lists 100 000 versions is told what is gone, and nothing more.
    let held: HashMap<String, String> = names.into_iter().map(|name| (name, "0".repeat(16))).collect();
    server.cache.publish(&group, snapshot(2, CLUSTER, &[("a", "one")]));
    let mut talk = server.delta().await;
    talk.say(DeltaDiscoveryRequest {
        node: node("n", "g"),
        type_url: CLUSTER.type_url().to_owned(),
        initial_resource_versions: held,
        ..DeltaDiscoveryRequest::default()
    });
    let mut removed = 0;
    while removed < 100_000 {
        let response = talk.response().await;
        removed += response.removed_resources.len();
        talk.say(DeltaDiscoveryRequest {
            type_url: CLUSTER.type_url().to_owned(),
            response_nonce: response.nonce,
            ..DeltaDiscoveryRequest::default()
        });
    }
    assert_eq!(removed, 100_000);
}

#[tokio::test]
async fn a_stream_that_is_reset_leaves_no_trace() {
    let mut server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", &"x".repeat(1 << 20))]));
    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), CLUSTER.type_url()));
    talk.response().await;
    server.cache.publish(&group, snapshot(2, CLUSTER, &[("a", &"y".repeat(1 << 20))]));
    drop(talk);
    deserted(&mut server).await;
    assert!(server.ads.streams().is_empty());
    assert!(server.cache.evict(&group));
}

#[tokio::test]
async fn an_old_and_a_new_stream_of_one_node_are_both_served() {
    let server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", "one")]));
    let mut old = server.sotw().await;
    let mut new = server.sotw().await;
    for talk in [&mut old, &mut new] {
        talk.say(first(node("n", "g"), CLUSTER.type_url()));
        let response = talk.response().await;
        talk.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
    }
    assert_eq!(server.ads.streams().len(), 2);
    old.hang_up();
    assert!(old.hear().await.expect("a regular end").is_none());
    server.cache.publish(&group, snapshot(2, CLUSTER, &[("a", "two")]));
    let response = new.response().await;
    assert_eq!(bodies(&response.resources), ["two"]);
    new.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
    soon(server.ads.streams().reached(Revision(2))).await;
    assert_eq!(server.ads.streams().list()[0].types[&CLUSTER].acked.expect("an ACK").revision, Revision(2));
}

#[tokio::test]
async fn garbage_ends_its_own_stream_only() {
    let server = Server::start().await;
    let group = "g".to_owned();
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", "one")]));
    let mut well_behaved = server.sotw().await;
    well_behaved.say(first(node("n", "g"), CLUSTER.type_url()));
    let response = well_behaved.response().await;
    well_behaved.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
    // As a discovery request, this is a version that is no text.
    let mut garbage = server.talk::<Vec<u8>, DiscoveryResponse>("StreamAggregatedResources").await;
    garbage.say(vec![0xff, 0xfe]);
    assert_eq!(garbage.hear().await.expect_err("a refusal").code(), Code::InvalidArgument);
    server.cache.publish(&group, snapshot(2, CLUSTER, &[("a", "two")]));
    assert_eq!(bodies(&well_behaved.response().await.resources), ["two"]);
}

#[tokio::test]
async fn a_stream_that_moves_keeps_its_names_until_the_new_group_has_them() {
    let moves = Arc::new(AtomicBool::new(false));
    let has_moved = moves.clone();
    let assign = move |_: &Node| {
        let group = if has_moved.load(Ordering::SeqCst) { "new" } else { "old" };
        group.to_owned()
    };
    let mut server = Server::start_where(assign).await;
    let first_state = snapshot(1, ResourceType::Endpoint, &[("a", "one"), ("b", "two")]);
    server.cache.publish(&"old".to_owned(), first_state);
    // The new group is there already, and does not hold what this client needs.
    let other = snapshot(2, ResourceType::Endpoint, &[("other", "x")]);
    server.cache.publish(&"new".to_owned(), other.clone());

    let mut talk = server.delta().await;
    let type_url = ResourceType::Endpoint.type_url().to_owned();
    talk.say(DeltaDiscoveryRequest {
        node: node("n", "g"),
        type_url: type_url.clone(),
        resource_names_subscribe: vec!["a".to_owned(), "b".to_owned()],
        ..DeltaDiscoveryRequest::default()
    });
    let response_nonce = talk.response().await.nonce;
    talk.say(DeltaDiscoveryRequest { type_url, response_nonce, ..DeltaDiscoveryRequest::default() });
    soon(server.ads.streams().reached(Revision(1))).await;

    moves.store(true, Ordering::SeqCst);
    server.ads.streams().regroup();
    let demanded = loop {
        if let Event::Demand(Demand::Names { group, names, .. }) = soon(server.events.next()).await {
            assert_eq!(group, "new");
            break names;
        }
    };
    assert_eq!(demanded.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b"]);
    // A publication without them changes nothing for the client; the one with them is all it hears.
    let state = change(&other, 3, ResourceType::Endpoint, &[("other", "y")]);
    server.cache.publish(&"new".to_owned(), state.clone());
    let state = change(&state, 4, ResourceType::Endpoint, &[("a", "one"), ("b", "new")]);
    server.cache.publish(&"new".to_owned(), state);
    let response = talk.response().await;
    assert!(response.removed_resources.is_empty(), "{:?}", response.removed_resources);
    assert_eq!(response.resources.len(), 1);
    assert_eq!(response.resources[0].name, "b");
}

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    fn note(&self, line: String) {
        self.0.lock().expect("nobody panics here").push(line);
    }
}

impl Observer<String> for Diary {
    fn opened(&self, stream: &StreamStatus<String>) {
        self.note(format!("opened {}", stream.node.id));
    }

    fn requested(&self, _: StreamId, request: &Request) {
        self.note(format!("requested {}", request.resource_type));
    }

    fn responded(&self, _: StreamId, response: &Response) {
        self.note(format!("responded {}", response.resources.len()));
    }

    fn answered(&self, outcome: &Outcome<String>) {
        self.note(format!("answered {}", outcome.revision));
    }

    fn closed(&self, _: StreamId) {
        self.note("closed".to_owned());
    }
}

#[tokio::test]
async fn an_observer_is_told_everything_in_order() {
    let diary = Diary::default();
    let mut server = Server::start_observed(diary.clone()).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let mut talk = server.sotw().await;
    talk.say(first(node("n", "g"), CLUSTER.type_url()));
    let response = talk.response().await;
    talk.say(DiscoveryRequest { response_nonce: response.nonce, ..first(None, CLUSTER.type_url()) });
    soon(server.ads.streams().reached(Revision(1))).await;
    talk.hang_up();
    deserted(&mut server).await;
    let lines = diary.0.lock().expect("nobody panics here").clone();
    let expected =
        ["opened n", "requested Cluster", "responded 1", "requested Cluster", "answered 1", "closed"];
    assert_eq!(lines, expected);
}
