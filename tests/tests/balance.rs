//! Where the calls of one connection go.

use anyhow::{Result, ensure};
use pilotage_tests::{Backend, Client, Dialect, Mesh, Outcomes, Proxy, calls, eventually, host};

const CALLS: u64 = 600;

async fn backends() -> Result<Vec<Backend>> {
    let mut backends = Vec::new();
    for id in ["one", "two", "three"] {
        backends.push(Backend::start(id, "v1").await?);
    }
    Ok(backends)
}

async fn calls_of_one_connection_reach_every_server(dialect: Dialect) -> Result<()> {
    let mesh = Mesh::echo(backends().await?, "").await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", dialect).await?;
    let mut client = sidecar.client(&format!("{}:80", host("echo"))).await?;
    let outcomes = calls(&mut client, CALLS, &[]).await;
    outcomes.none_failed()?;
    for backend in mesh.backends() {
        Outcomes::near(outcomes.server(backend.id()), 1.0 / 3.0, CALLS)?;
    }
    ensure!(client.connections() == 1, "{} connections", client.connections());
    Ok(())
}

#[tokio::test]
async fn calls_of_one_connection_reach_every_server_with_delta_xds() -> Result<()> {
    calls_of_one_connection_reach_every_server(Dialect::Delta).await
}

#[tokio::test]
async fn calls_of_one_connection_reach_every_server_with_sotw_xds() -> Result<()> {
    calls_of_one_connection_reach_every_server(Dialect::Sotw).await
}

/// The Service is known by every name that DNS would know it by in the client's namespace.
#[tokio::test]
async fn a_service_answers_to_its_short_names() -> Result<()> {
    let mesh = Mesh::echo(backends().await?, "").await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    for name in ["echo", "echo:80", "echo.demo", "echo.demo.svc", "echo.demo.svc.cluster.local"] {
        sidecar.client(name).await?;
    }
    let mut unknown = Client::connect(sidecar.entry(), "nobody.demo").await?;
    ensure!(calls(&mut unknown, 1, &[]).await.failed == 1, "an unknown host was answered");
    Ok(())
}

/// A port that declares nothing is opaque TCP: one connection, one server. The server's log says so.
#[tokio::test]
async fn an_undeclared_port_is_balanced_by_connection() -> Result<()> {
    let port = pilotage::tools::ReservedPort::new()?;
    let service = format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: demo}}
spec:
  ports:
  - {{port: {}}}
---
",
        port.number()
    );
    let backends = backends().await?;
    let slices: String = backends
        .iter()
        .map(|backend| pilotage_tests::endpoint_slice("echo", backend).replace("name: grpc, ", ""))
        .collect();
    let mesh = Mesh::start(&[("echo.yaml", &(service + &slices))]).await?;
    let sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let connect = || async { Client::connect(port.address(), "anything").await.ok() };
    for _ in 0..5 {
        let mut client = eventually("a connection through the port", connect).await?;
        let outcomes = calls(&mut client, 50, &[]).await;
        outcomes.none_failed()?;
        ensure!(outcomes.servers.len() == 1, "{:?}", outcomes.servers);
    }
    mesh.logged(&["undeclared-port", "Service demo/echo"]).await?;
    drop(sidecar);
    Ok(())
}
