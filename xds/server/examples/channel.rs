//! A control plane whose snapshots come from a channel: here, of lines typed on standard input, each a list of cluster
//! names. Every client gets the clusters of the latest line.
//!
//! Run it with `cargo run -p pilotage-server --example channel`, and point an Envoy's `ads_config` at port 18000.

use std::sync::Arc;

use pilotage_protos::envoy::cluster::Cluster;
use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Cache, ServeConfig, serve};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

fn cluster(name: String) -> Resource {
    let body = Cluster { name: name.clone(), ..Cluster::default() }.encode_to_vec();
    Resource::new(name, body)
}

/// Serves the latest state that the channel has brought, until the channel closes.
pub async fn serve_channel(listener: TcpListener, mut states: mpsc::Receiver<Vec<String>>) {
    let (cache, shutdown) = (Cache::new(), CancellationToken::new());
    // Nobody here wants to know what clients answer; `events` would tell.
    let (ads, _events) = Ads::new(cache.clone(), |_node| (), AdsConfig::default(), shutdown.clone());
    let server = tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), ServeConfig::default()));
    let mut revision = 0;
    // Until the first state arrives, clients are not answered: that is not the same as "there is nothing".
    while let Some(names) = states.recv().await {
        revision += 1;
        let clusters: Collection = names.into_iter().map(cluster).collect();
        let snapshot = Snapshot::new(Revision(revision)).with(ResourceType::Cluster, Arc::new(clusters));
        cache.publish(&(), snapshot);
    }
    shutdown.cancel();
    // The server ends when its connections have.
    drop(server.await);
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the function above is also run by a test")]
async fn main() -> anyhow::Result<()> {
    let (states, received) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let names = line.split_whitespace().map(str::to_owned).collect();
            if states.blocking_send(names).is_err() {
                break;
            }
        }
    });
    serve_channel(TcpListener::bind("127.0.0.1:18000").await?, received).await;
    Ok(())
}
