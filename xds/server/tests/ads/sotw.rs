//! SotW over a socket.

use pilotage_protos::discovery::{DiscoveryRequest, DiscoveryResponse};
use pilotage_server::protocol::{ResourceType, Revision, Snapshot};
use pilotage_server::{Answer, Demand, Event};

use crate::client::{Server, Talk, bodies, change, error, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;
const ENDPOINT: ResourceType = ResourceType::Endpoint;

fn first(resource_type: ResourceType, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: node("n1", "g"),
        type_url: resource_type.type_url().to_owned(),
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        ..DiscoveryRequest::default()
    }
}

fn ack(response: &DiscoveryResponse, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: response.type_url.clone(),
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        ..DiscoveryRequest::default()
    }
}

async fn acked(talk: &mut Talk<DiscoveryRequest, DiscoveryResponse>, names: &[&str]) -> Vec<String> {
    let response = talk.response().await;
    talk.say(ack(&response, names));
    bodies(&response.resources)
}

#[tokio::test]
async fn wildcard_and_named_types_are_served_and_updated() {
    let server = Server::start().await;
    let first_state = snapshot(1, CLUSTER, &[("a", "cluster a")]);
    let state = change(&first_state, 1, ENDPOINT, &[("a", "one"), ("b", "other")]);
    server.cache.publish(&"g".to_owned(), state.clone());

    let mut talk = server.sotw().await;
    talk.say(first(CLUSTER, &[]));
    let response = talk.response().await;
    assert_eq!(response.type_url, CLUSTER.type_url());
    assert_eq!(response.resources[0].type_url, CLUSTER.type_url());
    assert_eq!(bodies(&response.resources), ["cluster a"]);
    assert_eq!(response.control_plane.as_ref().expect("a control plane").identifier, "pilotage");
    assert_eq!(response.nonce.len(), 16);
    talk.say(ack(&response, &[]));
    talk.say(first(ENDPOINT, &["a"]));
    assert_eq!(acked(&mut talk, &["a"]).await, ["one"]);

    // A change of what was not asked for is silent: the next response is the one about `a`.
    let state = change(&state, 2, ENDPOINT, &[("b", "changed")]);
    server.cache.publish(&"g".to_owned(), state.clone());
    let state = change(&state, 3, ENDPOINT, &[("a", "two")]);
    server.cache.publish(&"g".to_owned(), state);
    assert_eq!(acked(&mut talk, &["a"]).await, ["two"]);
    soon(server.ads.streams().reached(Revision(3))).await;
}

#[tokio::test]
async fn before_a_snapshot_the_client_is_held_and_the_owner_is_asked() {
    let mut server = Server::start().await;
    let mut talk = server.sotw().await;
    talk.say(first(ENDPOINT, &["a", "missing"]));
    let Event::Demand(Demand::Opened { group, node }) = soon(server.events.next()).await else {
        panic!("the first event is the demand for the group");
    };
    assert_eq!((group.as_str(), node.id.as_str()), ("g", "n1"));
    server.cache.publish(&group, snapshot(1, ENDPOINT, &[("a", "one")]));
    assert_eq!(acked(&mut talk, &["a", "missing"]).await, ["one"]);
    let Event::Demand(Demand::Names { resource_type, names, .. }) = soon(server.events.next()).await else {
        panic!("the second event is the demand for the name");
    };
    assert_eq!(resource_type, ENDPOINT);
    assert_eq!(names.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["missing"]);
}

#[tokio::test]
async fn a_rejection_parks_the_resource_and_reaches_the_owner() {
    let mut server = Server::start().await;
    let group = "g".to_owned();
    let state = snapshot(1, CLUSTER, &[("a", "good"), ("b", "fine")]);
    server.cache.publish(&group, state.clone());
    let mut talk = server.sotw().await;
    talk.say(first(CLUSTER, &[]));
    assert_eq!(acked(&mut talk, &[]).await, ["good", "fine"]);

    let state = change(&state, 2, CLUSTER, &[("a", "bad")]);
    server.cache.publish(&group, state.clone());
    let response = talk.response().await;
    talk.say(DiscoveryRequest { error_detail: error("cluster a is bad"), ..ack(&response, &[]) });
    // It has been dealt with, and nothing was sent in reply: the next response has the neighbour's change.
    soon(server.ads.streams().reached(Revision(2))).await;
    server.cache.publish(&group, change(&state, 3, CLUSTER, &[("b", "finer")]));
    assert_eq!(acked(&mut talk, &[]).await, ["good", "finer"]);
    soon(server.ads.streams().reached(Revision(3))).await;

    let mut rejected = None;
    while let Some(event) = server.events.try_next() {
        if let Event::Outcome(outcome) = event
            && let Answer::Nacked { rejection, suspects, .. } = outcome.answer
        {
            assert_eq!((outcome.node.as_ref(), outcome.revision), ("n1", Revision(2)));
            assert_eq!(suspects.len(), 1);
            rejected = Some((suspects[0].name().to_string(), rejection.message));
        }
    }
    assert_eq!(rejected, Some(("a".to_owned(), "cluster a is bad".to_owned())));

    let status = server.ads.streams().list().remove(0);
    let cluster = &status.types[&CLUSTER];
    assert_eq!(cluster.nacked.as_ref().expect("a rejection").1, "cluster a is bad");
    assert_eq!(cluster.acked.expect("an acceptance").revision, Revision(3));
}

#[tokio::test]
async fn two_groups_are_told_different_things() {
    let server = Server::start().await;
    server.cache.publish(&"red".to_owned(), snapshot(1, CLUSTER, &[("a", "red")]));
    server.cache.publish(&"blue".to_owned(), snapshot(1, CLUSTER, &[("a", "blue")]));
    let mut talks = Vec::new();
    for group in ["red", "blue"] {
        let mut talk = server.sotw().await;
        // One node id on two streams: each has a state of its own (H54).
        talk.say(DiscoveryRequest { node: node("n", group), ..first(CLUSTER, &[]) });
        assert_eq!(acked(&mut talk, &[]).await, [group]);
        talks.push(talk);
    }
    soon(server.ads.streams().reached(Revision(1))).await;
    server.cache.publish(&"red".to_owned(), snapshot(2, CLUSTER, &[("a", "crimson")]));
    assert_eq!(acked(&mut talks[0], &[]).await, ["crimson"]);
    server.cache.publish(&"blue".to_owned(), snapshot(3, CLUSTER, &[("a", "navy")]));
    assert_eq!(acked(&mut talks[1], &[]).await, ["navy"]);
}

/// A client that has been told the state of revision 1, has left, and comes back when `change` has been made.
async fn returned(
    server: &Server,
    change: impl FnOnce(&Snapshot) -> Option<Snapshot>,
) -> Talk<DiscoveryRequest, DiscoveryResponse> {
    let state = snapshot(1, CLUSTER, &[("a", "one")]);
    server.cache.publish(&"g".to_owned(), state.clone());
    let mut talk = server.sotw().await;
    talk.say(first(CLUSTER, &[]));
    let version_info = talk.response().await.version_info;
    drop(talk);
    if let Some(state) = change(&state) {
        server.cache.publish(&"g".to_owned(), state);
    }
    let talk = server.sotw().await;
    talk.say(DiscoveryRequest { version_info, ..first(CLUSTER, &[]) });
    talk
}

#[tokio::test]
async fn a_client_that_returns_with_the_current_version_is_not_sent_it_again() {
    let server = Server::start().await;
    let mut talk = returned(&server, |_| None).await;
    soon(server.ads.streams().reached(Revision(1))).await;
    server.cache.publish(&"g".to_owned(), snapshot(2, CLUSTER, &[("a", "two")]));
    assert_eq!(acked(&mut talk, &[]).await, ["two"]);
}

/// The server knows by its version what the client has: it loses a cluster only when its listeners are current.
#[tokio::test]
async fn a_client_that_returns_with_a_former_version_keeps_what_it_may_use() {
    let server = Server::start().await;
    let replaced = |state: &Snapshot| Some(change(state, 2, CLUSTER, &[("a", ""), ("b", "two")]));
    let mut talk = returned(&server, replaced).await;
    assert_eq!(acked(&mut talk, &[]).await, ["one", "two"]);
    talk.say(first(ResourceType::Listener, &[]));
    assert!(acked(&mut talk, &[]).await.is_empty());
    assert_eq!(acked(&mut talk, &[]).await, ["two"]);
}
