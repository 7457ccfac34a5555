//! The configuration changes while calls run, and none of them fails.

use anyhow::{Result, ensure};
use pilotage_tests::{
    Backend, Client, Dialect, Mesh, Outcomes, Proxy, Traffic, calls, endpoint_slice, eventually, host,
    routing, service,
};

fn routes(mark: &str, v1: &str, v2: &str) -> String {
    routing(&format!(
        "  - headers: {{response: {{set: {{x-route: {mark}}}}}}}
    route:
    - {{destination: {{host: echo.demo.svc.cluster.local, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: echo.demo.svc.cluster.local, subset: v2}}, weight: {v2}}}
"
    ))
}

async fn two_versions() -> Result<Vec<Backend>> {
    Ok(vec![Backend::start("one", "v1").await?, Backend::start("two", "v2").await?])
}

async fn sidecar_and_client(mesh: &Mesh, dialect: Dialect) -> Result<(Proxy, Client)> {
    let mut sidecar = Proxy::sidecar(mesh, "sidecar", dialect).await?;
    let client = sidecar.client(&host("echo")).await?;
    Ok((sidecar, client))
}

async fn an_edited_weight_shifts_calls(dialect: Dialect) -> Result<()> {
    let mesh = Mesh::echo(two_versions().await?, &routes("first", "100", "0")).await?;
    let (sidecar, mut client) = sidecar_and_client(&mesh, dialect).await?;
    let traffic = Traffic::start(&client);
    traffic.flows(100).await?;
    for (edition, v1, v2) in [("second", "50", "50"), ("third", "0", "100"), ("fourth", "70", "30")] {
        mesh.manifests().write("rules.yaml", &routes(edition, v1, v2))?;
        sidecar.routed(&mut client, edition).await?;
    }
    let measured = calls(&mut client, 1000, &[]).await;
    measured.none_failed()?;
    Outcomes::near(measured.version("v2"), 0.3, 1000)?;
    let outcomes = traffic.stop().await?;
    outcomes.none_failed()?;
    ensure!(outcomes.version("v1") > 0 && outcomes.version("v2") > 0, "{:?}", outcomes.versions);
    Ok(())
}

#[tokio::test]
async fn an_edited_weight_shifts_calls_with_delta_xds() -> Result<()> {
    an_edited_weight_shifts_calls(Dialect::Delta).await
}

#[tokio::test]
async fn an_edited_weight_shifts_calls_with_sotw_xds() -> Result<()> {
    an_edited_weight_shifts_calls(Dialect::Sotw).await
}

/// A cluster that appears together with the route to it must be there first, and must stay until no route needs it.
#[tokio::test]
async fn subsets_come_and_go_with_the_routes_that_use_them() -> Result<()> {
    let plain = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo, namespace: demo}
spec:
  hosts: [echo.demo.svc.cluster.local]
  http:
  - headers: {response: {set: {x-route: plain}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
";
    let mesh = Mesh::echo(two_versions().await?, plain).await?;
    let (sidecar, mut client) = sidecar_and_client(&mesh, Dialect::Delta).await?;
    let traffic = Traffic::start(&client);
    for _ in 0..5 {
        mesh.manifests().write("rules.yaml", &routes("subsets", "50", "50"))?;
        sidecar.routed(&mut client, "subsets").await?;
        traffic.flows(50).await?;
        mesh.manifests().write("rules.yaml", plain)?;
        sidecar.routed(&mut client, "plain").await?;
        traffic.flows(50).await?;
    }
    traffic.stop().await?.none_failed()
}

/// Endpoints are added under load, then the first is taken away; calls follow.
#[tokio::test]
async fn endpoints_come_and_go() -> Result<()> {
    let (one, two) = (Backend::start("one", "v1").await?, Backend::start("two", "v2").await?);
    let mesh =
        Mesh::start(&[("service.yaml", &service("echo", 80)), ("one.yaml", &endpoint_slice("echo", &one))])
            .await?;
    let (_sidecar, client) = sidecar_and_client(&mesh, Dialect::Delta).await?;
    let traffic = Traffic::start(&client);
    traffic.flows(50).await?;
    mesh.manifests().write("two.yaml", &endpoint_slice("echo", &two))?;
    eventually("a call to the new endpoint", || async { (two.answered() > 0).then_some(()) }).await?;
    mesh.manifests().remove("one.yaml")?;
    let moved = || async {
        let before = one.answered();
        traffic.flows(50).await.ok()?;
        (one.answered() == before).then_some(())
    };
    eventually("no call to the old endpoint", moved).await?;
    traffic.stop().await?.none_failed()
}

/// A broken file changes nothing but the log, and the repaired one is read.
#[tokio::test]
async fn a_broken_file_leaves_the_last_good_configuration() -> Result<()> {
    let mesh = Mesh::echo(two_versions().await?, &routes("good", "0", "100")).await?;
    let (sidecar, mut client) = sidecar_and_client(&mesh, Dialect::Delta).await?;
    let traffic = Traffic::start(&client);
    mesh.manifests().write("rules.yaml", &routes("broken", "many", "0"))?;
    mesh.logged(&["error[wrong-type]", "rules.yaml:18:", "spec.http[0].route[0].weight"]).await?;
    // The rest of the folder is still live.
    let three = Backend::start("three", "v2").await?;
    mesh.manifests().write("three.yaml", &endpoint_slice("echo", &three))?;
    eventually("a call to the new endpoint", || async { (three.answered() > 0).then_some(()) }).await?;
    let outcomes = calls(&mut client, 50, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.version("v2") == 50, "{:?}", outcomes.versions);
    mesh.manifests().write("rules.yaml", &routes("repaired", "100", "0"))?;
    sidecar.routed(&mut client, "repaired").await?;
    traffic.stop().await?.none_failed()
}
