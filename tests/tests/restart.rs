//! Envoy or Pilotage dies and comes back.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use pilotage_tests::{
    Backend, Client, Dialect, Mesh, Proxy, Traffic, calls, endpoint_slice, eventually, host, service,
};
use serde_json::Value;

async fn setting(dialect: Dialect) -> Result<(Mesh, Proxy, Client)> {
    let backends = vec![Backend::start("one", "v1").await?, Backend::start("two", "v1").await?];
    let mesh = Mesh::echo(backends, "").await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", dialect).await?;
    let client = sidecar.client(&host("echo")).await?;
    Ok((mesh, sidecar, client))
}

/// The version of everything that Envoy has from the server, by name; of endpoints it does not tell the version.
async fn versions(sidecar: &Proxy) -> Result<BTreeMap<String, String>> {
    fn collect(value: &Value, found: &mut BTreeMap<String, String>) {
        const BODIES: [&str; 3] = ["cluster", "listener", "route_config"];
        match value {
            Value::Object(fields) => {
                let body = BODIES.iter().find_map(|body| Some((body, fields.get(*body)?)));
                if let (Some((kind, body)), Some(Value::String(version))) = (body, fields.get("version_info"))
                {
                    let name = body["name"].as_str().unwrap_or_default();
                    found.insert(format!("{kind} {name}"), version.clone());
                }
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeMap::new();
    collect(&sidecar.envoy().admin_json("/config_dump").await?, &mut found);
    Ok(found)
}

/// How many updates of these subscriptions Envoy has taken, whether they changed anything or not.
async fn updates(sidecar: &Proxy, subscriptions: &[&str]) -> Result<BTreeMap<String, u64>> {
    let mut stats = sidecar.envoy().stats("").await?;
    stats.retain(|name, _| {
        name.strip_suffix(".update_success")
            .is_some_and(|name| subscriptions.iter().any(|subscription| name.ends_with(subscription)))
    });
    ensure!(stats.len() == subscriptions.len(), "{stats:?}");
    Ok(stats)
}

/// `unchanged` are the subscriptions that are sent nothing when the server comes back with what it had before.
async fn the_server_dies_and_comes_back(dialect: Dialect, unchanged: &[&str]) -> Result<()> {
    let (mut mesh, sidecar, client) = setting(dialect).await?;
    let before = versions(&sidecar).await?;
    for kind in ["cluster ", "listener ", "route_config "] {
        ensure!(before.keys().any(|name| name.starts_with(kind)), "no {kind}in {before:?}");
    }
    let traffic = Traffic::start(&client);
    traffic.flows(100).await?;
    let updates_before = updates(&sidecar, unchanged).await?;
    mesh.kill_server().await;
    traffic.flows(200).await?;
    mesh.start_server().await?;

    // An endpoint that is new to the restarted server shows that Envoy listens to it.
    let three = Backend::start("three", "v1").await?;
    mesh.manifests().write("three.yaml", &endpoint_slice("echo", &three))?;
    eventually("a call to the new endpoint", || async { (three.answered() > 0).then_some(()) }).await?;
    traffic.stop().await?.none_failed()?;

    let after = versions(&sidecar).await?;
    ensure!(before == after, "{before:?} {after:?}");
    let updates_after = updates(&sidecar, unchanged).await?;
    ensure!(updates_before == updates_after, "sent anew: {updates_before:?} {updates_after:?}");
    Ok(())
}

#[tokio::test]
async fn the_server_dies_and_comes_back_with_delta_xds() -> Result<()> {
    the_server_dies_and_comes_back(Dialect::Delta, &[".cds", ".lds", ".rds.egress"]).await
}

#[tokio::test]
async fn the_server_dies_and_comes_back_with_sotw_xds() -> Result<()> {
    // A reconnecting client of this dialect does not say which named resources it holds: they are sent again.
    the_server_dies_and_comes_back(Dialect::Sotw, &[".cds", ".lds"]).await
}

/// Endpoints that were replaced while nobody watched are replaced when the server is back, and no call fails.
#[tokio::test]
async fn an_edit_made_while_the_server_was_away_is_live_when_it_is_back() -> Result<()> {
    let (mut mesh, _sidecar, client) = setting(Dialect::Delta).await?;
    let traffic = Traffic::start(&client);
    traffic.flows(100).await?;
    mesh.kill_server().await;
    let three = Backend::start("three", "v1").await?;
    mesh.manifests().write("service.yaml", &(service("echo", 80) + &endpoint_slice("echo", &three)))?;
    mesh.start_server().await?;
    let answered = || mesh.backends().iter().map(Backend::answered).sum::<u64>();
    let moved = || async {
        let before = answered();
        traffic.flows(50).await.ok()?;
        (answered() == before && three.answered() > 0).then_some(())
    };
    eventually("all calls go to the new endpoint", moved).await?;
    traffic.stop().await?.none_failed()
}

#[tokio::test]
async fn the_server_ends_when_asked_though_streams_are_open() -> Result<()> {
    let (mut mesh, _sidecar, mut client) = setting(Dialect::Delta).await?;
    mesh.stop_server().await?;
    calls(&mut client, 100, &[]).await.none_failed()
}

#[tokio::test]
async fn envoy_dies_and_gets_everything_again() -> Result<()> {
    let (mesh, sidecar, client) = setting(Dialect::Delta).await?;
    drop(client);
    let before = versions(&sidecar).await?;
    let mut sidecar = sidecar.restart(&mesh).await?;
    let mut client = sidecar.client(&host("echo")).await?;
    calls(&mut client, 100, &[]).await.none_failed()?;
    let after = versions(&sidecar).await?;
    ensure!(!before.is_empty() && before == after, "{before:?} {after:?}");
    Ok(())
}
