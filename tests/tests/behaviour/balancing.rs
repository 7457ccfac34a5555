//! Which server a call reaches: by a hash of what it carries, near before far, and in the own zone as far as that is fair.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use pilotage_tests::{Backend, Behaviour, Dialect, Mesh, Proxy, calls, host, until_left_out};

fn policy(policy: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: demo}}
spec:
  host: echo.demo.svc.cluster.local
  trafficPolicy: {policy}
---
"
    )
}

#[tokio::test]
async fn calls_with_one_key_stay_with_one_server_and_keys_are_spread() -> Result<()> {
    for table in ["ringHash: {minimumRingSize: 1024}", "maglev: {tableSize: 1009}"] {
        let mut backends = Vec::new();
        for id in ["a", "b", "c", "d", "e"] {
            backends.push(Backend::start(id, "v1").await?);
        }
        let hash = format!("{{loadBalancer: {{consistentHash: {{httpHeaderName: x-user, {table}}}}}}}");
        let mesh = Mesh::echo(backends, &policy(&hash)).await?;
        let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
        let mut client = sidecar.client(&host("echo")).await?;
        let mut used = BTreeSet::new();
        for user in 0..25 {
            let outcomes = calls(&mut client, 10, &[("x-user", &format!("user-{user}"))]).await;
            outcomes.none_failed()?;
            ensure!(
                outcomes.servers.len() == 1,
                "{table}: user-{user} is answered by {:?}",
                outcomes.servers
            );
            used.extend(outcomes.servers.into_keys());
        }
        ensure!(used.len() >= 4, "{table}: 25 users stay with {used:?}");
    }
    Ok(())
}

fn slice(backend: &Backend, region: &str, zone: &str) -> String {
    format!(
        "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-{id}
  namespace: demo
  labels: {{kubernetes.io/service-name: echo, topology.kubernetes.io/region: {region}}}
addressType: IPv4
ports: [{{name: grpc, port: {port}}}]
endpoints: [{{addresses: [\"{ip}\"], zone: {zone}, conditions: {{ready: true}}}}]
---
",
        id = backend.id(),
        port = backend.address().port(),
        ip = backend.address().ip(),
    )
}

#[tokio::test]
async fn calls_go_to_the_next_zone_and_region_as_nearer_servers_fail() -> Result<()> {
    let places = [("zone", "eu", "one"), ("region", "eu", "two"), ("far", "us", "one")];
    let mut backends = Vec::new();
    let mut world = pilotage_tests::service("echo", 80);
    for (id, region, zone) in places {
        let backend = Backend::start(id, "v1").await?;
        world += &slice(&backend, region, zone);
        backends.push(backend);
    }
    let detection =
        "{consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 300s, maxEjectionPercent: 100}";
    world += &policy(&format!("{{outlierDetection: {detection}}}"));
    let mesh = Mesh::start(&[("world.yaml", &world)]).await?;
    let mut sidecar = Proxy::sidecar_in(&mesh, "sidecar", "eu/one").await?;
    let mut client = sidecar.client(&host("echo")).await?;
    for (index, (id, _, _)) in places.into_iter().enumerate() {
        let outcomes = calls(&mut client, 50, &[]).await;
        outcomes.none_failed()?;
        ensure!(outcomes.server(id) == 50, "{:?} in place of {id}", outcomes.servers);
        let failing = backends.get(index).context("a backend for each place")?;
        failing.behave(Behaviour::Unavailable);
        if index + 1 < places.len() {
            let failed = until_left_out(&mut client).await?;
            ensure!(failed >= 2, "{id} was left out after {failed} failures");
        }
    }
    Ok(())
}

/// A slice of the callers' own Service, with an endpoint that nobody calls.
fn own_slice(zone: &str, ip: &str) -> String {
    format!(
        "\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: shop-{zone}
  namespace: demo
  labels: {{kubernetes.io/service-name: shop, topology.kubernetes.io/region: eu}}
addressType: IPv4
ports: [{{name: grpc, port: 80}}]
endpoints: [{{addresses: [\"{ip}\"], zone: {zone}, conditions: {{ready: true}}}}]
---
"
    )
}

/// The servers in each zone, and the calls of a sidecar in zone `one` to each of them.
async fn of_zones(own_service: &[&str]) -> Result<Vec<(String, u64)>> {
    let mut world = pilotage_tests::service("echo", 80) + &pilotage_tests::service("shop", 80);
    world += &(own_slice("one", "192.0.2.1") + &own_slice("two", "192.0.2.2"));
    world += &policy("{loadBalancer: {zoneAwareLbSetting: {enabled: true, minClusterSize: 1}}}");
    let places = [("one-a", "one"), ("one-b", "one"), ("two-a", "two"), ("two-b", "two")];
    let mut backends = Vec::new();
    for (id, zone) in places {
        let backend = Backend::start(id, "v1").await?;
        world += &slice(&backend, "eu", zone);
        backends.push(backend);
    }
    let mesh = Mesh::start(&[("world.yaml", &world)]).await?;
    let arguments = [&["--locality", "eu/one"], own_service].concat();
    let mut sidecar = Proxy::sidecar_with(&mesh, "sidecar", Dialect::Delta, &arguments).await?;
    let mut client = sidecar.client(&host("echo")).await?;
    let outcomes = calls(&mut client, 200, &[]).await;
    outcomes.none_failed()?;
    Ok(places.map(|(id, _)| (id.to_owned(), outcomes.server(id))).into())
}

#[tokio::test]
async fn a_sidecar_that_knows_its_own_zones_calls_its_own_zone() -> Result<()> {
    // Half of the callers and half of the servers are in zone one: it can serve all that comes from there.
    let aware = of_zones(&["--own-service", "shop:80"]).await?;
    ensure!(aware.iter().all(|(id, count)| (*count > 0) == id.starts_with("one")), "{aware:?}");
    let unaware = of_zones(&[]).await?;
    ensure!(unaware.iter().all(|(_, count)| *count > 0), "{unaware:?}");
    Ok(())
}
