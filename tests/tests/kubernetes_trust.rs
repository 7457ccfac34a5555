//! Who is served in a cluster: service-account tokens, reviewed by a real API server.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::api::DeleteParams;
use pilotage_tests::kubernetes::{
    Audit, Identity, Namespace, OUR_CRDS, apply, apply_cluster, create_crds, istio_crds, own_address,
    resource, token,
};
use pilotage_tests::{Asker, Backend, Dialect, Mesh, Proxy, calls, endpoint_slice, service};
use serde_json::{Value, json};
use tonic::Code;

const ROLE: &str = include_str!("../../deploy/kubernetes/base/rbac.yaml");

/// A Pod of the account `web`, and a token that is bound to it.
async fn pod_token(client: &Client, pod: &str, audience: &str) -> Result<String> {
    let manifest = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec: {{serviceAccountName: web, containers: [{{name: a, \
         image: a}}]}}\n"
    );
    let applied = apply(client, "demo", &manifest).await?;
    let uid = applied[0].metadata.uid.clone().context("a uid")?;
    let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid});
    token(client, "demo", "web", &json!({"audiences": [audience], "boundObjectRef": bound})).await
}

/// The same token with an end in the past.
fn ended(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[1] = base64_of(br#"{"exp":1000000000}"#);
    parts.join(".")
}

/// Base64 as tokens have it.
fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_which_pod_a_client_is_and_no_other_may_be_claimed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (cluster, audit) = Audit::start(&[]).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    apply_cluster(&client, ROLE).await?;
    Namespace::ensure(&client, "demo").await?;
    apply(&client, "demo", "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n").await?;
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    apply(&client, "demo", &service("echo", 80)).await?;
    apply(&client, "demo", &endpoint_slice("echo", &backend)).await?;

    let ours = cluster.kubeconfig_with(&token(&client, "pilotage-system", "pilotage", &json!({})).await?)?;
    let ours = ours.to_str().context("a path that is text")?;
    let arguments = ["--kubernetes", "--kubeconfig", ours, "--token-audience", "pilotage"];
    let mesh = Mesh::start_with(&[], &arguments).await?;

    let web = pod_token(&client, "web-1", "pilotage").await?;
    for _ in 0..5 {
        Asker::sidecar("web-1", "demo").with_token(&web).ask(mesh.xds()).await?;
    }
    let other_audience = pod_token(&client, "web-1", "elsewhere").await?;
    let gone = pod_token(&client, "web-2", "pilotage").await?;
    let pods = resource(&client, "v1", "Pod", Some("demo"))?;
    pods.delete("web-2", &DeleteParams::default().grace_period(0)).await?;
    let altered = ended(&web);
    let refused = [
        (Asker::sidecar("none", "demo"), Code::Unauthenticated, "neither a certificate nor a token"),
        (Asker::sidecar("web-3", "demo").with_token(&web), Code::PermissionDenied, "--id web-1"),
        (Asker::sidecar("web-1", "bank").with_token(&web), Code::PermissionDenied, "may not be the node"),
        (Asker::sidecar("web-4", "demo").with_token(&altered), Code::Unauthenticated, "ended"),
        (
            Asker::sidecar("web-5", "demo").with_token(&other_audience),
            Code::Unauthenticated,
            "not accept the token",
        ),
        (Asker::sidecar("web-6", "demo").with_token(&gone), Code::Unauthenticated, "not accept the token"),
        (
            Asker::sidecar("web-7", "demo").with_token("nonsense"),
            Code::Unauthenticated,
            "not accept the token",
        ),
    ];
    for (asker, code, words) in &refused {
        for _ in 0..2 {
            let status =
                asker.ask(mesh.xds()).await.err().with_context(|| format!("{} is refused", asker.id))?;
            ensure!(status.code() == *code && status.message().contains(words), "{}: {status}", asker.id);
        }
    }

    // An Envoy that finds its token in a file, as a Pod has one mounted.
    let file = folder.path().join("token");
    fs::write(&file, &web)?;
    let (file, secrets) = (file.to_string_lossy().into_owned(), mesh.folder().to_string_lossy().into_owned());
    let shown = ["--token-file", &file, "--secrets-dir", &secrets];
    let mut proxy = Proxy::sidecar_with(&mesh, "web-1", Dialect::Delta, &shown).await?;
    let mut caller = proxy.client("echo.demo.svc.cluster.local:80").await?;
    calls(&mut caller, 20, &[]).await.none_failed()?;

    let is_review = |event: &&Value| {
        event["objectRef"]["resource"] == "tokenreviews"
            && event["user"]["username"] == "system:serviceaccount:pilotage-system:pilotage"
    };
    let reviews = audit.events().iter().filter(is_review).count();
    // One for each token that has to be asked about, however often it came.
    ensure!(reviews == 4, "{reviews} reviews");
    let log = mesh.log()?;
    for secret in [&web, &gone, &other_audience] {
        let signature = secret.rsplit('.').next().unwrap();
        ensure!(!log.contains(signature), "the log has a token");
    }
    Ok(())
}
