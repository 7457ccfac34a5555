//! What an API server that is away, comes back, or forgets does to what is served: nothing, and then what is right.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;
use kube::api::DeleteParams;
use pilotage::tools::{ReservedPort, http_get};
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, Observer, Options, apply_object, own_address, resource,
};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, Relay, Traffic, eventually};
use pilotage_watcher::kubernetes::{KindState, Options as Following};
use pilotage_watcher::{Kind, ObjectKey};
use serde_json::json;

/// How long the API server is away; `PILOTAGE_OUTAGE_SECONDS` makes it longer.
fn outage() -> Duration {
    let seconds = std::env::var("PILOTAGE_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(10))
}

async fn write_service(client: &Client, namespace: &Namespace, name: &str) -> Result<()> {
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "ports": [{"name": "grpc", "port": 80}]},
    });
    apply_object(client, Some(namespace.name()), &service).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_behind_a_forgotten_version_is_gone_after_the_next_list() -> Result<()> {
    let mut cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "forgotten").await?;
    for name in ["stays", "goes"] {
        write_service(&client, &namespace, name).await?;
    }
    let relay = Relay::to(cluster.address()).await?;
    let kubeconfig = cluster.kubeconfig_at(Identity::Administrator, relay.address())?;
    let observer = Observer::start(&kubeconfig, Following::default()).await?;
    observer.synced().await?;

    relay.cut();
    let away =
        || async { matches!(observer.status().kinds[&Kind::Service], KindState::Away(_)).then_some(()) };
    eventually("the loss being noticed", away).await?;
    let services = resource(&client, "v1", "Service", Some(namespace.name()))?;
    services.delete("goes", &DeleteParams::default()).await?;
    write_service(&client, &namespace, "comes").await?;
    // A server that has just started remembers nothing of before, and neither does the store.
    cluster.compact().await?;
    cluster.kill_api_server().await;
    cluster.start_api_server().await?;
    assert_eq!(observer.said().deleted, [], "nothing is withdrawn while the server is away");
    let before = observer.said();

    relay.mend();
    let gone = ObjectKey::new(Kind::Service, namespace.name(), "goes");
    observer.until("the deletion", |said| said.deleted.contains(&gone).then_some(())).await?;
    let here = |said: &pilotage_tests::kubernetes::Said| {
        said.world.service(namespace.name(), "comes").map(|_| said.clone())
    };
    let said = observer.until("the new Service", here).await?;
    assert_eq!(said.deleted, [gone], "and nothing else");
    assert!(said.world.service(namespace.name(), "stays").is_some());
    // What had not changed was not told again.
    assert_eq!(said.applied, before.applied + 1);
    assert_eq!(said.synced, 1);
    Ok(())
}

async fn write_endpoints(client: &Client, namespace: &Namespace, backend: &Backend) -> Result<()> {
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "echo-1", "labels": {"kubernetes.io/service-name": "echo"}},
        "addressType": "IPv4",
        "ports": [{"name": "grpc", "port": backend.address().port(), "protocol": "TCP"}],
        "endpoints": [{"addresses": [backend.address().ip()], "conditions": {"ready": true}}],
    });
    apply_object(client, Some(namespace.name()), &slice).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_while_the_api_server_is_away_and_follow_it_when_it_is_back() -> Result<()> {
    let mut cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "outage").await?;
    let any = SocketAddr::new(own_address()?, 0);
    let before = Backend::start_on(any, "before", "v1").await?;
    let after = Backend::start_on(any, "after", "v2").await?;
    write_service(&client, &namespace, "echo").await?;
    write_endpoints(&client, &namespace, &before).await?;

    let kubeconfig = cluster.kubeconfig(Identity::Administrator)?;
    let kubeconfig = kubeconfig.to_str().context("a path that is text")?;
    let health = ReservedPort::new()?;
    let address = health.address().to_string();
    let arguments = ["--kubernetes", "--kubeconfig", kubeconfig, "--health", &address];
    let mesh = Mesh::start_with(&[], &arguments).await?;
    let current = || async {
        let page = http_get(health.address(), "/metrics").await?;
        let page = String::from_utf8_lossy(&page).into_owned();
        let line = page.lines().find(|line| line.contains("kubernetes_current{kind=\"Service\"}"));
        Ok::<_, anyhow::Error>(line.and_then(|line| line.split(' ').next_back()).map(str::to_owned))
    };
    let page = || async { Ok::<_, anyhow::Error>(http_get(health.address(), "/readyz").await?) };
    assert_eq!(page().await?, "ready\n");
    let mut proxy = Proxy::sidecar(&mesh, "client", Dialect::Delta).await?;
    let authority = format!("echo.{}.svc.cluster.local:80", namespace.name());
    let traffic = Traffic::start(&proxy.client(&authority).await?);
    traffic.flows(100).await?;

    cluster.kill_api_server().await;
    let began = Instant::now();
    mesh.logged(&["Service", "cannot follow", "what was read stays"]).await?;
    while began.elapsed() < outage() {
        traffic.flows(50).await?;
    }
    // A server that was read and is away is no reason to take clients elsewhere, and is told.
    let told = String::from_utf8_lossy(&page().await?).into_owned();
    let line =
        told.lines().find(|line| line.starts_with("kubernetes Service: may be out of date: ")).unwrap();
    assert_eq!(current().await?.as_deref(), Some("0"));
    assert!(told.starts_with("ready\n") && line.contains("Connection refused"), "{told}");
    cluster.start_api_server().await?;
    write_endpoints(&client, &namespace, &after).await?;
    let moved = || async { (after.answered() > 0).then_some(()) };
    eventually("calls reaching the new endpoint", moved).await?;
    let told = || async { (page().await.ok()? == "ready\n").then_some(()) };
    eventually("every kind being followed again", told).await?;
    assert_eq!(current().await?.as_deref(), Some("1"));
    traffic.flows(100).await?;
    let outcomes = traffic.stop().await?;
    outcomes.none_failed()?;
    assert!(outcomes.server("before") > 0 && outcomes.server("after") > 0, "{outcomes:?}");
    Ok(())
}
