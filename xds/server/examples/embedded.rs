//! A control plane inside a tonic server of one's own, for clients that know a token.
//!
//! Run it with `cargo run -p pilotage-server --example embedded`, and have an Envoy's `ads_config` send the header
//! `authorization: Bearer token` (`initial_metadata` of its `grpc_services`) to port 18000.

use std::sync::Arc;

use pilotage_protos::envoy::cluster::Cluster;
use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Cache};
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Status};

/// What goes before every call of every service of the server.
fn is_known(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("authorization") {
        Some(token) if token == "Bearer token" => Ok(request),
        _ => Err(Status::unauthenticated("no token, or another one")),
    }
}

/// Serves one cluster beside whatever else the server has, until told to stop.
pub(crate) async fn serve_embedded(listener: TcpListener, shutdown: CancellationToken) -> anyhow::Result<()> {
    let body = Cluster { name: "green".to_owned(), ..Cluster::default() }.encode_to_vec();
    let clusters: Collection = [Resource::new("green", body)].into_iter().collect();
    let cache = Cache::new();
    cache.publish(&(), Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters)));
    let (ads, _events) = Ads::new(cache, |_node| (), AdsConfig::default(), shutdown.clone());
    // `add_service` puts services of one's own beside these.
    let server = Server::builder().layer(InterceptorLayer::new(is_known)).add_routes(ads.routes());
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.serve_with_incoming_shutdown(incoming, shutdown.cancelled()).await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
#[allow(dead_code, reason = "the function above is also run by a test")]
async fn main() -> anyhow::Result<()> {
    serve_embedded(TcpListener::bind("127.0.0.1:18000").await?, CancellationToken::new()).await
}
