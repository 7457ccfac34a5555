//! Everything changes while calls run, and no call fails: a real Envoy, without retries, in both dialects.
//!
//! Each dialect has one stage, on which the drills follow one another under a load that never stops; each prints what
//! was called meanwhile, and fails if that was too little to show anything.

mod drills {
    pub(crate) mod load;
    pub(crate) mod stage;
}

use std::net::Ipv6Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use drills::stage::{AFTERMATH, Called, Stage, plain};
use pilotage_tests::{Backend, Dialect, endpoint_slice, eventually, host, service};
use tokio::time::interval;

#[tokio::test]
async fn nothing_fails_with_delta_xds() -> Result<()> {
    all(Dialect::Delta).await
}

#[tokio::test]
async fn nothing_fails_with_sotw_xds() -> Result<()> {
    all(Dialect::Sotw).await
}

async fn all(dialect: Dialect) -> Result<()> {
    let mut stage = Stage::start(dialect).await?;
    stage.drill("a route is edited", routes_are_edited).await?;
    stage.drill("subsets are swapped", subsets_are_swapped).await?;
    stage.drill("a cluster is renamed", a_cluster_is_renamed).await?;
    stage.drill("a listener changes", a_listener_changes).await?;
    stage.drill("endpoints change fifty times a second", endpoints_churn).await?;
    stage.drill("a backend is replaced", a_backend_is_replaced).await?;
    stage.drill("the server dies and comes back", the_server_dies_and_comes_back).await?;
    stage.drill("the connection is cut", the_connection_is_cut).await?;
    stage.drill("one resource among good ones is rejected", one_resource_is_rejected).await?;
    stage.drill("a route moves to hosts of DNS", a_route_moves_to_hosts_of_dns).await?;
    stage.end().await
}

async fn routes_are_edited(stage: &mut Stage) -> Result<()> {
    for _ in 0..20 {
        stage.edit(|_| String::new(), &plain("echo")).await?;
    }
    Ok(())
}

/// The subsets of the Service `echo` under these names, and a route to both.
fn subsets(v1: &str, v2: &str) -> (String, String) {
    let host = host("echo");
    let rule = format!(
        "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: demo}}
spec:
  host: {host}
  subsets:
  - {{name: {v1}, labels: {{version: v1}}}}
  - {{name: {v2}, labels: {{version: v2}}}}
---
"
    );
    let route = |subset| format!("    - {{destination: {{host: {host}, subset: {subset}}}, weight: 50}}\n");
    (rule, route(v1) + &route(v2))
}

/// The same endpoints under other subset names: all of their clusters are new, and the old ones go.
async fn subsets_are_swapped(stage: &mut Stage) -> Result<()> {
    for _ in 0..5 {
        for (v1, v2) in [("blue", "green"), ("green", "blue"), ("v1", "v2")] {
            let (rule, routes) = subsets(v1, v2);
            stage.edit(|_| rule, &routes).await?;
        }
    }
    stage.edit(|_| String::new(), &plain("echo")).await
}

/// A Service goes, and one of another name comes with the same endpoints, in the same edit.
async fn a_cluster_is_renamed(stage: &mut Stage) -> Result<()> {
    for _ in 0..5 {
        for name in ["echo-a", "echo-b"] {
            let slices: String = stage.backends.iter().map(|backend| endpoint_slice(name, backend)).collect();
            stage.edit(|_| service(name, 80) + &slices, &plain(name)).await?;
        }
    }
    stage.edit(|_| String::new(), &plain("echo")).await
}

/// Another format of the access log changes the filter chains of the listener, and Envoy drains the connections of the
/// old ones.
async fn a_listener_changes(stage: &mut Stage) -> Result<()> {
    for provider in ["text", "json", "text", "json"] {
        let before = listener(stage).await?;
        let telemetry = format!(
            "\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: logs, namespace: demo}}
spec: {{accessLogging: [{{providers: [{{name: {provider}}}]}}]}}
"
        );
        stage.mesh.manifests().write("telemetry.yaml", &telemetry)?;
        let changed = || async { (listener(stage).await.ok()? != before).then_some(()) };
        eventually(&format!("the listener with the access log {provider}"), changed).await?;
        stage.more_calls(2 * AFTERMATH).await?;
    }
    Ok(())
}

/// The listener that Envoy takes connections with. Of one whose filter chains alone have changed, Envoy tells the
/// version from before, so that only the content shows the change.
async fn listener(stage: &Stage) -> Result<serde_json::Value> {
    let dump = stage.sidecar.dump(".ListenersConfigDump").await?;
    let listeners = dump["dynamic_listeners"].as_array().context("dynamic listeners")?;
    let active = listeners.iter().find_map(|one| one["active_state"].get("listener"));
    active.cloned().context("an active listener")
}

/// Endpoints come and go at that pace; in the end Envoy has those that there are.
async fn endpoints_churn(stage: &mut Stage) -> Result<()> {
    const EDITS: usize = 200;
    let mut backends = Vec::new();
    for id in ["churn-a", "churn-b", "churn-c"] {
        backends.push(Backend::start(id, "v1").await?);
    }
    let manifests = stage.mesh.manifests();
    let mut ticks = interval(Duration::from_millis(20));
    for edit in 0..EDITS {
        ticks.tick().await;
        let backend = &backends[edit % backends.len()];
        let file = format!("{}.yaml", backend.id());
        if (edit / backends.len()).is_multiple_of(2) {
            manifests.write(&file, &endpoint_slice("echo", backend))?;
        } else {
            manifests.remove(&file)?;
        }
    }
    // The last edits were removals and additions by turns.
    let last: Vec<Called> = (0..backends.len())
        .map(|index| {
            let edit = (0..EDITS).rev().find(|edit| edit % backends.len() == index).unwrap_or_default();
            if (edit / backends.len()).is_multiple_of(2) { Called::Yes } else { Called::No }
        })
        .collect();
    ensure!(last.contains(&Called::Yes) && last.contains(&Called::No), "{last:?}");
    for (backend, called) in backends.iter().zip(last) {
        ensure!(backend.answered() > 0, "{} was never called", backend.id());
        stage.is_called(backend, called).await?;
        if called == Called::Yes {
            manifests.remove(&format!("{}.yaml", backend.id()))?;
        }
    }
    for backend in &backends {
        stage.is_called(backend, Called::No).await?;
    }
    Ok(())
}

/// The new one is there before the old one drains; that one stops when no call reaches it any more.
async fn a_backend_is_replaced(stage: &mut Stage) -> Result<()> {
    for generation in 0..4 {
        let new = Backend::start(&format!("new-{generation}"), "v1").await?;
        let files = |backend: &Backend| format!("replaced-{}.yaml", backend.id());
        stage.mesh.manifests().write(&files(&new), &endpoint_slice("echo", &new))?;
        stage.is_called(&new, Called::Yes).await?;
        let next = Backend::start(&format!("next-{generation}"), "v1").await?;
        stage.mesh.manifests().write(&files(&next), &endpoint_slice("echo", &next))?;
        stage.is_called(&next, Called::Yes).await?;
        let draining = endpoint_slice("echo", &new).replace(
            "conditions: {ready: true}",
            "conditions: {ready: false, serving: true, terminating: true}",
        );
        stage.mesh.manifests().write(&files(&new), &draining)?;
        stage.is_called(&new, Called::No).await?;
        drop(new);
        stage.mesh.manifests().remove(&format!("replaced-new-{generation}.yaml"))?;
        stage.more_calls(50).await?;
        stage.mesh.manifests().remove(&files(&next))?;
        stage.is_called(&next, Called::No).await?;
    }
    Ok(())
}

/// What is edited while it is away is live when it is back.
async fn the_server_dies_and_comes_back(stage: &mut Stage) -> Result<()> {
    for _ in 0..2 {
        stage.mesh.kill_server().await;
        stage.more_calls(AFTERMATH).await?;
        let (rule, routes) = subsets("while", "away");
        let mark = stage.write(|_| rule, &routes)?;
        stage.mesh.start_server().await?;
        stage.is_live(&mark).await?;
        if stage.dialect == Dialect::Delta {
            // The clusters that calls go to are taken away. Only delta clients tell a new server what they have: in
            // SotW its first list of clusters ends those before the routes have changed.
            stage.mesh.kill_server().await;
            let mark = stage.write(|_| String::new(), &plain("echo"))?;
            stage.mesh.start_server().await?;
            stage.is_live(&mark).await?;
        } else {
            stage.edit(|_| String::new(), &plain("echo")).await?;
        }
    }
    Ok(())
}

/// What is edited while nobody hears of it is live when the network is back.
async fn the_connection_is_cut(stage: &mut Stage) -> Result<()> {
    for _ in 0..3 {
        stage.relay.cut();
        let (rule, routes) = subsets("while", "cut");
        let mark = stage.write(|_| rule, &routes)?;
        stage.more_calls(AFTERMATH).await?;
        stage.relay.mend();
        stage.is_live(&mark).await?;
        // This time in the middle of an edit, which takes away the clusters that calls go to.
        let mark = stage.write(|_| String::new(), &plain("echo"))?;
        stage.relay.cut();
        stage.more_calls(AFTERMATH).await?;
        stage.relay.mend();
        stage.is_live(&mark).await?;
    }
    Ok(())
}

/// Envoy rejects one cluster of an edit; everything else of that edit is live, and the object is told.
async fn one_resource_is_rejected(stage: &mut Stage) -> Result<()> {
    for name in ["rejected-a", "rejected-b"] {
        // A cluster that does not say where its endpoints come from.
        let bad = format!(
            "\
apiVersion: pilotage.dev/v1alpha1
kind: EnvoyResources
metadata: {{name: {name}, namespace: demo}}
spec:
  resources:
  - {{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: {name}, type: EDS}}
---
"
        );
        let (rule, routes) = subsets("beside", name);
        stage.edit(|_| bad + &rule, &routes).await?;
        stage.mesh.logged(&["rejected-by-client", name]).await?;
        stage.edit(|_| String::new(), &plain("echo")).await?;
    }
    Ok(())
}

/// Hosts that Envoy resolves by DNS come with the route to them, and go with it. Envoy acknowledges such a cluster when
/// its name has been looked up, so that the route waits for that as it does for endpoints.
async fn a_route_moves_to_hosts_of_dns(stage: &mut Stage) -> Result<()> {
    // The name of this machine has addresses of both families.
    let any = (Ipv6Addr::UNSPECIFIED, 0).into();
    let backends = [Backend::start_on(any, "six", "v1").await?, Backend::start_on(any, "seven", "v1").await?];
    for round in 0..3 {
        for name in ["dns-a", "dns-b"] {
            let endpoint = |backend: &Backend| {
                let port = backend.address().port();
                format!("  - {{address: localhost, ports: {{grpc: {port}}}}}\n")
            };
            let endpoints: String = backends.iter().map(endpoint).collect();
            let hosts = format!(
                "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: demo}}
spec:
  hosts: [{name}-{round}.example]
  location: MESH_INTERNAL
  resolution: DNS
  ports: [{{name: grpc, number: 80, protocol: GRPC}}]
  endpoints:
{endpoints}---
"
            );
            let route = format!("    - {{destination: {{host: {name}-{round}.example}}}}\n");
            stage.edit(|_| hosts, &route).await?;
        }
    }
    stage.edit(|_| String::new(), &plain("echo")).await?;
    // The backends may go when nothing is under way to them.
    stage.more_calls(AFTERMATH).await
}
