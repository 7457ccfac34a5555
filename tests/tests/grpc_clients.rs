//! gRPC clients of other implementations, through a sidecar and proxyless.

use anyhow::{Result, ensure};
use pilotage_tests::{Backend, Caller, Dialect, GrpcClient, Mesh, Outcomes, Proxy, XdsClient, routing};

#[tokio::test]
async fn the_python_client_itself_works() -> Result<()> {
    let backend = Backend::start("one", "v1").await?;
    let mut client = GrpcClient::plain(backend.address(), "echo.demo").await?;
    client.first_call().await?;
    let outcomes = client.calls(10, &[("x-client", "test")]).await?;
    outcomes.none_failed()?;
    assert_eq!((outcomes.server("one"), outcomes.version("v1")), (10, 10));
    assert_eq!(backend.answered(), 11);
    Ok(())
}

const RULES: &str = "  - match: [{headers: {x-client: {exact: test}}}]
    route: [{destination: {host: echo.demo.svc.cluster.local, subset: v2}}]
  - route:
    - {destination: {host: echo.demo.svc.cluster.local, subset: v1}, weight: 80}
    - {destination: {host: echo.demo.svc.cluster.local, subset: v2}, weight: 20}
";

const CALLS: u64 = 500;

async fn backends() -> Result<Vec<Backend>> {
    let mut backends = Vec::new();
    for (id, version) in [("a", "v1"), ("b", "v1"), ("c", "v2")] {
        backends.push(Backend::start(id, version).await?);
    }
    Ok(backends)
}

/// The routes hold for `client`, however they reach it.
async fn is_routed(client: &mut impl Caller) -> Result<()> {
    client.first_call().await?;
    let canary = client.calls(CALLS, &[]).await?;
    canary.none_failed()?;
    Outcomes::near(canary.version("v2"), 0.2, CALLS)?;
    ensure!(canary.server("a") > 0 && canary.server("b") > 0, "{:?}", canary.servers);
    let tester = client.calls(50, &[("x-client", "test")]).await?;
    tester.none_failed()?;
    ensure!(tester.version("v2") == 50, "{:?}", tester.versions);
    Ok(())
}

#[tokio::test]
async fn python_through_a_sidecar_is_routed() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, &routing(RULES)).await?;
    let sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    is_routed(&mut GrpcClient::plain(sidecar.entry(), "echo.demo.svc.cluster.local:80").await?).await
}

/// No Envoy is started: the client is told what an Envoy would be told, in the form that it understands.
#[tokio::test]
async fn python_as_a_proxyless_client_is_routed() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, &routing(RULES)).await?;
    is_routed(&mut GrpcClient::proxyless(&mesh, "client", "echo.demo.svc.cluster.local:80").await?).await
}

#[tokio::test]
async fn rust_as_a_proxyless_client_is_routed() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, &routing(RULES)).await?;
    is_routed(&mut XdsClient::proxyless(&mesh, "client", "echo.demo.svc.cluster.local:80").await?).await
}

/// A proxyless client follows an edit, too: no call fails, and in the end all go where the edit says.
async fn follows_an_edit(mesh: &Mesh, client: &mut impl Caller) -> Result<()> {
    client.first_call().await?;
    let edited = routing(RULES).replace("weight: 80", "weight: 0").replace("weight: 20", "weight: 100");
    mesh.manifests().write("rules.yaml", &edited)?;
    for _ in 0..1000 {
        let outcomes = client.calls(20, &[]).await?;
        outcomes.none_failed()?;
        if outcomes.version("v2") == 20 {
            return Ok(());
        }
    }
    anyhow::bail!("the client still uses the old weights")
}

#[tokio::test]
async fn python_as_a_proxyless_client_follows_an_edit() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, &routing(RULES)).await?;
    let mut client = GrpcClient::proxyless(&mesh, "client", "echo.demo.svc.cluster.local:80").await?;
    follows_an_edit(&mesh, &mut client).await
}

#[tokio::test]
async fn rust_as_a_proxyless_client_follows_an_edit() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, &routing(RULES)).await?;
    let mut client = XdsClient::proxyless(&mesh, "client", "echo.demo.svc.cluster.local:80").await?;
    follows_an_edit(&mesh, &mut client).await
}
