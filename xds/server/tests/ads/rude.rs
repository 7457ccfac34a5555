//! One client misbehaves, and another one's changes arrive all the same, about as fast as before.
//!
//! The scenario `rude` of the bench measures the same with an optimised server, for longer and with percentiles.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use pilotage_server::AdsConfig;
use pilotage_server::protocol::ResourceType;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::{Server, bodies, node, snapshot, soon};

const CLUSTER: ResourceType = ResourceType::Cluster;

/// Changes that are timed.
const ROUNDS: u64 = 30;

/// What a shared machine may add to the time of a change; a server that is kept busy would add seconds.
const SLACK: Duration = Duration::from_millis(100);

type Attack = Result<(), h2::Error>;

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>, h2::Error> {
    let socket = TcpStream::connect(address).await.expect("a server that accepts");
    let (sender, connection) = h2::client::handshake(socket).await?;
    tokio::spawn(connection);
    sender.ready().await
}

fn request(address: SocketAddr, long: &str) -> http::Request<()> {
    let path = "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    let request = http::Request::post(format!("http://{address}/{path}")).header("x-long", long);
    request.header("content-type", "application/grpc").body(()).expect("a request")
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

async fn many_streams(address: SocketAddr) -> Attack {
    let mut sender = connect(address).await?;
    loop {
        drop(sender.send_request(request(address, ""), false)?);
        sender = sender.ready().await?;
        tokio::task::yield_now().await;
    }
}

async fn long_headers(address: SocketAddr) -> Attack {
    let long = "x".repeat(1 << 20);
    let mut sender = connect(address).await?;
    loop {
        let (response, _) = sender.send_request(request(address, &long), true)?;
        assert!(!response.await?.status().is_success(), "a header of 1 MiB was taken");
        sender = sender.ready().await?;
    }
}

async fn flood(address: SocketAddr) -> Attack {
    let (_response, mut stream) = connect(address).await?.send_request(request(address, ""), false)?;
    for round in 0.. {
        let message = DeltaDiscoveryRequest {
            node: node("rude", "g").filter(|_| round == 0),
            type_url: CLUSTER.type_url().to_owned(),
            resource_names_subscribe: (0..50).map(|index| format!("{}-{index}", round % 100)).collect(),
            ..DeltaDiscoveryRequest::default()
        }
        .encode_to_vec();
        let frame = frame(&message);
        stream.reserve_capacity(frame.len());
        while stream.capacity() < frame.len() {
            if std::future::poll_fn(|context| stream.poll_capacity(context)).await.transpose()?.is_none() {
                return Ok(());
            }
        }
        stream.send_data(frame.into(), false)?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn garbage(address: SocketAddr) -> Attack {
    for round in 0_usize.. {
        let mut socket = TcpStream::connect(address).await.expect("a server that accepts");
        let mut noise = Vec::new();
        if round.is_multiple_of(2) {
            noise.extend_from_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
        }
        noise.extend((0..512).map(|index| (index * 167 + round * 31) as u8));
        // The server may be gone before it has all of it, which is as good an answer as any.
        let _ = socket.write_all(&noise).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(socket.read_to_end(&mut answer)).await;
    }
    Ok(())
}

/// The median time of a change while something else goes on.
async fn median(server: &Server, revisions: std::ops::Range<u64>) -> Duration {
    let mut talk = server.sotw().await;
    let ask = |nonce| DiscoveryRequest {
        node: node("polite", "g"),
        type_url: CLUSTER.type_url().to_owned(),
        response_nonce: nonce,
        ..DiscoveryRequest::default()
    };
    talk.say(ask(String::new()));
    let first = talk.response().await;
    talk.say(ask(first.nonce));
    let mut all = Vec::new();
    for revision in revisions {
        let published = Instant::now();
        server.cache.publish(&"g".to_owned(), snapshot(revision, CLUSTER, &[("a", &revision.to_string())]));
        let response = talk.response().await;
        all.push(published.elapsed());
        assert_eq!(bodies(&response.resources), [revision.to_string()]);
        talk.say(ask(response.nonce));
    }
    all.sort_unstable();
    all[all.len() / 2]
}

async fn costs_others_little<F: Future<Output = Attack> + Send + 'static>(
    attack: impl Fn(SocketAddr) -> F + Send + 'static,
) {
    let server = Server::start().await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "first")]));
    let idle = median(&server, 2..2 + ROUNDS).await;
    let address = server.address;
    let attacker = tokio::spawn(async move {
        loop {
            // The server may end such a connection, and the client comes back.
            let _ = attack(address).await;
        }
    });
    let busy = median(&server, 100..100 + ROUNDS).await;
    assert!(!attacker.is_finished(), "the attack did not last");
    attacker.abort();
    assert!(busy <= idle * 2 + SLACK, "{busy:?} instead of {idle:?}");
    // And nothing of it is left behind.
    soon(async {
        while !server.ads.streams().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_opens_streams_without_end_costs_others_little() {
    costs_others_little(many_streams).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_a_mebibyte_are_refused_and_cost_others_little() {
    costs_others_little(long_headers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_at_full_speed_cost_others_little() {
    costs_others_little(flood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_costs_others_little() {
    costs_others_little(garbage).await;
}

/// H56: a first request holds its place from its first byte until it has been answered.
#[tokio::test]
async fn no_more_first_requests_are_taken_in_at_once_than_may_be() {
    let server = Server::start_with(AdsConfig { admitted_at_once: 1, ..AdsConfig::default() }).await;
    server.cache.publish(&"g".to_owned(), snapshot(1, CLUSTER, &[("a", "first")]));
    let (node, type_url) = (node("slow", "g"), CLUSTER.type_url().to_owned());
    let message = DeltaDiscoveryRequest { node, type_url, ..DeltaDiscoveryRequest::default() };
    let mut start = frame(&message.encode_to_vec());
    let rest = start.split_off(10);
    let mut sender = connect(server.address).await.expect("a connection");
    let (answer, mut slow) = sender.send_request(request(server.address, ""), false).expect("a stream");
    slow.send_data(start.into(), false).expect("the start of a request");
    // Others are served until the server has seen that start; the next one waits.
    let mut waiting = None;
    for _ in 0..20 {
        let mut talk = server.sotw().await;
        talk.say(DiscoveryRequest {
            node: crate::client::node("other", "g"),
            type_url: CLUSTER.type_url().to_owned(),
            ..DiscoveryRequest::default()
        });
        let mut response = tokio::spawn(async move { talk.response().await });
        if tokio::time::timeout(Duration::from_millis(100), &mut response).await.is_err() {
            waiting = Some(response);
            break;
        }
    }
    let waiting = waiting.expect("everyone is taken in beside a request that is not whole");
    slow.send_data(rest.into(), false).expect("the rest of it");
    assert!(soon(answer).await.expect("an answer").status().is_success());
    let response = soon(waiting).await.expect("a task that does not panic");
    assert_eq!(bodies(&response.resources), ["first"]);
}
