//! What is shown, step by step. A step edits a file, waits for a call that shows the edit, and measures.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::manifests::{self, MARK, Routes};
use super::stage::Stage;
use super::tally::{Bounds, Tally};
use super::{Behaviour, Client};

/// The header of testers.
const TESTER: (&str, &str) = ("x-client", "test");

/// An edit should be seen by calls within this; on an idle machine it takes a few hundredths of it.
const EDIT_WITHIN: Duration = Duration::from_secs(1);

/// Goes through all steps; the table has the results.
pub(super) async fn show(stage: &mut Stage) -> Result<()> {
    undeclared_port(stage).await?;
    let mut client = declared_port(stage).await?;
    canary(stage, &mut client).await?;
    header(stage, &mut client).await?;
    retries(stage, &mut client).await?;
    live_edit(stage, &mut client).await?;
    let failed = stage.live.failed();
    let told =
        stage.live.first_failure().map_or_else(|| failed.to_string(), |why| format!("{failed} ({why})"));
    stage.table.push("*", format!("failed calls of {}, b to f", stage.live.calls()), 0, told, failed == 0);
    let connections = client.connections();
    stage.table.push("*", "connections of the client, b to f", 1, connections, connections == 1);
    Ok(())
}

/// (a) An opaque port is balanced by connection: a gRPC client, which has one, stays with one server.
async fn undeclared_port(stage: &mut Stage) -> Result<()> {
    stage.screen.line("(a) the Service's port declares no protocol: a connection goes to one server")?;
    let mut client = stage.connect(stage.service.address()).await?;
    let tally = stage.measure(&mut client, &[]).await?;
    let reached = tally.servers().values().filter(|count| **count > 0).count();
    stage.table.push("a", "port undeclared: servers reached", 1, reached, reached == 1);
    push_failed(stage, "a", &tally);
    Ok(())
}

/// (b) A port declared as gRPC is balanced by call.
async fn declared_port(stage: &mut Stage) -> Result<Client> {
    stage.screen.line("(b) appProtocol: grpc is added: each call goes to a server of its own")?;
    stage.manifests.write("service.yaml", &manifests::service(stage.service.number(), Some("grpc")))?;
    let mut client = stage.connect(stage.egress.address()).await?;
    let tally = stage.measure(&mut client, &[]).await?;
    let bounds = Bounds::of(1.0 / stage.backends.len() as f64, tally.calls());
    let holds = stage
        .backends
        .iter()
        .all(|backend| tally.servers().get(backend.id()).is_some_and(|count| bounds.contain(*count)));
    let counts: Vec<String> = tally.servers().values().map(u64::to_string).collect();
    stage.table.push("b", "port declared gRPC: calls per server", bounds, counts.join(" "), holds);
    stage.live.merge(&tally);
    Ok(client)
}

/// (c) Weights divide calls among versions, however many servers each has.
async fn canary(stage: &mut Stage, client: &mut Client) -> Result<()> {
    stage.screen.line("(c) a VirtualService sends 90 % to v1 and 10 % to v2")?;
    stage.manifests.write("destination-rule.yaml", &manifests::destination_rule())?;
    route(stage, client, Routes { mark: "canary", v2_percent: 10, testers: None, attempts: None }).await?;
    let tally = stage.measure(client, &[]).await?;
    push_share(stage, "c", "canary 90/10: calls to v2", 0.1, &tally);
    Ok(())
}

/// (d) A header chooses the version.
async fn header(stage: &mut Stage, client: &mut Client) -> Result<()> {
    let (name, value) = TESTER;
    stage.screen.line(&format!("(d) calls with {name}: {value} go to v2"))?;
    let routes = Routes { mark: "testers", v2_percent: 10, testers: Some(TESTER), attempts: None };
    route(stage, client, routes).await?;
    let tally = stage.measure(client, &[TESTER]).await?;
    push_share(stage, "d", &format!("{name}: {value}: calls to v2"), 1.0, &tally);
    Ok(())
}

/// (e) Retries hide a server that answers UNAVAILABLE.
async fn retries(stage: &mut Stage, client: &mut Client) -> Result<()> {
    let refuser = stage.backends[0].id().to_owned();
    stage.screen.line(&format!("(e) {refuser} answers UNAVAILABLE for a while, and retries hide it"))?;
    let routes = Routes { mark: "retries", v2_percent: 10, testers: Some(TESTER), attempts: Some(5) };
    route(stage, client, routes).await?;
    let before = retry_stats(stage).await?;
    stage.backends[0].behave(Behaviour::Unavailable);
    let tally = stage.measure(client, &[]).await?;
    stage.backends[0].behave(Behaviour::Answer);
    let after = retry_stats(stage).await?;

    let refused = stage.backends[0].refused();
    stage.table.push("e", format!("UNAVAILABLE answers of {refuser}"), "> 0", refused, refused > 0);
    let retried = after.retries - before.retries;
    stage.table.push("e", "Envoy's upstream_rq_retry", refused, retried, retried == refused);
    // A call that was refused twice is retried twice, and is one success.
    let hidden = after.successes - before.successes;
    let holds = hidden > 0 && hidden <= refused;
    stage.table.push("e", "Envoy's upstream_rq_retry_success", format!("1–{refused}"), hidden, holds);
    push_failed(stage, "e", &tally);
    stage.live.merge(&tally);
    Ok(())
}

/// (f) An edit while calls run: the share shifts, and no call fails.
async fn live_edit(stage: &mut Stage, client: &mut Client) -> Result<()> {
    stage.screen.line("(f) while calls run, the file is edited to 50 % and 50 %")?;
    let routes = Routes { mark: "shifted", v2_percent: 50, testers: Some(TESTER), attempts: Some(5) };
    // Some calls are under way on the old routes before the file changes.
    for _ in 0..stage.calls / 4 {
        // Failures are counted as live.
        let _ = stage.call(client).await;
    }
    let elapsed = route(stage, client, routes).await?;
    let tally = stage.measure(client, &[]).await?;
    push_share(stage, "f", "edited to 50/50: calls to v2", 0.5, &tally);
    let holds = elapsed < EDIT_WITHIN;
    let (within, took) = (format!("< {EDIT_WITHIN:?}"), format!("{:.1} ms", elapsed.as_secs_f64() * 1000.0));
    stage.table.push("f", "file written to first call on the new route", within, took, holds);
    Ok(())
}

/// Writes the routes and calls until a call has used them; how long that took, from the moment the file appeared.
async fn route(stage: &mut Stage, client: &mut Client, routes: Routes) -> Result<Duration> {
    let text = routes.to_yaml();
    let written = Instant::now();
    stage.manifests.write("virtual-service.yaml", &text)?;
    while written.elapsed() < stage.patience() {
        if let Ok(reply) = stage.call(client).await
            && reply.headers.get(MARK).is_some_and(|mark| mark == routes.mark)
        {
            return Ok(written.elapsed());
        }
    }
    let (mark, patience) = (routes.mark, stage.patience());
    bail!("{}no call had the header `{MARK}: {mark}` within {patience:?} of the edit", stage.logs())
}

fn push_share(stage: &mut Stage, step: &'static str, what: &str, share: f64, tally: &Tally) {
    let bounds = Bounds::of(share, tally.calls());
    let count = tally.version("v2");
    stage.table.push(step, what, bounds, count, bounds.contain(count));
    stage.live.merge(tally);
}

fn push_failed(stage: &mut Stage, step: &'static str, tally: &Tally) {
    let failed = tally.failed();
    stage.table.push(step, "failed calls", 0, failed, failed == 0);
}

struct RetryStats {
    retries: u64,
    successes: u64,
}

async fn retry_stats(stage: &Stage) -> Result<RetryStats> {
    let stats = stage.envoy.stats("cluster.").await?;
    let sum = |end: &str| stats.iter().filter(|(name, _)| name.ends_with(end)).map(|(_, value)| value).sum();
    Ok(RetryStats { retries: sum(".upstream_rq_retry"), successes: sum(".upstream_rq_retry_success") })
}
