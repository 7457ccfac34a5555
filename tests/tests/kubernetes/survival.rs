//! A cluster's day: replicas are killed, the API server is away, a rollout replaces every endpoint; no call fails.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use pilotage::tools::ReservedPort;
use pilotage_tests::kubernetes::{Installation, apply, apply_object, own_address, resource};
use pilotage_tests::{
    Authority, Backend, Balancer, Dialect, Mesh, Proxy, Streams, Traffic, eventually, service,
};
use serde_json::json;

const HOST: &str = "echo.demo.svc.cluster.local:80";
const EDGE: &str = "echo.example.com";

/// How a backend stands in its EndpointSlice.
#[derive(Clone, Copy)]
enum Standing {
    Ready,
    Terminating,
}

/// Writes the endpoints of `echo`, as the controller of a rollout does.
async fn write_endpoints(client: &Client, backends: &[(&Backend, Standing)]) -> Result<()> {
    for (backend, standing) in backends {
        let is_ready = matches!(standing, Standing::Ready);
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("echo-{}", backend.id()), "labels": {"kubernetes.io/service-name": "echo"}},
            "addressType": "IPv4",
            "ports": [{"name": "grpc", "port": backend.address().port(), "protocol": "TCP"}],
            "endpoints": [{"addresses": [backend.address().ip()],
                "conditions": {"ready": is_ready, "serving": true, "terminating": !is_ready}}],
        });
        apply_object(client, Some("demo"), &slice).await?;
    }
    Ok(())
}

fn gateway(port: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  selector: {{istio: \
         ingressgateway}}\n  servers: [{{port: {{number: {port}, name: grpc, protocol: GRPC}}, hosts: [{EDGE}]}}]\n\
         ---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: edge}}\nspec:\n  hosts: \
         [{EDGE}]\n  gateways: [edge]\n  http: [{{route: [{{destination: {{host: echo, port: {{number: 80}}}}}}]}}]\n"
    )
}

/// Whether an Envoy is connected to a server.
async fn is_connected(proxy: &Proxy) -> Option<()> {
    let stats =
        proxy.envoy().admin_json("/stats?format=json&filter=control_plane.connected_state").await.ok()?;
    (stats["stats"][0]["value"] == 1).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_fails_while_replicas_the_api_server_and_all_endpoints_come_and_go() -> Result<()> {
    let mut installed = Installation::start().await?;
    let client = installed.client.clone();
    let any = SocketAddr::new(own_address()?, 0);
    let old = [Backend::start_on(any, "old-1", "v1").await?, Backend::start_on(any, "old-2", "v1").await?];
    let port = ReservedPort::new()?;
    apply(&client, "demo", &service("echo", 80)).await?;
    apply(&client, "demo", &gateway(port.number())).await?;
    write_endpoints(&client, &[(&old[0], Standing::Ready), (&old[1], Standing::Ready)]).await?;

    // As the manifests have it: TLS, and tokens that are bound to Pods.
    let files = tempfile::tempdir()?;
    let authority = Authority::new()?;
    let certificate = authority.issue("127.0.0.1")?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = files.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let (chain, key) = (file("tls.crt", &certificate.certificate)?, file("tls.key", &certificate.key)?);
    let ca = file("ca.crt", authority.certificate())?;
    let kubeconfig = installed.kubeconfig().await?;
    let arguments = ["--kubernetes", "--kubeconfig", &kubeconfig, "--tls-cert", &chain, "--tls-key", &key];
    let arguments = [&arguments[..], &["--token-audience", "pilotage"]].concat();
    let mut one = Mesh::start_with(&[], &arguments).await?;
    let mut two = Mesh::start_with(&[], &arguments).await?;
    let balancer = Balancer::over(&[one.xds(), two.xds()]).await?;
    let at = (balancer.address(), &one);
    let labels = "{istio: ingressgateway}";
    let mut folders = Vec::new();
    for (pod, labels) in [("sidecar", "{}"), ("edge", labels)] {
        let folder = files.path().join(pod);
        fs::create_dir(&folder)?;
        let token = file(&format!("{pod}.token"), &installed.pod_token(pod, labels, "pilotage").await?)?;
        folders.push((folder.to_string_lossy().into_owned(), token));
    }
    let shown = |index: usize| {
        let (folder, token) = &folders[index];
        ["--tls-ca", &ca, "--token-file", token, "--secrets-dir", folder]
    };
    let mut sidecar = Proxy::sidecar_at(at, "sidecar", Dialect::Delta, &shown(0)).await?;
    // No label is said: those of its Pod are known.
    let mut edge = Proxy::gateway_at(at, "edge", port.number(), &shown(1)).await?;
    let streams = [Streams::start(&sidecar.client(HOST).await?), Streams::start(&edge.client(EDGE).await?)];
    let traffic = [Traffic::start(&sidecar.client(HOST).await?), Traffic::start(&edge.client(EDGE).await?)];
    let flows = async |calls: u64| -> Result<()> {
        for traffic in &traffic {
            traffic.flows(calls).await?;
        }
        Ok(())
    };
    flows(50).await?;

    // The replica that serves them is killed. Clients move, and are sent nothing whose version they have.
    let before = (sidecar.updates().await?, edge.updates().await?);
    one.kill_server().await;
    for proxy in [&sidecar, &edge] {
        eventually("the other replica being reached", || is_connected(proxy)).await?;
    }
    flows(100).await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(before == (sidecar.updates().await?, edge.updates().await?), "what they had was sent again");

    // A rollout by the other replica: every endpoint is replaced, draining first.
    let new = [Backend::start_on(any, "new-1", "v2").await?, Backend::start_on(any, "new-2", "v2").await?];
    for index in 0..2 {
        write_endpoints(&client, &[(&new[index], Standing::Ready)]).await?;
        let reached = || async { (new[index].answered() > 0).then_some(()) };
        eventually("the new endpoint being called", reached).await?;
        write_endpoints(&client, &[(&old[index], Standing::Terminating)]).await?;
        let drained = || async {
            let clusters = sidecar.envoy().admin_json("/clusters?format=json").await.ok()?;
            let port = u64::from(old[index].address().port());
            let hosts = clusters["cluster_statuses"].as_array()?.iter();
            let mut hosts =
                hosts.flat_map(|cluster| cluster["host_statuses"].as_array().into_iter().flatten());
            let host = hosts.find(|host| host["address"]["socket_address"]["port_value"] == port)?;
            (host["health_status"]["eds_health_status"] == "DRAINING").then_some(())
        };
        eventually("the old endpoint draining", drained).await?;
        flows(50).await?;
        let name = format!("echo-{}", old[index].id());
        let slices = resource(&client, "discovery.k8s.io/v1", "EndpointSlice", Some("demo"))?;
        slices.delete(&name, &Default::default()).await?;
        flows(50).await?;
    }

    // The API server goes away; the first replica comes back without it and is asked by nobody before it is ready.
    installed.cluster.kill_api_server().await;
    flows(100).await?;
    installed.cluster.start_api_server().await?;
    one.start_server().await?;
    balancer.move_to(&[one.xds()]);
    two.stop_server().await?;
    for proxy in [&sidecar, &edge] {
        eventually("the first replica being reached", || is_connected(proxy)).await?;
    }
    flows(100).await?;

    let again = Backend::start_on(any, "last", "v3").await?;
    write_endpoints(&client, &[(&again, Standing::Ready)]).await?;
    eventually("the last endpoint being called", || async { (again.answered() > 0).then_some(()) }).await?;
    for traffic in traffic {
        let outcomes = traffic.stop().await?;
        outcomes.none_failed()?;
        ensure!(outcomes.server("old-1") > 0 && outcomes.server("new-2") > 0, "{outcomes:?}");
    }
    for streams in streams {
        let held = streams.stop().await?;
        ensure!(held > 10, "{held} streams of several messages");
    }
    Ok(())
}
