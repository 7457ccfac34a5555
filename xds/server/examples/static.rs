//! A control plane with one fixed configuration: every client gets the same two clusters.
//!
//! Run it with `cargo run -p pilotage-server --example static`, and point an Envoy's `ads_config` at it.

use std::sync::Arc;
use std::time::Duration;

use pilotage_protos::envoy::cluster::Cluster;
use pilotage_protos::envoy::protobuf;
use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Answer, Cache, Event, ServeConfig, serve};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn cluster(name: &str, connect_timeout: Duration) -> Resource {
    let connect_timeout = protobuf::Duration { seconds: connect_timeout.as_secs() as i64, nanos: 0 };
    let cluster =
        Cluster { name: name.to_owned(), connect_timeout: Some(connect_timeout), ..Cluster::default() };
    Resource::new(name, cluster.encode_to_vec())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let clusters: Collection =
        [cluster("red", Duration::from_secs(1)), cluster("blue", Duration::from_secs(2))]
            .into_iter()
            .collect();
    let cache = Cache::new();
    cache.publish(&(), Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters)));

    let shutdown = CancellationToken::new();
    let (ads, mut events) = Ads::new(cache, |_node| (), AdsConfig::default(), shutdown.clone());
    let listener = TcpListener::bind("127.0.0.1:18000").await?;
    println!("serving on {}", listener.local_addr()?);
    let server = tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), ServeConfig::default()));

    let report = async {
        loop {
            match events.next().await {
                Event::Demand(demand) => println!("{demand:?}"),
                Event::Outcome(outcome) => match outcome.answer {
                    Answer::Acked { .. } => println!("{} accepts {}", outcome.node, outcome.resource_type),
                    Answer::Nacked { rejection, .. } => {
                        println!("{} rejects: {}", outcome.node, rejection.message);
                    }
                },
            }
        }
    };
    tokio::select! {
        () = report => {}
        stop = tokio::signal::ctrl_c() => stop?,
    }
    shutdown.cancel();
    server.await?;
    Ok(())
}
