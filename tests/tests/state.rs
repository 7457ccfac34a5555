//! What outlives the server: an object that is broken at a restart is served as it was, and told.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::DeleteParams;
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, OUR_CRDS, Options, apply, create_crds, istio_crds, own_address,
    resource,
};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, Traffic, endpoint_slice, eventually, routing, service};
use serde_json::{Value, json};

const HOST: &str = "echo.demo.svc.cluster.local:80";

fn rules(edition: &str) -> String {
    routing(&format!(
        "  - headers: {{response: {{set: {{x-route: {edition}}}}}}}\n    route: [{{destination: {{host: \
         echo.demo.svc.cluster.local, subset: v1}}}}]\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_broken_at_a_restart_is_served_as_it_was_until_it_is_corrected() -> Result<()> {
    let backend = Backend::start("one", "v1").await?;
    let world = service("echo", 80) + &endpoint_slice("echo", &backend);
    let kept = tempfile::tempdir()?;
    let folder = kept.path().to_str().context("a path that is text")?;
    let files = [("world.yaml", world.as_str()), ("rules.yaml", &rules("first"))];
    let mut mesh = Mesh::start_with(&files, &["--state-dir", folder]).await?;
    let mut proxy = Proxy::sidecar(&mesh, "client", Dialect::Delta).await?;
    let mut client = proxy.client(HOST).await?;
    proxy.routed(&mut client, "first").await?;
    let traffic = Traffic::start(&client);

    mesh.stop_server().await?;
    mesh.manifests().write("rules.yaml", "apiVersion: networking.istio.io/v1\nkind: [\n")?;
    mesh.start_server().await?;
    mesh.logged(&["kept-last-good", "VirtualService demo/echo", "before the restart"]).await?;
    // A client that comes only now is told the same as those that have been there.
    let mut other = Proxy::sidecar(&mesh, "newcomer", Dialect::Delta).await?;
    let mut newcomer = other.client(HOST).await?;
    other.routed(&mut newcomer, "first").await?;

    mesh.manifests().write("rules.yaml", &rules("second"))?;
    proxy.routed(&mut client, "second").await?;
    mesh.logged(&["solved", "VirtualService demo/echo"]).await?;
    traffic.stop().await?.none_failed()
}

/// A definition of VirtualServices that lets everything pass, as old ones do.
async fn lenient_definition(client: &Client) -> Result<()> {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "virtualservices.networking.istio.io"},
        "spec": {
            "group": "networking.istio.io", "scope": "Namespaced",
            "names": {"kind": "VirtualService", "plural": "virtualservices", "singular": "virtualservice",
                      "listKind": "VirtualServiceList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    create_crds(client, &serde_saphyr::to_string(&definition)?).await
}

async fn write_rule(client: &Client, edition: &str, weight: Value) -> Result<()> {
    let rule = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "echo"},
        "spec": {"hosts": ["echo.demo.svc.cluster.local"], "http": [{
            "headers": {"response": {"set": {"x-route": edition}}},
            "route": [{"destination": {"host": "echo.demo.svc.cluster.local"}, "weight": weight}],
        }]},
    });
    apply(client, "demo", &serde_saphyr::to_string(&rule)?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_broken_at_a_restart_is_served_as_it_was_and_a_deleted_one_is_gone() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    lenient_definition(&client).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    Namespace::ensure(&client, "demo").await?;
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    for object in [service("echo", 80), endpoint_slice("echo", &backend), service("gone", 81)] {
        apply(&client, "demo", &object).await?;
    }
    write_rule(&client, "first", json!(100)).await?;
    let kept = tempfile::tempdir()?;
    let folder = kept.path().to_str().context("a path that is text")?;
    let kubeconfig = cluster.kubeconfig(Identity::Administrator)?;
    let kubeconfig = kubeconfig.to_str().context("a path that is text")?;
    let mut mesh =
        Mesh::start_with(&[], &["--kubernetes", "--kubeconfig", kubeconfig, "--state-dir", folder]).await?;
    let mut proxy = Proxy::sidecar(&mesh, "client", Dialect::Delta).await?;
    let mut caller = proxy.client(HOST).await?;
    proxy.routed(&mut caller, "first").await?;

    mesh.stop_server().await?;
    write_rule(&client, "broken", json!("many")).await?;
    resource(&client, "v1", "Service", Some("demo"))?.delete("gone", &DeleteParams::default()).await?;
    mesh.start_server().await?;
    mesh.logged(&["wrong-type", "VirtualService demo/echo", "many"]).await?;
    mesh.logged(&["kept-last-good", "VirtualService demo/echo"]).await?;
    let mut other = Proxy::sidecar(&mesh, "newcomer", Dialect::Delta).await?;
    let mut newcomer = other.client(HOST).await?;
    other.routed(&mut newcomer, "first").await?;
    let clusters = other.dump(".ClustersConfigDump").await?.to_string();
    ensure!(clusters.contains("echo.demo") && !clusters.contains("gone.demo"), "{clusters}");

    write_rule(&client, "second", json!(100)).await?;
    proxy.routed(&mut caller, "second").await?;
    // What is in the file says nothing of endpoints: those of a cluster are of the moment.
    let written = || async {
        let text = std::fs::read_to_string(kept.path().join("kubernetes.json")).ok()?;
        (text.contains("second") && !text.contains("EndpointSlice")).then_some(())
    };
    eventually("the state being written", written).await
}
