//! A gRPC client that speaks xDS itself, of another implementation than ours: what it makes of faults and of names.

use anyhow::{Result, ensure};
use pilotage_tests::{Backend, Caller, GrpcClient, Mesh, Outcomes, routing};

#[tokio::test]
async fn a_proxyless_client_aborts_the_share_of_calls_that_is_written() -> Result<()> {
    let rules = "  - match: [{headers: {x-fault: {exact: all}}}]
    fault: {abort: {grpcStatus: PERMISSION_DENIED, percentage: {value: 100}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - match: [{headers: {x-fault: {exact: some}}}]
    fault: {abort: {grpcStatus: ABORTED, percentage: {value: 25}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - route: [{destination: {host: echo.demo.svc.cluster.local}}]
";
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &routing(rules)).await?;
    let mut client = GrpcClient::proxyless(&mesh, "client", "echo.demo.svc.cluster.local:80").await?;
    client.first_call().await?;
    let before = mesh.backends()[0].answered();
    let aborted = client.calls(20, &[("x-fault", "all")]).await?;
    let failure = aborted.first_failure.map(|(_, why)| why).unwrap_or_default();
    ensure!(aborted.failed == 20 && failure.contains("PERMISSION_DENIED"), "{failure}");
    ensure!(mesh.backends()[0].answered() == before, "an aborted call reaches no server");
    let some = client.calls(400, &[("x-fault", "some")]).await?;
    Outcomes::near(some.failed, 0.25, 400)?;
    client.calls(20, &[]).await?.none_failed()
}

/// One name is resolved by the client itself; a host of several is a problem, since no client of this kind has that.
#[tokio::test]
async fn a_proxyless_client_resolves_the_name_of_a_host() -> Result<()> {
    let backend = Backend::start("one", "v1").await?;
    let world = format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: named, namespace: demo}}
spec:
  hosts: [named.example]
  resolution: DNS
  ports: [{{number: 80, name: grpc, protocol: GRPC, targetPort: {}}}]
  endpoints: [{{address: localhost}}]
",
        backend.address().port()
    );
    let mesh = Mesh::start(&[("world.yaml", &world)]).await?;
    let mut client = GrpcClient::proxyless(&mesh, "client", "named.example:80").await?;
    client.first_call().await?;
    let outcomes = client.calls(20, &[]).await?;
    outcomes.none_failed()?;
    ensure!(outcomes.server("one") == 20, "{outcomes:?}");
    Ok(())
}
