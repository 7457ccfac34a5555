//! Several streams on one connection: they share a task, and nothing else.

use pilotage_protos::discovery::{DiscoveryRequest, DiscoveryResponse, Node};
use pilotage_server::protocol::{ResourceType, Revision};
use pilotage_server::{Observer, StreamStatus};
use tonic::transport::Channel;

use crate::client::{Server, Talk, bodies, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;

type Sotw = Talk<DiscoveryRequest, DiscoveryResponse>;

fn request(node: Option<Node>, nonce: &str) -> DiscoveryRequest {
    let (type_url, response_nonce) = (CLUSTER.type_url().to_owned(), nonce.to_owned());
    DiscoveryRequest { node, type_url, response_nonce, ..DiscoveryRequest::default() }
}

fn stream(channel: &Channel) -> Sotw {
    let service = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    Talk::on(channel.clone(), service, "StreamAggregatedResources")
}

#[tokio::test]
async fn many_streams_of_one_connection_are_told_everything() {
    let (server, group) = (Server::start().await, "g".to_owned());
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", "1")]));
    let channel = server.channel().await;
    let mut talks: Vec<Sotw> = (0..100).map(|_| stream(&channel)).collect();
    for (index, talk) in talks.iter().enumerate() {
        talk.say(request(node(&format!("n{index}"), "g"), ""));
    }
    for revision in 1..=3 {
        let content = revision.to_string();
        for talk in &mut talks {
            let response = talk.response().await;
            assert_eq!(bodies(&response.resources), [content.as_str()]);
            talk.say(request(None, &response.nonce));
        }
        soon(server.ads.streams().reached(Revision(revision))).await;
        // One that ends leaves the others as they are.
        talks.pop();
        let next = (revision + 1).to_string();
        server.cache.publish(&group, snapshot(revision + 1, CLUSTER, &[("a", next.as_str())]));
    }
}

/// Panics when a client comes that is called so.
struct Fragile;

impl Observer<String> for Fragile {
    fn opened(&self, stream: &StreamStatus<String>) {
        assert_ne!(stream.node.id, "bad", "this is what the test wants");
    }
}

#[tokio::test]
async fn a_panic_on_a_stream_ends_its_connection_and_no_other() {
    let server = Server::start_observed(Fragile).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "1")]));
    let (shared, other) = (server.channel().await, server.channel().await);
    let (mut neighbour, mut bad, mut far) = (stream(&shared), stream(&shared), stream(&other));
    for (talk, id) in [(&mut neighbour, "neighbour"), (&mut far, "far")] {
        talk.say(request(node(id, "g"), ""));
        let response = talk.response().await;
        talk.say(request(None, &response.nonce));
    }
    soon(server.ads.streams().reached(Revision(1))).await;
    bad.say(request(node("bad", "g"), ""));
    bad.hear().await.expect_err("its own connection has ended");
    neighbour.hear().await.expect_err("it was on the same");
    server.cache.publish(&"g".to_owned(), snapshot(2, CLUSTER, &[("a", "2")]));
    assert_eq!(bodies(&far.response().await.resources), ["2"]);
    assert_eq!(server.ads.streams().list().len(), 1, "nothing is left of those that ended");
}
