//! The manifests that are shipped: the walk-through against a real API server, and every flag against the program.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use kube::Client;
use pilotage_tests::kubernetes::{ControlPlane, Identity, Options, kubectl, resource};
use pilotage_tests::{Authority, pilotage};
use serde_json::Value;
use tokio::process::Command;

const WALK: &str = include_str!("../../../deploy/kubernetes/README.md");

/// The blocks of the walk-through that are run here, as one script.
fn script() -> String {
    let blocks = WALK.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(|block| format!("{block}\n")).collect()
}

async fn object(
    client: &Client,
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Value> {
    let found = resource(client, api_version, kind, Some(namespace))?.get(name).await;
    Ok(serde_json::to_value(found.with_context(|| format!("{kind} {namespace}/{name}"))?)?)
}

/// The containers of a workload that run the program.
fn containers(workload: &Value) -> Vec<Value> {
    let pod = &workload["spec"]["template"]["spec"];
    let all =
        ["initContainers", "containers"].into_iter().filter_map(|field| pod[field].as_array()).flatten();
    let ours = all
        .filter(|container| container["image"].as_str().is_some_and(|image| image.starts_with("pilotage:")));
    ours.cloned().collect()
}

/// The arguments of a container, with its variables as a kubelet would put them in.
fn arguments(container: &Value) -> Vec<String> {
    let arguments = container["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let filled = arguments.map(|argument| {
        ["POD_NAME", "POD_NAMESPACE", "NODE_NAME"]
            .into_iter()
            .fold(argument.replace("$(POD_IP)", "10.0.0.7"), |text, name| {
                text.replace(&format!("$({name})"), "name")
            })
    });
    filled.collect()
}

/// Whether the program takes these arguments: each is read before the help that is asked for last.
async fn is_taken(arguments: &[String]) -> Result<bool> {
    let output = Command::new(pilotage()?).args(arguments).arg("--help").output().await?;
    Ok(output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through_is_what_an_api_server_and_the_program_take() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    let folder = tempfile::tempdir()?;
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("a checkout")?;
    std::os::unix::fs::symlink(checkout.join("deploy"), folder.path().join("deploy"))?;
    // What openssl makes in the walk-through.
    let authority = Authority::new()?;
    let server = authority.issue("pilotage.pilotage-system.svc.cluster.local")?;
    for (name, text) in [
        ("authority.crt", authority.certificate()),
        ("server.crt", &server.certificate),
        ("server.key", &server.key),
    ] {
        std::fs::write(folder.path().join(name), text)?;
    }
    let (ours, theirs) = (pilotage()?, kubectl().await?);
    let path = std::env::var("PATH").unwrap_or_default();
    let folders =
        [ours.parent(), theirs.parent()].map(|folder| folder.unwrap_or(Path::new("")).display().to_string());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script()])
        .env("KUBECONFIG", cluster.kubeconfig(Identity::Administrator)?)
        .env("PATH", format!("{}:{}:{path}", folders[0], folders[1]))
        .current_dir(folder.path())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    // Nothing was taken with a warning, such as of a field that is none.
    ensure!(!said.to_lowercase().contains("warning"), "{said}");

    let server = object(&client, "apps/v1", "Deployment", "pilotage-system", "pilotage").await?;
    ensure!(server["spec"]["replicas"] == 3, "the overlay for availability was applied last");
    let gateway = object(&client, "apps/v1", "Deployment", "edge", "gateway").await?;
    let sidecar = object(&client, "apps/v1", "Deployment", "shop", "web").await?;
    for (workload, expected) in [(&server, "serve"), (&gateway, "bootstrap"), (&sidecar, "bootstrap")] {
        let ours = containers(workload);
        ensure!(ours.len() == 1, "{ours:?}");
        let arguments = arguments(&ours[0]);
        ensure!(
            arguments[0] == expected && !arguments.iter().any(|text| text.contains("$(")),
            "{arguments:?}"
        );
        ensure!(is_taken(&arguments).await?, "the program does not take {arguments:?}");
        // The check can fail: a flag that is none, and a value that is none.
        for wrong in ["--no-such-flag", "--server=nonsense", "--listen=nonsense"] {
            let mut arguments = arguments.clone();
            arguments.push(wrong.to_owned());
            ensure!(!is_taken(&arguments).await?, "{wrong} is taken");
        }
        let restricted = &ours[0]["securityContext"];
        ensure!(
            restricted["readOnlyRootFilesystem"] == true && restricted["allowPrivilegeEscalation"] == false
        );
        ensure!(workload["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"] == true);
    }
    // Every volume that is mounted is there under the name that the walk-through gives it.
    object(&client, "v1", "Secret", "pilotage-system", "pilotage-tls").await?;
    for namespace in ["edge", "shop"] {
        object(&client, "v1", "ConfigMap", namespace, "pilotage-authority").await?;
    }
    let budget = object(&client, "policy/v1", "PodDisruptionBudget", "pilotage-system", "pilotage").await?;
    ensure!(budget["spec"]["selector"] == server["spec"]["selector"], "the budget is of these Pods");
    Ok(())
}

#[test]
fn the_walk_through_names_files_that_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/kubernetes");
    let links = WALK.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut checked = 0;
    for link in links.filter(|link| !link.contains("://")) {
        assert!(folder.join(link).exists(), "{link}");
        checked += 1;
    }
    assert!(checked >= 7, "{checked}");
}
