//! Retries by status and their number, tries that take too long, and servers that fail too often.

use anyhow::{Result, ensure};
use pilotage_tests::{
    Backend, Behaviour, Client, Dialect, Mesh, Proxy, calls, host, routing, until_left_out,
};
use tonic::Code;

const CLUSTER: &str = "cluster.outbound|80||echo.demo.svc.cluster.local.";

async fn setting(ids: &[&str], rules: &str) -> Result<(Mesh, Proxy, Client)> {
    let mut backends = Vec::new();
    for id in ids {
        backends.push(Backend::start(id, "v1").await?);
    }
    let mesh = Mesh::echo(backends, rules).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let client = sidecar.client(&host("echo")).await?;
    Ok((mesh, sidecar, client))
}

fn retried(retries: &str) -> String {
    let route = "{destination: {host: echo.demo.svc.cluster.local}}";
    routing(&format!("  - route: [{route}]\n    retries: {retries}\n"))
}

/// `attempts: 3` is up to four calls, of each status that is asked for, and one of every other.
#[tokio::test]
async fn each_status_is_retried_as_often_as_it_is_asked_for() -> Result<()> {
    let statuses = [
        (Code::Cancelled, "cancelled"),
        (Code::DeadlineExceeded, "deadline-exceeded"),
        (Code::Internal, "internal"),
        (Code::ResourceExhausted, "resource-exhausted"),
        (Code::Unavailable, "unavailable"),
    ];
    let (mesh, sidecar, mut client) = setting(&["one"], "").await?;
    let backend = &mesh.backends()[0];
    for (asked, word) in statuses {
        backend.behave(Behaviour::Answer);
        let rules = retried(&format!("{{attempts: 3, retryOn: {word}, backoff: 1ms}}"));
        let marked = rules.replace(
            "    retries:",
            &format!("    headers: {{response: {{set: {{x-route: {word}}}}}}}\n    retries:"),
        );
        mesh.manifests().write("rules.yaml", &marked)?;
        sidecar.routed(&mut client, word).await?;
        for (status, _) in statuses {
            backend.behave(Behaviour::Fail(status));
            let before = backend.refused();
            let outcome = client.call(&[]).await;
            let made = backend.refused() - before;
            let expected = if status == asked { 4 } else { 1 };
            ensure!(made == expected, "{made} calls of {status:?} with retryOn: {word}");
            let seen = outcome.err().map(|error| error.code());
            ensure!(seen == Some(status), "{seen:?} in place of {status:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_try_that_takes_too_long_is_made_again_where_resets_are() -> Result<()> {
    let rules = retried("{attempts: 3, perTryTimeout: 100ms, retryOn: reset, backoff: 1ms}");
    let (mesh, sidecar, mut client) = setting(&["slow", "quick"], &rules).await?;
    mesh.backends()[0].behave(Behaviour::Silent);
    let outcomes = calls(&mut client, 20, &[]).await;
    outcomes.none_failed()?;
    let unanswered = mesh.backends()[0].refused();
    ensure!(unanswered > 0 && outcomes.server("quick") == 20, "{unanswered} unanswered, {outcomes:?}");
    let stats = sidecar.envoy().stats(CLUSTER).await?;
    let timeouts = stats[&format!("{CLUSTER}upstream_rq_per_try_timeout")];
    ensure!(timeouts == unanswered, "{timeouts} timeouts of {unanswered} calls without an answer");
    Ok(())
}

/// The problem `retry-never-fires` says so: a status that is retried does not cover a try that has none.
#[tokio::test]
async fn a_try_that_takes_too_long_fails_where_only_a_status_is_retried() -> Result<()> {
    let rules = retried("{attempts: 3, perTryTimeout: 100ms, retryOn: unavailable}");
    let (mesh, _sidecar, mut client) = setting(&["slow"], &rules).await?;
    mesh.backends()[0].behave(Behaviour::Silent);
    let failure = client.call(&[]).await.err().map(|error| error.code());
    ensure!(failure == Some(Code::Unavailable), "{failure:?}");
    ensure!(mesh.backends()[0].refused() == 1, "{} tries", mesh.backends()[0].refused());
    Ok(())
}

#[tokio::test]
async fn a_server_that_fails_thrice_in_a_row_is_left_out() -> Result<()> {
    let rules = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: demo}
spec:
  host: echo.demo.svc.cluster.local
  trafficPolicy:
    outlierDetection: {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 300s, maxEjectionPercent: 100}
";
    let (mesh, sidecar, mut client) = setting(&["bad", "good"], rules).await?;
    mesh.backends()[0].behave(Behaviour::Unavailable);
    let failed = until_left_out(&mut client).await?;
    ensure!(failed >= 3, "the server was left out after {failed} failures");
    let outcomes = calls(&mut client, 200, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.server("good") == 200, "{outcomes:?}");
    let stats = sidecar.envoy().stats(CLUSTER).await?;
    let active = stats[&format!("{CLUSTER}outlier_detection.ejections_active")];
    ensure!(active == 1, "{active} servers are left out");
    Ok(())
}
