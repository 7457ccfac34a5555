//! A folder laid over a cluster, served by the executable to a real Envoy.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use pilotage_tests::kubernetes::{ControlPlane, Identity, Namespace, apply, own_address};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, Traffic, eventually};

/// A Service and its endpoints, in a namespace.
fn manifests(namespace: &str, backend: &Backend) -> String {
    format!(
        "\
apiVersion: v1
kind: Service
metadata: {{name: echo, namespace: {namespace}}}
spec:
  clusterIP: None
  ports:
  - {{name: grpc, port: 80}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: echo-1
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: echo}}
addressType: IPv4
ports:
- {{name: grpc, port: {port}, protocol: TCP}}
endpoints:
- addresses: [\"{ip}\"]
  conditions: {{ready: true}}
",
        port = backend.address().port(),
        ip = backend.address().ip(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_wins_while_it_has_an_object_and_the_cluster_after_it() -> Result<()> {
    let cluster = ControlPlane::shared().await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "both").await?;
    let any = SocketAddr::new(own_address()?, 0);
    let in_folder = Backend::start_on(any, "folder", "v1").await?;
    let in_cluster = Backend::start_on(any, "cluster", "v1").await?;
    apply(&client, namespace.name(), &manifests(namespace.name(), &in_cluster)).await?;

    let kubeconfig = cluster.kubeconfig(Identity::Administrator)?;
    let kubeconfig = kubeconfig.to_str().context("a path that is text")?;
    let folder = manifests(namespace.name(), &in_folder);
    let arguments = ["--kubernetes", "--kubeconfig", kubeconfig];
    let mesh = Mesh::start_with(&[("echo.yaml", &folder)], &arguments).await?;
    let mut proxy = Proxy::sidecar(&mesh, "client", Dialect::Delta).await?;
    let authority = format!("echo.{}.svc.cluster.local:80", namespace.name());
    let traffic = Traffic::start(&proxy.client(&authority).await?);
    traffic.flows(50).await?;
    let slice = format!("EndpointSlice {}/echo-1", namespace.name());
    mesh.logged(&["duplicate-object", &slice, "directory:", "kubernetes:", "the former is served"]).await?;
    assert_eq!(in_cluster.answered(), 0);

    mesh.manifests().remove("echo.yaml")?;
    let moved = || async { (in_cluster.answered() > 0).then_some(()) };
    eventually("calls reaching the cluster's endpoint", moved).await?;
    mesh.logged(&["solved", "duplicate-object", &slice]).await?;
    let outcomes = traffic.stop().await?;
    outcomes.none_failed()?;
    Ok(())
}

#[tokio::test]
async fn a_kubeconfig_that_cannot_be_used_is_named() -> Result<()> {
    let run = |arguments: &'static [&'static str]| async move {
        let mut command = tokio::process::Command::new(pilotage_tests::pilotage()?);
        command.arg("serve").args(arguments).env_remove("KUBERNETES_SERVICE_HOST").kill_on_drop(true);
        let output = command.output().await?;
        assert!(!output.status.success());
        anyhow::Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let missing = run(&["--kubernetes", "--kubeconfig", "/nowhere/config"]).await?;
    assert!(missing.contains("cannot use the kubeconfig /nowhere/config"), "{missing}");
    let outside = run(&["--kubernetes"]).await?;
    assert!(outside.contains("not inside a cluster") && outside.contains("--kubeconfig"), "{outside}");
    let idle = run(&["--kubeconfig", "/nowhere/config"]).await?;
    assert!(idle.contains("say --kubernetes"), "{idle}");
    Ok(())
}
