//! What authors are told in the status of their objects, by several replicas of which one writes.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::ListParams;
use pilotage::tools::ReservedPort;
use pilotage_tests::kubernetes::{
    Audit, Identity, Namespace, OUR_CRDS, apply, apply_cluster, create_crds, istio_crds, own_address,
    resource, token,
};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, endpoint_slice, eventually, service};
use serde_json::{Value, json};

const ROLE: &str = include_str!("../../deploy/kubernetes/base/rbac.yaml");
const ISTIO: &str = "networking.istio.io/v1";

/// A replica of the server that takes part in writing status.
async fn replica(name: &str, kubeconfig: &str, folder: &Path, health: &ReservedPort) -> Result<Mesh> {
    let settings = folder.join(format!("{name}.yaml"));
    fs::write(&settings, format!("status: {{write: true, replica: {name}, leaseSeconds: 3}}\n"))?;
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
    let (cluster, audit) = Audit::start(&[]).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    apply_cluster(&client, ROLE).await?;
    Namespace::ensure(&client, "demo").await?;
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    apply(&client, "demo", &(service("echo", 80) + &endpoint_slice("echo", &backend))).await?;
    apply(&client, "demo", &rule(0, "echo.demo.svc.cluster.local")).await?;

    let ours = cluster.kubeconfig_with(&token(&client, "pilotage-system", "pilotage", &json!({})).await?)?;
    let ours = ours.to_str().context("a path that is text")?;
    let ports = [ReservedPort::new()?, ReservedPort::new()?];
    let mut replicas = Vec::new();
    for (name, port) in ["one", "two"].into_iter().zip(&ports) {
        replicas.push((name, replica(name, ours, folder.path(), port).await?));
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
    let (before, began) = (writes(&audit), Instant::now());
    for edition in 2..1_002 {
        apply(&client, "demo", &rule(edition, "echo.demo.svc.cluster.local")).await?;
    }
    condition(&client, "Programmed", "True", "Programmed").await?;
    let (written, seconds) = (writes(&audit) - before, began.elapsed().as_secs_f64());
    println!("1,000 changes in {seconds:.1} s: {written} writes");
    ensure!(written as f64 <= 2.0 * seconds + 4.0, "{written} writes in {seconds} s");
    // Nothing changes, and nothing is written, for as long as every lease takes.
    let settled = writes(&audit);
    tokio::time::sleep(Duration::from_secs(4)).await;
    ensure!(writes(&audit) == settled, "something is written though nothing has changed");

    // The replica that does not write is killed: first it is not heard, and then it is gone.
    let writer = holder(&client).await?;
    let other =
        replicas.iter().position(|(name, _)| *name != writer).context("a replica that does not write")?;
    replicas[other].1.kill_server().await;
    let unheard = condition(&client, "Programmed", "Unknown", "ReplicaUnheard").await?;
    ensure!(unheard["message"].as_str().unwrap().contains(replicas[other].0), "{unheard}");
    let left = condition(&client, "Programmed", "True", "Programmed").await?;
    ensure!(left["message"] == "1 of 1 proxies have it", "{left}");

    // It comes back, and the one that writes is killed: the other one goes on.
    replicas[other].1.start_server().await?;
    eventually("both replicas being heard again", both).await?;
    let writing = replicas.iter().position(|(name, _)| *name == writer).context("the replica that writes")?;
    replicas[writing].1.kill_server().await;
    apply(&client, "demo", &rule(2_000, "echo.demo.svc.cluster.local")).await?;
    let left = condition(&client, "Programmed", "True", "Programmed").await?;
    ensure!(left["message"] == "1 of 1 proxies have it", "{left}");
    ensure!(holder(&client).await? != writer, "another replica writes");
    drop(proxies);
    Ok(())
}
