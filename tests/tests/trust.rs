//! Who is served without Kubernetes: certificates, on both sides, and what becomes of those who show none or another.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use pilotage_tests::{
    Asker, Authority, Backend, Caller, Dialect, GrpcClient, Issued, Mesh, PATIENCE, Proxy, TlsClient,
    endpoint_slice, eventually, routing, service,
};
use tokio::time::timeout;
use tonic::Code;

const WEB: &str = "spiffe://example.org/ns/demo/sa/web";

/// Writes a file as a careful writer does: whole, and then moved into its place.
fn place(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    Ok(fs::rename(beside, path)?)
}

/// Files of certificates in a folder of their own.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_string_lossy().into_owned()
    }

    fn issue(&self, name: &str, issued: &Issued) -> Result<()> {
        place(&PathBuf::from(self.path(&format!("{name}.key"))), &issued.key)?;
        place(&PathBuf::from(self.path(&format!("{name}.crt"))), &issued.certificate)
    }

    fn authority(&self, name: &str, authority: &Authority) -> Result<()> {
        place(&PathBuf::from(self.path(name)), authority.certificate())
    }
}

async fn mesh(files: &Files, more: &[&str], manifests: &str) -> Result<Mesh> {
    let (chain, key, clients) =
        (files.path("server.crt"), files.path("server.key"), files.path("clients.crt"));
    let mut arguments = vec!["--tls-cert", &chain, "--tls-key", &key, "--client-ca", &clients];
    arguments.extend(more);
    Mesh::start_with(&[("mesh.yaml", manifests)], &arguments).await
}

fn route(edition: &str) -> String {
    routing(&format!(
        "  - headers: {{response: {{set: {{x-route: {edition}}}}}}}\n    route: [{{destination: {{host: \
         echo.demo.svc.cluster.local, subset: v1}}}}]\n"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn envoys_with_certificates_are_served_and_every_certificate_can_be_renewed() -> Result<()> {
    let files = Files::new()?;
    let (authority, later) = (Authority::new()?, Authority::new()?);
    let (first, second) = (authority.issue("127.0.0.1")?, authority.issue("127.0.0.1")?);
    files.issue("server", &first)?;
    files.authority("clients.crt", &authority)?;
    files.authority("server-authority.crt", &authority)?;
    files.issue("web", &authority.issue(WEB)?)?;
    let backend = Backend::start("one", "v1").await?;
    let manifests = service("echo", 80) + &endpoint_slice("echo", &backend) + &route("first");
    let mut mesh = mesh(&files, &[], &manifests).await?;

    let (ca, chain, key) = (files.path("server-authority.crt"), files.path("web.crt"), files.path("web.key"));
    let folder = mesh.folder().to_string_lossy().into_owned();
    let shown = ["--tls-ca", &ca, "--tls-cert", &chain, "--tls-key", &key, "--secrets-dir", &folder];
    let mut proxy = Proxy::sidecar_with(&mesh, "web-1", Dialect::Delta, &shown).await?;
    let mut client = proxy.client("echo.demo.svc.cluster.local:80").await?;
    proxy.routed(&mut client, "first").await?;

    // A new certificate of the server: for new connections at once, and no stream is lost over it.
    files.issue("server", &second)?;
    let stranger = TlsClient::new(&authority, None)?;
    let expected = second.der()?;
    let renewed =
        || async { (stranger.certificate(mesh.xds(), "127.0.0.1").await.ok()? == expected).then_some(()) };
    eventually("the server's new certificate", renewed).await?;
    mesh.manifests().write("mesh.yaml", &manifests.replace("first", "second"))?;
    proxy.routed(&mut client, "second").await?;
    ensure!(!mesh.log()?.contains("the stream ends"), "no stream was lost");

    // A broken file changes nothing, and is told.
    place(&PathBuf::from(files.path("server.key")), &first.key)?;
    mesh.logged(&["the certificates stay as they were", "do not go together"]).await?;
    ensure!(stranger.certificate(mesh.xds(), "127.0.0.1").await? == expected);

    // Another authority on both sides, and a new certificate of the client: read by an Envoy that has been running.
    files.issue("server", &later.issue("127.0.0.1")?)?;
    for name in ["clients.crt", "server-authority.crt"] {
        files.authority(name, &later)?;
    }
    files.issue("web", &later.issue(WEB)?)?;
    mesh.stop_server().await?;
    mesh.start_server().await?;
    mesh.manifests().write("mesh.yaml", &manifests.replace("first", "third"))?;
    proxy.routed(&mut client, "third").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_known_is_refused_and_told_why_and_the_log_has_it_once() -> Result<()> {
    let files = Files::new()?;
    let (authority, strangers) = (Authority::new()?, Authority::new()?);
    files.issue("server", &authority.issue("127.0.0.1")?)?;
    files.authority("clients.crt", &authority)?;
    let settings = files.path("pilotage.yaml");
    fs::write(&settings, "trust:\n  workloads:\n    vm-7.example: demo\n")?;
    let mesh = mesh(&files, &["--config", &settings], &service("echo", 80)).await?;
    let identity =
        |name: &str| -> Result<TlsClient> { TlsClient::new(&authority, Some(&authority.issue(name)?)) };

    for name in [WEB, "vm-7.example"] {
        let told = Asker::sidecar("web-1", "demo").over(&identity(name)?).ask(mesh.xds()).await?;
        ensure!(!told.first.resources.is_empty(), "{name} is told what there is");
    }
    let other = strangers.issue(WEB)?;
    let refused = [
        ("nobody", TlsClient::new(&authority, None)?, Code::Unauthenticated, "shows no certificate"),
        ("no-namespace", identity("other.example")?, Code::Unauthenticated, "other.example"),
        (
            "elsewhere",
            identity("spiffe://example.org/ns/bank/sa/web")?,
            Code::PermissionDenied,
            "may not be the node",
        ),
    ];
    for (id, tls, code, words) in &refused {
        for _ in 0..3 {
            let status =
                Asker::sidecar(id, "demo").over(tls).ask(mesh.xds()).await.err().context("it is refused")?;
            ensure!(status.code() == *code && status.message().contains(words), "{id}: {status}");
        }
        mesh.logged(&["a client is refused", words]).await?;
        let log = mesh.log()?;
        let times =
            log.lines().filter(|line| line.contains("a client is refused") && line.contains(words)).count();
        ensure!(times == 1, "{id} is in the log {times} times");
    }
    // A certificate of somebody else's authority ends in the handshake.
    for _ in 0..3 {
        let tls = TlsClient::new(&authority, Some(&other))?;
        let status = Asker::sidecar("other", "demo")
            .over(&tls)
            .ask(mesh.xds())
            .await
            .err()
            .context("it is refused")?;
        // The handshake is the server's to end: the client sees a connection that breaks, in one way or another.
        ensure!(status.code() != Code::Ok && status.code() != Code::DeadlineExceeded, "{status}");
    }
    mesh.logged(&["a TLS handshake fails", "UnknownIssuer"])
        .await
        .or(mesh.logged(&["a TLS handshake fails"]).await)?;
    let log = mesh.log()?;
    ensure!(log.lines().filter(|line| line.contains("a TLS handshake fails")).count() == 1, "{log}");
    // Plaintext is no way in.
    let plain =
        Asker::sidecar("web-1", "demo").ask(mesh.xds()).await.err().context("plaintext is refused")?;
    ensure!(plain.code() != Code::Ok, "{plain}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_certificate_is_optional_strangers_may_be_anything_but_gateways() -> Result<()> {
    let files = Files::new()?;
    let authority = Authority::new()?;
    files.issue("server", &authority.issue("127.0.0.1")?)?;
    files.authority("clients.crt", &authority)?;
    let mesh = mesh(&files, &["--clients", "optional"], &service("echo", 80)).await?;
    let nobody = TlsClient::new(&authority, None)?;
    Asker::sidecar("web-1", "demo").over(&nobody).ask(mesh.xds()).await?;
    let gateway = Asker { kind: "gateway".into(), ..Asker::sidecar("edge-1", "demo") };
    let status = gateway.clone().over(&nobody).ask(mesh.xds()).await.err().context("it is refused")?;
    ensure!(status.code() == Code::Unauthenticated && status.message().contains("private keys"), "{status}");
    let known = TlsClient::new(&authority, Some(&authority.issue(WEB)?))?;
    gateway.over(&known).ask(mesh.xds()).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_certificate_that_it_was_opened_with() -> Result<()> {
    let files = Files::new()?;
    let authority = Authority::new()?;
    files.issue("server", &authority.issue("127.0.0.1")?)?;
    files.authority("clients.crt", &authority)?;
    let mesh = mesh(&files, &[], &service("echo", 80)).await?;
    let end = SystemTime::now() + Duration::from_secs(4);
    let short = TlsClient::new(&authority, Some(&authority.issue_until(WEB, Some(end))?))?;
    let long = TlsClient::new(&authority, Some(&authority.issue(WEB)?))?;
    let mut lasting = Asker::sidecar("web-2", "demo").over(&long).ask(mesh.xds()).await?;
    let mut ending = Asker::sidecar("web-1", "demo").over(&short).ask(mesh.xds()).await?;
    let ended =
        timeout(PATIENCE, ending.next.message()).await?.err().context("the stream ends with an error")?;
    ensure!(ended.code() == Code::Unauthenticated && ended.message().contains("renewed"), "{ended}");
    // Never later than the certificate; a moment is for the way to here.
    let late = SystemTime::now().duration_since(end).unwrap_or_default();
    ensure!(late < Duration::from_millis(500), "{late:?} late");
    ensure!(timeout(Duration::ZERO, lasting.next.message()).await.is_err(), "other streams go on");
    Ok(())
}

/// gRPC reads the same files by a bootstrap of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxyless_client_shows_its_certificate() -> Result<()> {
    let files = Files::new()?;
    let (authority, strangers) = (Authority::new()?, Authority::new()?);
    files.issue("server", &authority.issue("127.0.0.1")?)?;
    files.authority("clients.crt", &authority)?;
    files.authority("ca.crt", &authority)?;
    files.issue("web", &authority.issue(WEB)?)?;
    files.issue("stranger", &strangers.issue(WEB)?)?;
    let backend = Backend::start("one", "v1").await?;
    let mesh = mesh(&files, &[], &(service("echo", 80) + &endpoint_slice("echo", &backend))).await?;
    let client = async |name: &str| {
        let paths =
            [files.path("ca.crt"), files.path(&format!("{name}.crt")), files.path(&format!("{name}.key"))];
        let shown = ["--tls-ca", &paths[0], "--tls-cert", &paths[1], "--tls-key", &paths[2]];
        GrpcClient::proxyless_with(&mesh, name, "echo.demo.svc.cluster.local:80", &shown).await
    };
    let mut web = client("web").await?;
    web.first_call().await?;
    web.calls(10, &[]).await?.none_failed()?;
    let refused = client("stranger").await?.calls(1, &[]).await?;
    ensure!(refused.failed == 1, "another authority's certificate is taken");
    mesh.logged(&["a TLS handshake fails"]).await?;
    Ok(())
}
