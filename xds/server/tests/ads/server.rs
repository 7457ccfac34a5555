//! What does not depend on the dialect: refusals, limits, the end of streams, shutdown.

use pilotage_protos::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, Node};
use pilotage_server::protocol::{Limits, ResourceType, Revision, SessionConfig};
use pilotage_server::{AdsConfig, Demand, Event};
use tonic::Code;

use crate::client::{Server, bodies, node, snapshot, soon};

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
