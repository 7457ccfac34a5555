//! Weights, headers and retries.

use anyhow::{Result, ensure};
use pilotage_tests::{Backend, Behaviour, Client, Dialect, Mesh, Outcomes, Proxy, calls, host, routing};

const CALLS: u64 = 1000;

struct Setting {
    mesh: Mesh,
    sidecar: Proxy,
    client: Client,
}

/// Three servers of v1 and one of v2, with `http` as the rules of the VirtualService.
async fn with_rules(http: &str) -> Result<Setting> {
    let mut backends = Vec::new();
    for (id, version) in [("a", "v1"), ("b", "v1"), ("c", "v1"), ("d", "v2")] {
        backends.push(Backend::start(id, version).await?);
    }
    let mesh = Mesh::echo(backends, &routing(http)).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let client = sidecar.client(&host("echo")).await?;
    Ok(Setting { mesh, sidecar, client })
}

#[tokio::test]
async fn weights_divide_calls_whatever_the_number_of_servers() -> Result<()> {
    let rules = "  - route:
    - {destination: {host: echo.demo.svc.cluster.local, subset: v1}, weight: 20}
    - {destination: {host: echo.demo.svc.cluster.local, subset: v2}, weight: 80}
";
    let mut setting = with_rules(rules).await?;
    let outcomes = calls(&mut setting.client, CALLS, &[]).await;
    outcomes.none_failed()?;
    Outcomes::near(outcomes.version("v2"), 0.8, CALLS)
}

#[tokio::test]
async fn a_header_chooses_the_version() -> Result<()> {
    let rules = "  - match: [{headers: {x-client: {exact: test}}}]
    route: [{destination: {host: echo.demo.svc.cluster.local, subset: v2}}]
  - route: [{destination: {host: echo.demo.svc.cluster.local, subset: v1}}]
";
    let mut setting = with_rules(rules).await?;
    let client = &mut setting.client;
    for (headers, version) in [
        (&[("x-client", "test")][..], "v2"),
        (&[("x-client", "testing")][..], "v1"),
        (&[("x-other", "test")][..], "v1"),
        (&[][..], "v1"),
    ] {
        let outcomes = calls(client, 50, headers).await;
        outcomes.none_failed()?;
        ensure!(outcomes.version(version) == 50, "{headers:?}: {:?}", outcomes.versions);
    }
    Ok(())
}

#[tokio::test]
async fn retries_hide_a_server_that_answers_unavailable() -> Result<()> {
    let rules = "  - route: [{destination: {host: echo.demo.svc.cluster.local, subset: v1}}]
    retries: {attempts: 4, retryOn: unavailable}
";
    let mut setting = with_rules(rules).await?;
    setting.mesh.backends()[0].behave(Behaviour::Unavailable);
    let outcomes = calls(&mut setting.client, 300, &[]).await;
    outcomes.none_failed()?;
    let refused = setting.mesh.backends()[0].refused();
    ensure!(refused > 0 && outcomes.server("a") == 0, "refused {refused}, {:?}", outcomes.servers);
    let cluster = "cluster.outbound|80|v1|echo.demo.svc.cluster.local.";
    let stats = setting.sidecar.envoy().stats(cluster).await?;
    ensure!(stats[&format!("{cluster}upstream_rq_retry")] == refused, "{refused} refused, {stats:?}");
    Ok(())
}

/// What is not asked for is not retried: `UNAVAILABLE` may come after the application has begun its work.
#[tokio::test]
async fn without_retries_an_unavailable_answer_reaches_the_client() -> Result<()> {
    let rules = "  - route: [{destination: {host: echo.demo.svc.cluster.local, subset: v1}}]\n";
    let mut setting = with_rules(rules).await?;
    setting.mesh.backends()[0].behave(Behaviour::Unavailable);
    let outcomes = calls(&mut setting.client, 300, &[]).await;
    let refused = setting.mesh.backends()[0].refused();
    ensure!(refused > 0 && outcomes.failed == refused, "{refused} refused, {} failed", outcomes.failed);
    Ok(())
}
