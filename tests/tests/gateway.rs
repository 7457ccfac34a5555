//! A gateway without TLS.

use anyhow::{Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::{Backend, Client, Mesh, Proxy, Traffic, calls, endpoint_slice, eventually};

fn gateway(port: u16) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: grpc, protocol: GRPC}}
    hosts: [echo.example]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: demo}}
spec:
  hosts: [echo.example]
  gateways: [edge]
  http:
  - headers: {{response: {{set: {{x-route: gateway}}}}}}
    route: [{{destination: {{host: echo.demo.svc.cluster.local, port: {{number: 80}}}}}}]
"
    )
}

#[tokio::test]
async fn a_gateway_routes_the_hosts_of_its_gateway_and_no_others() -> Result<()> {
    let backends = vec![Backend::start("one", "v1").await?, Backend::start("two", "v1").await?];
    let port = ReservedPort::new()?;
    let mesh = Mesh::echo(backends, &gateway(port.number())).await?;
    let mut edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let mut client = edge.client("echo.example").await?;
    edge.routed(&mut client, "gateway").await?;
    let outcomes = calls(&mut client, 200, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.servers.len() == 2, "{:?}", outcomes.servers);
    // What the mesh knows by its own name is not for those outside.
    for authority in ["echo.demo.svc.cluster.local", "other.example"] {
        let mut outside = Client::connect(edge.entry(), authority).await?;
        ensure!(calls(&mut outside, 1, &[]).await.failed == 1, "{authority} was answered");
    }
    Ok(())
}

#[tokio::test]
async fn a_gateway_that_is_there_before_its_gateway_opens_it_without_a_reconnect() -> Result<()> {
    let backends = vec![Backend::start("one", "v1").await?];
    let port = ReservedPort::new()?;
    let mesh = Mesh::echo(backends, "").await?;
    // No selector looks at labels yet, so this Envoy shares a group with gateways of any labels.
    let mut edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    mesh.manifests().write("rules.yaml", &gateway(port.number()))?;
    let mut client = edge.client("echo.example").await?;
    calls(&mut client, 20, &[]).await.none_failed()?;
    let log = mesh.log()?;
    ensure!(log.contains("the client belongs to another group"), "the stream moved:\n{log}");
    ensure!(!log.contains("the stream ends"), "the stream stayed:\n{log}");
    Ok(())
}

/// Envoy rejects a listener whose port another program has: the others stay as they are, the log names the Gateway, and
/// what is not concerned goes on changing.
#[tokio::test]
async fn a_listener_that_envoy_rejects_leaves_the_others() -> Result<()> {
    let (free, taken) = (ReservedPort::new()?, std::net::TcpListener::bind("0.0.0.0:0")?);
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &gateway(free.number())).await?;
    let mut edge = Proxy::gateway(&mesh, "edge", free.number()).await?;
    let mut client = edge.client("echo.example").await?;
    let traffic = Traffic::start(&client);
    let number = taken.local_addr()?.port();
    let second = gateway(number).replace("name: edge", "name: second").replace("name: echo", "name: second");
    mesh.manifests().write("second.yaml", &second)?;
    let line = mesh.logged(&["rejected-by-client", "Gateway demo/second"]).await?;
    ensure!(line.contains("second.yaml:1:1"), "the place of the Gateway: {line}");
    let two = Backend::start("two", "v1").await?;
    mesh.manifests().write("two.yaml", &endpoint_slice("echo", &two))?;
    eventually("a call to the new endpoint", || async { (two.answered() > 0).then_some(()) }).await?;
    calls(&mut client, 20, &[]).await.none_failed()?;
    mesh.manifests().remove("second.yaml")?;
    mesh.logged(&["solved", "rejected-by-client", "Gateway demo/second"]).await?;
    traffic.stop().await?.none_failed()
}
