//! A real Envoy in every way that it can speak to a control plane: SotW and delta, aggregated and by type.
//!
//! The server is `pilotage-server` alone. Clusters, endpoints, listeners, routes and secrets come to Envoy, change under
//! calls, and are followed.

#[path = "services/plane.rs"]
mod plane;
#[path = "services/virtual_hosts.rs"]
mod virtual_hosts;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_server::protocol::{Dialect, ResourceType};
use pilotage_tests::{Authority, Backend, Client, TlsClient, Traffic, eventually};
use plane::{Plane, Services, Way, certificate, cluster, listener, routes, virtual_host};

const HOST: &str = "echo.example.com";

#[tokio::test]
async fn envoy_by_delta_aggregated() -> Result<()> {
    follows(Way { api_type: "DELTA_GRPC", services: Services::Aggregated }).await
}

#[tokio::test]
async fn envoy_by_sotw_aggregated() -> Result<()> {
    follows(Way { api_type: "GRPC", services: Services::Aggregated }).await
}

#[tokio::test]
async fn envoy_by_delta_of_single_types() -> Result<()> {
    follows(Way { api_type: "DELTA_GRPC", services: Services::Single }).await
}

#[tokio::test]
async fn envoy_by_sotw_of_single_types() -> Result<()> {
    follows(Way { api_type: "GRPC", services: Services::Single }).await
}

async fn follows(way: Way) -> Result<()> {
    let (folder, port) = (tempfile::tempdir()?, ReservedPort::new()?);
    let authority = Authority::new()?;
    let (first, second) = (authority.issue(HOST)?, authority.issue(HOST)?);
    let (one, two) = (Backend::start("one", "v1").await?, Backend::start("two", "v1").await?);
    let hosts = |mark: &str| [virtual_host("echo", "*", "echo", mark)];
    let mut plane = Plane::start(()).await?;
    let mut world = cluster(way, "echo", &[&one])?;
    world.extend(listener(way, port.number(), &first)?);
    world.push(routes(&hosts("first"), &["echo"])?);
    plane.publish(world, &[]);

    let _envoy = way.envoy(plane.address, folder.path()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let connected = async || {
        let mut client = tls.connect(port.address(), HOST).await.ok()?;
        client.call(&[]).await.ok().map(|_| client)
    };
    let mut client: Client = eventually("a call over TLS that succeeds", connected).await?;
    has_streams(&plane, way)?;

    let traffic = Traffic::start(&client);
    plane.publish(vec![routes(&hosts("second"), &["echo"])?], &[]);
    let mut is_routed = client.clone();
    while is_routed.call(&[]).await?.headers.get("x-route").is_none_or(|mark| mark != "second") {}
    plane.publish(cluster(way, "echo", &[&two])?, &[]);
    while client.call(&[]).await?.server_id != "two" {}
    plane.publish(vec![certificate(&second)?], &[]);
    let rotated = async || {
        let shown = tls.certificate(port.address(), HOST).await.ok()?;
        (shown == second.der().ok()?).then_some(())
    };
    eventually("the other certificate on new connections", rotated).await?;
    traffic.flows(50).await?;
    traffic.stop().await?.none_failed()
}

/// One stream for everything, or one for each subscription.
fn has_streams(plane: &Plane, way: Way) -> Result<()> {
    let streams = plane.ads.streams().list();
    let dialect = if way.api_type == "GRPC" { Dialect::Sotw } else { Dialect::Delta };
    ensure!(streams.iter().all(|stream| stream.dialect == dialect), "{streams:?}");
    let expected = BTreeSet::from([
        ResourceType::Cluster,
        ResourceType::Endpoint,
        ResourceType::Listener,
        ResourceType::Route,
        ResourceType::Secret,
    ]);
    let seen: BTreeSet<_> = streams.iter().flat_map(|stream| stream.types.keys().cloned()).collect();
    ensure!(seen == expected, "{seen:?}");
    let per_stream: Vec<usize> = streams.iter().map(|stream| stream.types.len()).collect();
    match way.services {
        Services::Aggregated => ensure!(per_stream == [5], "{per_stream:?}"),
        Services::Single => ensure!(per_stream == [1; 5], "{per_stream:?}"),
    }
    Ok(())
}
