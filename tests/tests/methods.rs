//! What is known of methods: fetched from a server, put beside the manifests, and kept to by calls.

use std::net::SocketAddr;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use pilotage_tests::{Backend, Behaviour, Dialect, Mesh, Proxy, calls, host, pilotage, routing};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_reflection::server::Builder;

/// The service of `deploy/examples/methods`: GetCart, ListOrders and SetAddress may be called twice.
const SHOP: &[u8] = include_bytes!("../../deploy/examples/methods/shop.binpb");

/// A server that knows of itself by both versions of reflection, or by one.
async fn server(versions: &[&str]) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let builder = || Builder::configure().register_encoded_file_descriptor_set(SHOP);
    let v1 = versions.contains(&"v1").then(|| builder().build_v1()).transpose()?;
    let v1alpha = versions.contains(&"v1alpha").then(|| builder().build_v1alpha()).transpose()?;
    let routes = Server::builder().add_optional_service(v1).add_optional_service(v1alpha);
    tokio::spawn(routes.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

async fn run(arguments: &[&str]) -> Result<Output> {
    Ok(tokio::process::Command::new(pilotage()?).args(["descriptors"]).args(arguments).output().await?)
}

#[tokio::test]
async fn descriptors_are_fetched_by_either_version_of_reflection() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for version in ["v1", "v1alpha"] {
        let address = server(&[version]).await?.to_string();
        let file = folder.path().join(format!("{version}.binpb"));
        let file = file.to_str().context("a path in UTF-8")?;
        let fetched = run(&["fetch", &address, "--output", file]).await?;
        let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
        ensure!(fetched.status.success(), "{said}");
        ensure!(said.contains("5 methods") && said.contains(&format!("reflection {version};")), "{said}");
        let shown = run(&["show", file]).await?;
        let shown = String::from_utf8(shown.stdout)?;
        let lines: Vec<&str> = shown.lines().collect();
        ensure!(lines.contains(&"once            /shop.Checkout/PlaceOrder"), "{shown}");
        ensure!(lines.contains(&"no side effects /shop.Checkout/GetCart"), "{shown}");
        ensure!(lines.contains(&"idempotent      /shop.Checkout/SetAddress"), "{shown}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_an_error_that_says_why() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("none.binpb");
    let output = file.to_str().context("a path in UTF-8")?;
    let plain = Backend::start("one", "v1").await?.address().to_string();
    let backend = Backend::start("one", "v1").await?;
    let without = backend.address().to_string();
    for (address, expected) in [
        (plain.as_str(), "cannot connect"),
        (without.as_str(), "has no server reflection"),
        ("nonsense", "is not an address"),
    ] {
        let failed = run(&["fetch", address, "--output", output]).await?;
        let said = String::from_utf8_lossy(&failed.stderr);
        ensure!(failed.status.code() == Some(2) && said.contains(expected), "{address}: {said}");
        ensure!(!file.exists(), "nothing is written");
    }
    let shown = run(&["show", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]).await?;
    let said = String::from_utf8_lossy(&shown.stderr);
    ensure!(shown.status.code() == Some(2) && said.contains("FileDescriptorSet"), "{said}");
    Ok(())
}

/// The descriptors of `pilotage.demo.Echo`, whose method has this level.
fn echo(level: u8) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, bytes.len() as u8], bytes].concat();
    // MethodOptions.idempotency_level is field 34, whose key takes two bytes.
    let options = [0x90, 0x02, level];
    let method = [field(1, b"Call"), field(4, &options)].concat();
    let service = [field(1, b"Echo"), field(2, &method)].concat();
    field(1, &[field(1, b"echo.proto"), field(2, b"pilotage.demo"), field(6, &service)].concat())
}

/// Puts the descriptors beside the manifests, whole.
fn describe(mesh: &Mesh, level: u8) -> Result<()> {
    let scratch = mesh.folder().join("echo.tmp");
    std::fs::write(&scratch, echo(level))?;
    Ok(std::fs::rename(scratch, mesh.manifests().folder().join("echo.binpb"))?)
}

/// A call of a method that may not run twice fails as soon as the server refuses it; one that may is made again.
#[tokio::test]
async fn calls_are_retried_as_their_method_bears() -> Result<()> {
    const ONCE: u8 = 0;
    const IDEMPOTENT: u8 = 2;
    let rules = "  - route: [{destination: {host: echo.demo.svc.cluster.local}}]
    headers: {response: {set: {x-route: RULE}}}
    retries: {attempts: 8, retryOn: unavailable}
";
    let backends = vec![Backend::start("a", "v1").await?, Backend::start("b", "v1").await?];
    let mesh = Mesh::echo(backends, "").await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let mut client = sidecar.client(&host("echo")).await?;
    describe(&mesh, ONCE)?;
    mesh.manifests().write("rules.yaml", &routing(&rules.replace("RULE", "first")))?;
    sidecar.routed(&mut client, "first").await?;
    mesh.backends()[0].behave(Behaviour::Unavailable);
    let outcomes = calls(&mut client, 100, &[]).await;
    let refused = mesh.backends()[0].refused();
    ensure!(refused > 0 && outcomes.failed == refused, "{refused} refused, {} failed", outcomes.failed);

    mesh.backends()[0].behave(Behaviour::Answer);
    describe(&mesh, IDEMPOTENT)?;
    mesh.manifests().write("rules.yaml", &routing(&rules.replace("RULE", "second")))?;
    sidecar.routed(&mut client, "second").await?;
    mesh.backends()[0].behave(Behaviour::Unavailable);
    let outcomes = calls(&mut client, 100, &[]).await;
    outcomes.none_failed()?;
    ensure!(mesh.backends()[0].refused() > refused, "the server was asked again");
    Ok(())
}
