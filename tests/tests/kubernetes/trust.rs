//! Who is served in a cluster: service-account tokens, reviewed by a real API server.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use kube::api::DeleteParams;
use pilotage_tests::kubernetes::{Installation, apply, own_address, resource};
use pilotage_tests::{
    Asker, Authority, Backend, Caller, Dialect, GrpcClient, Mesh, PATIENCE, Proxy, Told, calls,
    endpoint_slice, eventually, service,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tonic::{Code, Status};

/// The same token with an end in the past.
fn ended(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts[1] = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1000000000}"#);
    parts.join(".")
}

/// What a client is told, without acknowledging it, until the stream ends.
async fn end_of(mut told: Told) -> Result<Status> {
    let ended = async {
        loop {
            match told.next.message().await {
                Ok(Some(_)) => {}
                Ok(None) => anyhow::bail!("the stream ends in order"),
                Err(status) => return Ok(status),
            }
        }
    };
    timeout(PATIENCE, ended).await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_which_pod_a_client_is_and_no_other_may_be_claimed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let installed = Installation::start().await?;
    let client = &installed.client;
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    apply(client, "demo", &service("echo", 80)).await?;
    apply(client, "demo", &endpoint_slice("echo", &backend)).await?;

    let ours = installed.kubeconfig().await?;
    let arguments = ["--kubernetes", "--kubeconfig", &ours, "--token-audience", "pilotage"];
    let mesh = Mesh::start_with(&[], &arguments).await?;

    let web = installed.pod_token("web-1", "{}", "pilotage").await?;
    for _ in 0..5 {
        Asker::sidecar("web-1", "demo").with_token(&web).ask(mesh.xds()).await?;
    }
    let other_audience = installed.pod_token("web-1", "{}", "elsewhere").await?;
    let gone = installed.pod_token("web-2", "{}", "pilotage").await?;
    let pods = resource(client, "v1", "Pod", Some("demo"))?;
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
    let reviews = installed.audit.events().iter().filter(is_review).count();
    // One for each token that has to be asked about, however often it came.
    ensure!(reviews == 4, "{reviews} reviews");
    let log = mesh.log()?;
    for secret in [&web, &gone, &other_audience] {
        let signature = secret.rsplit('.').next().unwrap();
        ensure!(!log.contains(signature), "the log has a token");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_token_that_it_was_opened_with() -> Result<()> {
    let installed = Installation::start().await?;
    let ours = installed.kubeconfig().await?;
    let arguments = ["--kubernetes", "--kubeconfig", &ours, "--token-audience", "pilotage"];
    let mesh = Mesh::start_with(&[], &arguments).await?;
    apply(&installed.client, "demo", &service("echo", 80)).await?;

    let lasting = installed.pod_token("web-1", "{}", "pilotage").await?;
    // What the API server says of the Pod and its account, with an end that is near.
    let payload = lasting.split('.').nth(1).context("a payload")?;
    let mut claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload)?)?;
    let end = UNIX_EPOCH + Duration::from_secs(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + 6);
    claims["exp"] = json!(end.duration_since(UNIX_EPOCH)?.as_secs());
    let short = installed.cluster.signed_token(&claims)?;

    let mut others = Asker::sidecar("web-1", "demo").with_token(&lasting).ask(mesh.xds()).await?;
    let opened = Asker::sidecar("web-1", "demo").with_token(&short).ask(mesh.xds()).await?;
    let ended = end_of(opened).await?;
    ensure!(ended.code() == Code::Unauthenticated && ended.message().contains("renewed"), "{ended}");
    // Never later than the token; a moment is for the way to here.
    let late = SystemTime::now().duration_since(end).unwrap_or_default();
    ensure!(late < Duration::from_millis(500), "{late:?} late");
    ensure!(timeout(Duration::ZERO, others.next.message()).await.is_err(), "other streams go on");
    mesh.logged(&["the stream ends", "renewed"]).await?;
    let times = mesh.log()?.lines().filter(|line| line.contains("renewed")).count();
    ensure!(times == 1, "it is in the log {times} times");
    // It cannot come back with it: not even where a review is remembered.
    let again = async || Asker::sidecar("web-1", "demo").with_token(&short).ask(mesh.xds()).await.err();
    let over = || async { again().await.filter(|status| status.message().contains("the token ended")) };
    let refused = eventually("the token being over", over).await?;
    ensure!(refused.code() == Code::Unauthenticated, "{refused}");
    Ok(())
}

/// The listeners that a gateway is told of, by the labels of its Pod and not by what it says that they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_told_what_its_own_labels_select_whatever_it_says() -> Result<()> {
    let installed = Installation::start().await?;
    let ours = installed.kubeconfig().await?;
    let arguments = ["--kubernetes", "--kubeconfig", &ours, "--token-audience", "pilotage"];
    let mesh = Mesh::start_with(&[], &arguments).await?;
    let manifests = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec:\n  selector: {istio: \
                     ingressgateway}\n  servers: [{port: {number: 8080, name: grpc, protocol: GRPC}, hosts: \
                     [echo.example.com]}]\n";
    apply(&installed.client, "demo", manifests).await?;
    let labels = "{istio: ingressgateway}";
    let edge = installed.pod_token("edge-1", labels, "pilotage").await?;
    let web = installed.pod_token("web-1", "{app: web}", "pilotage").await?;
    let gateway = |id: &str, token: &str| {
        let asker = Asker::sidecar(id, "demo").with_token(token).labelled(&[("istio", "ingressgateway")]);
        Asker { kind: "gateway".into(), ..asker }
    };
    let is_told = |asker: Asker| {
        let xds = mesh.xds();
        async move { asker.listeners(xds).await.ok().filter(|told| !told.is_empty()) }
    };
    eventually("the gateway's listener", || is_told(gateway("edge-1", &edge))).await?;
    let told = gateway("web-1", &web).listeners(mesh.xds()).await?;
    ensure!(told.is_empty(), "it says that it is a gateway, and is told {told:?}");
    // Once its Pod has the label, it is one.
    let label = json!({"metadata": {"labels": {"istio": "ingressgateway"}}});
    let pods = resource(&installed.client, "v1", "Pod", Some("demo"))?;
    pods.patch("web-1", &Default::default(), &kube::api::Patch::Merge(label)).await?;
    eventually("the listener of who is a gateway now", || is_told(gateway("web-1", &web))).await?;
    Ok(())
}

/// gRPC sends the token of its bootstrap over TLS, and to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxyless_client_shows_its_token() -> Result<()> {
    let files = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = files.path().join(name);
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let installed = Installation::start().await?;
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    apply(&installed.client, "demo", &service("echo", 80)).await?;
    apply(&installed.client, "demo", &endpoint_slice("echo", &backend)).await?;
    let authority = Authority::new()?;
    let certificate = authority.issue("127.0.0.1")?;
    let (chain, key) = (file("tls.crt", &certificate.certificate)?, file("tls.key", &certificate.key)?);
    let ours = installed.kubeconfig().await?;
    let arguments =
        ["--kubernetes", "--kubeconfig", &ours, "--token-audience", "pilotage", "--tls-cert", &chain];
    let mesh = Mesh::start_with(&[], &[&arguments[..], &["--tls-key", &key]].concat()).await?;

    let token = file("token", &installed.pod_token("web-1", "{}", "pilotage").await?)?;
    let shown = ["--tls-ca", &file("ca.crt", authority.certificate())?, "--token-file", &token];
    let host = "echo.demo.svc.cluster.local:80";
    let mut web = GrpcClient::proxyless_with(&mesh, "web-1", host, &shown).await?;
    web.first_call().await?;
    web.calls(10, &[]).await?.none_failed()?;
    let refused = GrpcClient::proxyless_with(&mesh, "web-2", host, &shown).await?.calls(1, &[]).await?;
    ensure!(refused.failed == 1, "the token is of another Pod");
    mesh.logged(&["a client is refused", "--id web-1"]).await?;
    Ok(())
}
