//! What one rude client costs a polite one: the time of a change, idle and while another client misbehaves.
//!
//! The rude client runs on a thread of its own and connects again whenever the server has had enough of it. It takes
//! processors from everybody; what the floor's client suffers by the same is not the server's doing.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use pilotage_protos::discovery::{DeltaDiscoveryRequest, Node};
use pilotage_server::protocol::ResourceType;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::client::Fleet;
use crate::fixture::Fixture;
use crate::host::Host;

/// Changes that are timed in each state.
const ROUNDS: usize = 300;

/// Streams that are opened, and dropped, on connections of one client.
const STREAMS: usize = 100_000;

#[derive(Clone, Copy, Debug)]
enum Manners {
    Streams,
    Headers,
    Flood,
    Garbage,
}

pub(crate) async fn measure(fixture: Fixture) -> Result<()> {
    let mut host = Host::start(fixture).await?;
    let mut fleet = Fleet::connect(host.address, fixture, 1, 1).await?;
    fleet.complete().await?;
    let idle = latencies(&mut host, &mut fleet).await?;
    println!("{:?}", fixture.mode);
    println!("{:<12} p50 {:>8.3} ms, p99 {:>8.3} ms", "idle", idle.0, idle.1);
    for manners in [Manners::Streams, Manners::Headers, Manners::Flood, Manners::Garbage] {
        let (stop, done) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let (address, until, counter) = (host.address, stop.clone(), done.clone());
        let thread = std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                tokio::select! {
                    () = until.cancelled() => {}
                    () = misbehave(manners, address, &counter) => {}
                }
            });
            Ok(())
        });
        let (p50, p99) = latencies(&mut host, &mut fleet).await?;
        if matches!(manners, Manners::Streams) {
            // All of them, however long it takes.
            while done.load(Ordering::Relaxed) < STREAMS && !thread.is_finished() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        stop.cancel();
        let _ = thread.join();
        println!(
            "{:<12} p50 {p50:>8.3} ms ({:.1}×), p99 {p99:>8.3} ms ({:.1}×); {} times; RSS {} MiB",
            format!("{manners:?}"),
            p50 / idle.0,
            p99 / idle.1,
            done.load(Ordering::Relaxed),
            host.usage()?.resident >> 10,
        );
    }
    Ok(())
}

/// The median and the 99th percentile of a change, in milliseconds.
async fn latencies(host: &mut Host, fleet: &mut Fleet) -> Result<(f64, f64)> {
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        let published = Instant::now();
        host.publish().await?;
        all.push(fleet.changed().await?.duration_since(published).as_secs_f64() * 1e3);
        // The rude client gets its time as well.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    all.sort_unstable_by(f64::total_cmp);
    Ok((all[ROUNDS / 2], all[ROUNDS * 99 / 100]))
}

async fn misbehave(manners: Manners, address: SocketAddr, done: &AtomicUsize) {
    loop {
        // The server ends such connections: that is what is expected of it.
        let _: Result<()> = match manners {
            Manners::Streams => many_streams(address, done).await,
            Manners::Headers => long_headers(address, done).await,
            Manners::Flood => flood(address, done).await,
            Manners::Garbage => garbage(address, done).await,
        };
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Bytes>> {
    let (sender, connection) = h2::client::handshake(TcpStream::connect(address).await?).await?;
    tokio::spawn(connection);
    Ok(sender.ready().await?)
}

fn request(address: SocketAddr) -> http::request::Builder {
    let path = "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
    http::Request::post(format!("http://{address}/{path}")).header("content-type", "application/grpc")
}

async fn many_streams(address: SocketAddr, done: &AtomicUsize) -> Result<()> {
    let mut sender = connect(address).await?;
    while done.load(Ordering::Relaxed) < STREAMS {
        let (response, stream) = sender.send_request(request(address).body(())?, false)?;
        drop((response, stream));
        done.fetch_add(1, Ordering::Relaxed);
        sender = sender.ready().await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn long_headers(address: SocketAddr, done: &AtomicUsize) -> Result<()> {
    let mut sender = connect(address).await?;
    let long = "x".repeat(1 << 20);
    loop {
        let (response, _stream) =
            sender.send_request(request(address).header("x-long", &long).body(())?, true)?;
        done.fetch_add(1, Ordering::Relaxed);
        let _ = response.await?;
        sender = sender.ready().await?;
    }
}

async fn flood(address: SocketAddr, done: &AtomicUsize) -> Result<()> {
    let mut sender = connect(address).await?;
    let (_response, mut stream) = sender.send_request(request(address).body(())?, false)?;
    let mut round = 0_usize;
    loop {
        let ask = DeltaDiscoveryRequest {
            node: (round == 0).then(|| Node { id: "rude".to_owned(), ..Node::default() }),
            type_url: ResourceType::Endpoint.type_url().to_owned(),
            resource_names_subscribe: (0..50).map(|index| format!("{}-{index}", round % 100)).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        let message = ask.encode_to_vec();
        let mut frame = BytesMut::with_capacity(message.len() + 5);
        frame.put_u8(0);
        frame.put_u32(message.len() as u32);
        frame.put_slice(&message);
        stream.reserve_capacity(frame.len());
        while stream.capacity() < frame.len() {
            if poll_fn(|context| stream.poll_capacity(context)).await.transpose()?.is_none() {
                return Ok(());
            }
        }
        stream.send_data(frame.freeze(), false)?;
        done.fetch_add(1, Ordering::Relaxed);
        round += 1;
        tokio::task::yield_now().await;
    }
}

async fn garbage(address: SocketAddr, done: &AtomicUsize) -> Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    let round = done.fetch_add(1, Ordering::Relaxed);
    // With the preface, what follows is read as frames: of any type, of any length, cut off.
    if round.is_multiple_of(2) {
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    }
    let noise: Vec<u8> = (0..512).map(|index: usize| (index * 167 + round * 31) as u8).collect();
    socket.write_all(&noise).await?;
    socket.shutdown().await?;
    Ok(())
}
