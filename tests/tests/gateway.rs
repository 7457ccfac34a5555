//! A gateway without TLS.

use anyhow::{Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::{Backend, Client, Mesh, Proxy, calls};

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
