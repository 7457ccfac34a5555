//! What authors are told in the status of their objects, by several replicas of which one writes.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::{DeleteParams, ListParams};
use pilotage::tools::ReservedPort;
use pilotage_tests::kubernetes::{Audit, Installation, apply, own_address, resource};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, endpoint_slice, eventually, service};
use rustix::process::Signal;
use serde_json::Value;

const ISTIO: &str = "networking.istio.io/v1";

/// How long a replica that says nothing is not given up.
const LEASE: Duration = Duration::from_secs(3);

/// The Pod of a replica.
fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: a, image: a}}]}}\n"
    )
}

/// A replica of the server that takes part in writing status.
async fn replica(name: &str, kubeconfig: &str, folder: &Path, health: &ReservedPort) -> Result<Mesh> {
    let settings = folder.join(format!("{name}.yaml"));
    fs::write(
        &settings,
        format!("status: {{write: true, replica: {name}, leaseSeconds: {}}}\n", LEASE.as_secs()),
    )?;
    let health = health.address().to_string();
    let settings = settings.to_str().context("a path that is text")?;
    let arguments = ["--kubernetes", "--kubeconfig", kubeconfig, "--config", settings, "--health", &health];
    Mesh::start_with(&[], &arguments).await
}

fn rule(edition: usize, host: &str) -> String {
    format!(
        "apiVersion: {ISTIO}\nkind: VirtualService\nmetadata: {{name: echo}}\nspec:\n  hosts: \
         [echo.demo.svc.cluster.local]\n  http: [{{headers: {{response: {{set: {{x-route: e{edition}}}}}}}, route: \
         [{{destination: {{host: {host}}}}}]}}]\n"
    )
}

/// The VirtualService as it is now.
async fn object(client: &Client) -> Option<Value> {
    let api = resource(client, ISTIO, "VirtualService", Some("demo")).ok()?;
    serde_json::to_value(api.get("echo").await.ok()?).ok()
}

/// Status and reason of a condition of the newest generation, once it is so.
async fn condition(client: &Client, name: &str, status: &str, reason: &str) -> Result<Value> {
    let met = || async {
        let object = object(client).await?;
        let conditions = object["status"]["conditions"].as_array()?.clone();
        let condition = conditions.into_iter().find(|condition| condition["type"] == name)?;
        let is_current = condition["observedGeneration"] == object["metadata"]["generation"];
        (is_current && condition["status"] == status && condition["reason"] == reason).then_some(condition)
    };
    let awaited = eventually(&format!("{name} being {status} by {reason}"), met).await;
    match awaited {
        Ok(condition) => Ok(condition),
        Err(error) => {
            Err(error.context(format!("{:#?}", object(client).await.map(|object| object["status"].clone()))))
        }
    }
}

async fn holder(client: &Client) -> Result<String> {
    let leases = resource(client, "coordination.k8s.io/v1", "Lease", Some("pilotage-system"))?;
    let lease = serde_json::to_value(leases.get("pilotage").await?)?;
    Ok(lease["spec"]["holderIdentity"].as_str().context("a holder")?.to_owned())
}

/// How often the status of a VirtualService was written.
fn writes(audit: &Audit) -> usize {
    let is_write = |event: &&Value| {
        let object = &event["objectRef"];
        object["resource"] == "virtualservices"
            && object["subresource"] == "status"
            && event["verb"] == "patch"
    };
    audit.events().iter().filter(is_write).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_writes_what_became_of_an_object_at_the_clients_of_all() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let installed = Installation::start().await?;
    let (client, audit) = (installed.client.clone(), &installed.audit);
    for name in ["one", "two"] {
        apply(&client, "pilotage-system", &pod(name)).await?;
    }
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    apply(&client, "demo", &(service("echo", 80) + &endpoint_slice("echo", &backend))).await?;
    apply(&client, "demo", &rule(0, "echo.demo.svc.cluster.local")).await?;

    let ours = installed.kubeconfig().await?;
    let ports = [ReservedPort::new()?, ReservedPort::new()?];
    let mut replicas = Vec::new();
    for (name, port) in ["one", "two"].into_iter().zip(&ports) {
        replicas.push((name, replica(name, &ours, folder.path(), port).await?));
    }
    let first = condition(&client, "Programmed", "False", "NoProxies").await?;
    condition(&client, "Accepted", "True", "Accepted").await?;
    let mut proxies = Vec::new();
    for (name, mesh) in &replicas {
        proxies.push(Proxy::sidecar(mesh, &format!("client-of-{name}"), Dialect::Delta).await?);
    }
    // One of the two may be heard, and be all that is known of, before the other.
    let both = || async {
        let condition = condition(&client, "Programmed", "True", "Programmed").await.ok()?;
        (condition["message"] == "2 of 2 proxies have it").then_some(condition)
    };
    let all = eventually("both proxies having it", both).await?;
    ensure!(all["lastTransitionTime"].as_str() >= first["lastTransitionTime"].as_str(), "{all}");

    // What is wrong is told in the status and, once, by an event.
    apply(&client, "demo", &rule(1, "missing.demo.svc.cluster.local")).await?;
    let wrong = condition(&client, "ResolvedRefs", "False", "UnknownHost").await?;
    ensure!(wrong["message"].as_str().unwrap().contains("missing"), "{wrong}");
    let events = resource(&client, "events.k8s.io/v1", "Event", Some("demo"))?;
    let told = || async {
        let list = events.list(&ListParams::default()).await.ok()?;
        let told = list.items.into_iter().filter(|event| event.data["reason"] == "UnknownHost");
        Some(told.collect::<Vec<_>>()).filter(|told| !told.is_empty())
    };
    let told = eventually("an event", told).await?;
    ensure!(told.len() == 1 && told[0].data["regarding"]["name"] == "echo", "{told:?}");

    // A thousand changes, of which each is another generation, and few writes.
    let (before, began) = (writes(audit), Instant::now());
    for edition in 2..1_002 {
        apply(&client, "demo", &rule(edition, "echo.demo.svc.cluster.local")).await?;
    }
    condition(&client, "Programmed", "True", "Programmed").await?;
    let (written, seconds) = (writes(audit) - before, began.elapsed().as_secs_f64());
    println!("1,000 changes in {seconds:.1} s: {written} writes");
    ensure!(written as f64 <= 2.0 * seconds + 4.0, "{written} writes in {seconds} s");
    // Nothing changes, and nothing is written, for as long as every lease takes.
    let settled = writes(audit);
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(writes(audit) == settled, "something is written though nothing has changed");

    // The replica that does not write is cut off: nobody hears it, and its client has what it has. For all that its lease
    // is over, it is not gone.
    let writer = holder(&client).await?;
    let other =
        replicas.iter().position(|(name, _)| *name != writer).context("a replica that does not write")?;
    replicas[other].1.signal_server(Signal::STOP)?;
    let unheard = condition(&client, "Programmed", "Unknown", "ReplicaUnheard").await?;
    ensure!(unheard["message"].as_str().unwrap().contains(replicas[other].0), "{unheard}");
    apply(&client, "demo", &rule(1_500, "echo.demo.svc.cluster.local")).await?;
    condition(&client, "Programmed", "Unknown", "ReplicaUnheard").await?;
    let silent = Instant::now();
    while silent.elapsed() < 3 * LEASE {
        let object = object(&client).await.context("the VirtualService")?;
        let claims = object["status"]["conditions"].as_array().context("conditions")?;
        let claim = claims.iter().find(|condition| condition["type"] == "Programmed").context("one")?;
        ensure!(claim["status"] == "Unknown", "{claim}");
    }
    replicas[other].1.signal_server(Signal::CONT)?;
    eventually("both replicas being heard after the silence", both).await?;

    // It is killed: it is not heard, and once its Pod is gone, it is.
    replicas[other].1.kill_server().await;
    condition(&client, "Programmed", "Unknown", "ReplicaUnheard").await?;
    let pods = resource(&client, "v1", "Pod", Some("pilotage-system"))?;
    pods.delete(replicas[other].0, &DeleteParams::default().grace_period(0)).await?;
    let left = condition(&client, "Programmed", "True", "Programmed").await?;
    ensure!(left["message"] == "1 of 1 proxies have it", "{left}");

    // It comes back, and the one that writes is killed: the other one goes on.
    apply(&client, "pilotage-system", &pod(replicas[other].0)).await?;
    replicas[other].1.start_server().await?;
    eventually("both replicas being heard again", both).await?;
    let writing = replicas.iter().position(|(name, _)| *name == writer).context("the replica that writes")?;
    replicas[writing].1.kill_server().await;
    pods.delete(&writer, &DeleteParams::default().grace_period(0)).await?;
    apply(&client, "demo", &rule(2_000, "echo.demo.svc.cluster.local")).await?;
    let left = condition(&client, "Programmed", "True", "Programmed").await?;
    ensure!(left["message"] == "1 of 1 proxies have it", "{left}");
    ensure!(holder(&client).await? != writer, "another replica writes");
    drop(proxies);
    Ok(())
}
