//! What is made to go wrong on purpose, and copies of calls.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use pilotage_tests::{Backend, Dialect, Mesh, Outcomes, Proxy, calls, eventually, host, routing};
use tonic::Code;

const RULES: &str = "  - match: [{headers: {x-fault: {exact: delay}}}]
    fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - match: [{headers: {x-fault: {exact: denied}}}]
    fault: {abort: {grpcStatus: PERMISSION_DENIED, percentage: {value: 100}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - match: [{headers: {x-fault: {exact: http}}}]
    fault: {abort: {httpStatus: 503, percentage: {value: 100}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - match: [{headers: {x-fault: {exact: some}}}]
    fault: {abort: {grpcStatus: ABORTED, percentage: {value: 25}}}
    route: [{destination: {host: echo.demo.svc.cluster.local}}]
  - route: [{destination: {host: echo.demo.svc.cluster.local}}]
";

#[tokio::test]
async fn calls_are_delayed_and_aborted_as_it_is_written() -> Result<()> {
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &routing(RULES)).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let mut client = sidecar.client(&host("echo")).await?;
    let start = Instant::now();
    client.call(&[("x-fault", "delay")]).await?;
    // Envoy's timers count from when its loop woke up, which may be a little before the call came.
    ensure!(start.elapsed() >= Duration::from_millis(250), "the call took {:?}", start.elapsed());
    let before = mesh.backends()[0].answered();
    for (fault, code) in [("denied", Code::PermissionDenied), ("http", Code::Unavailable)] {
        let failure = client.call(&[("x-fault", fault)]).await.err().map(|error| error.code());
        ensure!(failure == Some(code), "{fault}: {failure:?}");
    }
    ensure!(mesh.backends()[0].answered() == before, "an aborted call reaches no server");
    let outcomes = calls(&mut client, 400, &[("x-fault", "some")]).await;
    Outcomes::near(outcomes.failed, 0.25, 400)?;
    calls(&mut client, 20, &[]).await.none_failed()
}

/// Nobody waits for the answers to copies, and a share of the calls is copied.
#[tokio::test]
async fn a_share_of_the_calls_is_copied_and_every_answer_is_the_original() -> Result<()> {
    let rules = "  - route: [{destination: {host: echo.demo.svc.cluster.local, subset: v1}}]
    mirror: {host: echo.demo.svc.cluster.local, subset: v2}
    mirrorPercentage: {value: 50}
";
    let backends = vec![Backend::start("live", "v1").await?, Backend::start("shadow", "v2").await?];
    let mesh = Mesh::echo(backends, &routing(rules)).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let mut client = sidecar.client(&host("echo")).await?;
    let shadow = &mesh.backends()[1];
    let before = shadow.answered();
    let outcomes = calls(&mut client, 400, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.server("live") == 400, "{outcomes:?}");
    // Copies are on their way while the originals are answered.
    let copied = || async { Outcomes::near(shadow.answered() - before, 0.5, 400).ok() };
    eventually("half of the calls as copies", copied).await
}
