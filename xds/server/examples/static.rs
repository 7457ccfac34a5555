//! A control plane with one fixed configuration: every client gets the same two clusters.
//!
//! Run it with `cargo run -p pilotage-server --example static`, and point an Envoy's `ads_config` at port 18000.

use std::sync::Arc;

use pilotage_protos::envoy::cluster::Cluster;
use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Answer, Cache, Event, ServeConfig, serve};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

fn cluster(name: &str) -> Resource {
    let body = Cluster { name: name.to_owned(), ..Cluster::default() }.encode_to_vec();
    Resource::new(name, body)
}

/// Serves two clusters to whoever comes, and says how clients answer, until told to stop.
pub async fn serve_static(listener: TcpListener, shutdown: CancellationToken) {
    let clusters: Collection = [cluster("red"), cluster("blue")].into_iter().collect();
    let cache = Cache::new();
    cache.publish(&(), Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters)));
    let (ads, mut events) = Ads::new(cache, |_node| (), AdsConfig::default(), shutdown.clone());
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
        cut = serve(listener, ads.routes(), shutdown, ServeConfig::default()) => {
            println!("{cut} connections had to be cut");
        }
    }
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the function above is also run by a test")]
async fn main() -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:18000").await?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        // Without a signal to wait for, the server could not be stopped in order: stop it then, too.
        drop(tokio::signal::ctrl_c().await);
        stop.cancel();
    });
    serve_static(listener, shutdown).await;
    Ok(())
}
