//! Time, slowness and force: what a connection may do to the server and to others.

use std::num::NonZeroUsize;
use std::time::Duration;

use pilotage_protos::discovery::{DiscoveryRequest, DiscoveryResponse, Node};
use pilotage_server::protocol::{ResourceType, Revision};
use pilotage_server::{AdsConfig, Demand, Event, ServeConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::client::{Server, Talk, bodies, error, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;

type Sotw = Talk<DiscoveryRequest, DiscoveryResponse>;

fn request(node: Option<Node>) -> DiscoveryRequest {
    DiscoveryRequest { node, type_url: CLUSTER.type_url().to_owned(), ..DiscoveryRequest::default() }
}

fn ack(talk: &Sotw, response: DiscoveryResponse) {
    talk.say(DiscoveryRequest { response_nonce: response.nonce, ..request(None) });
}

async fn joined(server: &Server, id: &str, group: &str) -> (Sotw, DiscoveryResponse) {
    let mut talk = server.sotw().await;
    talk.say(request(node(id, group)));
    let response = talk.response().await;
    (talk, response)
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_waited_for_for_ever() {
    let config = AdsConfig { first_message_timeout: Duration::from_millis(50), ..AdsConfig::default() };
    let server = Server::start_with(config).await;
    let mut talk = server.sotw().await;
    assert_eq!(talk.hear().await.expect_err("a refusal").code(), Code::DeadlineExceeded);
    assert!(server.ads.streams().is_empty());
}

#[tokio::test]
async fn an_old_connection_ends_after_its_first_response() {
    let connections =
        ServeConfig { max_connection_age: Some(Duration::from_millis(50)), ..ServeConfig::default() };
    let server = Server::start_on(AdsConfig::default(), connections).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    let (mut talk, response) = joined(&server, "n", "g").await;
    ack(&talk, response);
    assert_eq!(talk.hear().await.expect_err("an end").code(), Code::Unavailable);

    // A stream that was not told anything yet waits for that: an end before would look like a failure.
    let mut held = server.sotw().await;
    held.say(request(node("n", "later")));
    let (mut other, response) = joined(&server, "n", "g").await;
    ack(&other, response);
    assert_eq!(other.hear().await.expect_err("an end").code(), Code::Unavailable);
    server.cache.publish(&"later".to_owned(), snapshot(1, CLUSTER, &[("a", "late")]));
    assert_eq!(bodies(&held.response().await.resources), ["late"]);
    assert_eq!(held.hear().await.expect_err("an end").code(), Code::Unavailable);
}

#[tokio::test]
async fn a_reader_that_stops_costs_one_response_and_nobody_elses_time() {
    let server = Server::start().await;
    let group = "g".to_owned();
    let content = |revision: u64| format!("{revision:03}").repeat(300_000);
    server.cache.publish(&group, snapshot(1, CLUSTER, &[("a", &content(1))]));
    let mut slow = server.sotw().await;
    slow.say(request(node("slow", "g")));
    let (mut other, mut response) = joined(&server, "other", "g").await;
    for revision in 2..=40 {
        ack(&other, response);
        server.cache.publish(&group, snapshot(revision, CLUSTER, &[("a", &content(revision))]));
        response = other.response().await;
        assert_eq!(bodies(&response.resources), [content(revision)]);
    }
    // It is brought from the first state to the last, and not through the 38 between them.
    let first = slow.response().await;
    ack(&slow, first);
    let last = slow.response().await;
    assert_eq!(bodies(&last.resources), [content(40)]);
}

#[tokio::test]
async fn a_half_open_connection_is_noticed() {
    let connections = ServeConfig {
        keepalive_interval: Duration::from_millis(50),
        keepalive_timeout: Duration::from_millis(50),
        ..ServeConfig::default()
    };
    let mut server = Server::start_on(AdsConfig::default(), connections).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    // A proxy that stops to forward, and closes nothing.
    let proxy = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let direct = server.address;
    server.address = proxy.local_addr().expect("its address");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let forwarding = tokio::spawn(async move {
        let (mut client, _) = proxy.accept().await.expect("a connection");
        let mut onward = TcpStream::connect(direct).await.expect("the server");
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut onward) => {}
            _ = stopped => {}
        }
        (client, onward)
    });
    let (_talk, _) = joined(&server, "n", "g").await;
    stop.send(()).expect("a proxy");
    let _open = forwarding.await.expect("both sockets, open");
    loop {
        if let Event::Demand(Demand::Idle { .. }) = soon(server.events.next()).await {
            break;
        }
    }
    assert!(server.ads.streams().is_empty());
}

#[tokio::test]
async fn many_that_return_at_once_are_taken_in_one_after_the_other() {
    let config = AdsConfig { admitted_at_once: 1, ..AdsConfig::default() };
    let server = Server::start_with(config).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "one")]));
    // One that has nothing to be told yet does not hold up the others.
    let held = server.sotw().await;
    held.say(request(node("held", "no snapshot")));
    let mut talks = Vec::new();
    for index in 0..50 {
        let talk = server.sotw().await;
        talk.say(request(node(&format!("n{index}"), "g")));
        talks.push(talk);
    }
    for talk in &mut talks {
        assert_eq!(bodies(&talk.response().await.resources), ["one"]);
    }
}

#[tokio::test]
async fn what_several_clients_reject_is_not_tried_on_the_others() {
    let config = AdsConfig { spare_after: NonZeroUsize::new(2), ..AdsConfig::default() };
    let server = Server::start_with(config).await;
    let group = "g".to_owned();
    let first = snapshot(1, CLUSTER, &[("a", "good"), ("b", "fine")]);
    server.cache.publish(&group, first.clone());
    let mut talks = Vec::new();
    for id in ["n1", "n2", "n3"] {
        let (talk, response) = joined(&server, id, "g").await;
        ack(&talk, response);
        talks.push(talk);
    }
    soon(server.ads.streams().reached(Revision(1))).await;
    let bad = crate::client::change(&first, 2, CLUSTER, &[("a", "bad")]);
    server.cache.publish(&group, bad.clone());
    for (talk, index) in talks.iter_mut().zip(1..) {
        let response = talk.response().await;
        assert_eq!(bodies(&response.resources), ["bad", "fine"]);
        let error_detail = error("a is bad").filter(|_| index < 3);
        talk.say(DiscoveryRequest { response_nonce: response.nonce, error_detail, ..request(None) });
    }
    soon(server.ads.streams().reached(Revision(2))).await;
    // A new client of the kind is not tried with it.
    let (talk, response) = joined(&server, "n4", "g").await;
    assert_eq!(bodies(&response.resources), ["fine"]);
    ack(&talk, response);
    talks.push(talk);
    soon(server.ads.streams().reached(Revision(2))).await;
    // New content is tried on all.
    server.cache.publish(&group, crate::client::change(&bad, 3, CLUSTER, &[("a", "better")]));
    for talk in &mut talks {
        assert_eq!(bodies(&talk.response().await.resources), ["better", "fine"]);
    }
}
