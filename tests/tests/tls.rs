//! TLS at gateways and to backends: real certificates, a real Envoy, real calls.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::{
    Authority, Backend, Client, Issued, Mesh, Proxy, TlsClient, TlsFront, Traffic, calls, eventually, secret,
};

const HOST: &str = "echo.example.com";

/// A Gateway with one server on `port`, and the VirtualService of `echo`.
fn gateway(port: u16, protocol: &str, tls: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: tls, protocol: {protocol}}}
    hosts: [{HOST}]
    tls: {tls}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: demo}}
spec:
  hosts: [{HOST}]
  gateways: [edge]
  http:
  - route: [{{destination: {{host: echo, port: {{number: 80}}}}}}]
---
"
    )
}

/// A gRPC client through the gateway, once a call succeeds.
async fn client(tls: &TlsClient, edge: SocketAddr) -> Result<Client> {
    let connected = || async {
        let mut client = tls.connect(edge, HOST).await.ok()?;
        client.call(&[]).await.ok().map(|_| client)
    };
    eventually("a call over TLS that succeeds", connected).await
}

/// Waits until new connections see this certificate.
async fn shows(tls: &TlsClient, edge: SocketAddr, issued: &Issued) -> Result<()> {
    let expected = issued.der()?;
    let shown = || async {
        let shown = tls.certificate(edge, HOST).await.ok()?;
        (shown == expected).then_some(())
    };
    eventually("the certificate on new connections", shown).await
}

#[tokio::test]
async fn a_rotated_secret_is_shown_to_new_connections_and_drops_no_old_one() -> Result<()> {
    let authority = Authority::new()?;
    let (first, second) = (authority.issue(HOST)?, authority.issue(HOST)?);
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "HTTPS", "{mode: SIMPLE, credentialName: edge}");
    let backends = vec![Backend::start("one", "v1").await?, Backend::start("two", "v1").await?];
    let mesh = Mesh::echo(backends, &rules).await?;
    mesh.manifests().write("secret.yaml", &secret("edge", &first, None))?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let client = client(&tls, edge.entry()).await?;
    ensure!(tls.certificate(edge.entry(), HOST).await? == first.der()?, "the first certificate");

    let traffic = Traffic::start(&client);
    for issued in [&second, &first, &second] {
        traffic.flows(50).await?;
        mesh.manifests().write("secret.yaml", &secret("edge", issued, None))?;
        shows(&tls, edge.entry(), issued).await?;
    }
    // A pair that does not fit is told, and changes nothing.
    let mixed = Issued { certificate: first.certificate.clone(), key: second.key.clone() };
    mesh.manifests().write("secret.yaml", &secret("edge", &mixed, None))?;
    mesh.logged(&["invalid-secret", "another certificate", "last good"]).await?;
    traffic.flows(50).await?;
    shows(&tls, edge.entry(), &second).await?;

    let outcomes = traffic.stop().await?;
    outcomes.none_failed()?;
    ensure!(client.connections() == 1, "{} connections", client.connections());
    ensure!(outcomes.servers.len() == 2, "{:?}", outcomes.servers);
    // Nothing of a key is in the log, neither as it is nor as it was written.
    let log = mesh.log()?;
    for issued in [&first, &second] {
        for line in issued.key.lines().filter(|line| !line.starts_with("-----")) {
            ensure!(!log.contains(line), "the log has a line of a key");
        }
    }
    // The listener itself was never touched: a rotation is a secret's own affair.
    let stats =
        edge.envoy().admin_json("/stats?format=json&filter=listener_manager.listener_modified").await?;
    ensure!(stats["stats"][0]["value"] == 0, "{stats}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_comes_late_opens_the_server_and_holds_up_no_other() -> Result<()> {
    let authority = Authority::new()?;
    let issued = authority.issue(HOST)?;
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "HTTPS", "{mode: SIMPLE, credentialName: edge}").replace(
        "    hosts: [echo.example.com]\n",
        "    hosts: [other.example.com]\n    tls: {mode: SIMPLE, credentialName: late}\n  - port: {number: PORT, name: \
         echo, protocol: HTTPS}\n    hosts: [echo.example.com]\n",
    );
    let rules = rules.replace("PORT", &port.number().to_string());
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &rules).await?;
    mesh.manifests().write("secret.yaml", &secret("edge", &issued, None))?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let mut client = client(&tls, edge.entry()).await?;
    mesh.logged(&["unknown-secret", "late"]).await?;
    ensure!(tls.certificate(edge.entry(), "other.example.com").await.is_err(), "no secret, no server");

    let other = authority.issue("other.example.com")?;
    mesh.manifests().write("late.yaml", &secret("late", &other, None))?;
    let expected = other.der()?;
    let shown = || async {
        let shown = tls.certificate(edge.entry(), "other.example.com").await.ok()?;
        (shown == expected).then_some(())
    };
    eventually("the server of the late secret", shown).await?;
    calls(&mut client, 50, &[]).await.none_failed()
}

#[tokio::test]
async fn mutual_tls_lets_in_who_shows_a_certificate_of_the_authority() -> Result<()> {
    let (authority, strangers) = (Authority::new()?, Authority::new()?);
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "HTTPS", "{mode: MUTUAL, credentialName: edge}")
        + &secret("edge", &authority.issue(HOST)?, Some(authority.certificate()));
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &rules).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let friend = TlsClient::new(&authority, Some(&authority.issue("friend.example.com")?))?;
    let mut client = client(&friend, edge.entry()).await?;
    calls(&mut client, 50, &[]).await.none_failed()?;
    for (who, identity) in [("nobody", None), ("a stranger", Some(strangers.issue("friend.example.com")?))] {
        let tls = TlsClient::new(&authority, identity.as_ref())?;
        let outcome = match tls.connect(edge.entry(), HOST).await {
            Ok(mut client) => client.call(&[]).await.is_ok(),
            Err(_) => false,
        };
        ensure!(!outcome, "{who} was let in");
    }
    Ok(())
}

#[tokio::test]
async fn grpc_with_tls_settings_is_tls_and_never_plaintext() -> Result<()> {
    let authority = Authority::new()?;
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "GRPC", "{mode: SIMPLE, credentialName: edge}")
        + &secret("edge", &authority.issue(HOST)?, None);
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &rules).await?;
    mesh.logged(&["tls-on-plaintext", "HTTPS"]).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let mut client = client(&TlsClient::new(&authority, None)?, edge.entry()).await?;
    calls(&mut client, 20, &[]).await.none_failed()?;
    let plaintext = match Client::connect(edge.entry(), HOST).await {
        Ok(mut client) => client.call(&[]).await.is_ok(),
        Err(_) => false,
    };
    ensure!(!plaintext, "a call in plaintext was answered");
    Ok(())
}

/// A ServiceEntry `sealed.internal:443` of what listens at `address`.
fn sealed(address: SocketAddr, protocol: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: sealed, namespace: demo}}
spec:
  hosts: [sealed.internal]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 443, name: backend, protocol: {protocol}}}]
  endpoints: [{{address: {}, ports: {{backend: {}}}}}]
---
",
        address.ip(),
        address.port()
    )
}

#[tokio::test]
async fn tls_goes_through_sealed_to_the_backend_that_its_server_name_means() -> Result<()> {
    let authority = Authority::new()?;
    let issued = authority.issue(HOST)?;
    let backend = Backend::start("sealed", "v1").await?;
    let front = TlsFront::start(backend.address(), &issued, None).await?;
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "TLS", "{mode: PASSTHROUGH}").replace(
        "  http:\n  - route: [{destination: {host: echo, port: {number: 80}}}]\n",
        "  tls:\n  - match: [{sniHosts: [echo.example.com]}]\n    route: [{destination: {host: sealed.internal}}]\n",
    );
    let mesh = Mesh::start(&[("rules.yaml", &(rules + &sealed(front.address(), "TLS")))]).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let mut client = client(&tls, edge.entry()).await?;
    let outcomes = calls(&mut client, 50, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.server("sealed") == 50, "{:?}", outcomes.servers);
    ensure!(tls.certificate(edge.entry(), HOST).await? == issued.der()?, "the backend's own certificate");
    ensure!(tls.open(edge.entry(), "other.example.com").await.is_err(), "no rule, no connection");
    Ok(())
}

/// TLS from the client to the gateway, and from there to the backend: with the gateway's own certificate, a trusted
/// authority, and the name of the request.
#[tokio::test]
async fn tls_from_the_client_to_the_backend_by_way_of_the_gateway() -> Result<()> {
    let (authority, inside) = (Authority::new()?, Authority::new()?);
    let backend = Backend::start("inside", "v1").await?;
    let front = TlsFront::start(backend.address(), &inside.issue(HOST)?, Some(&inside)).await?;
    let port = ReservedPort::new()?;
    let rules = gateway(port.number(), "HTTPS", "{mode: SIMPLE, credentialName: edge}")
        .replace("host: echo, port: {number: 80}", "host: sealed.internal")
        + &sealed(front.address(), "GRPC")
        + &secret("edge", &authority.issue(HOST)?, None);
    let rule = |sni: &str| {
        format!(
            "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: sealed, namespace: demo}}
spec:
  host: sealed.internal
  trafficPolicy:
    tls: {{mode: MUTUAL, credentialName: inside{sni}}}
"
        )
    };
    let mesh = Mesh::start(&[("rules.yaml", &rules)]).await?;
    let credential = secret("inside", &inside.issue("gateway.internal")?, Some(inside.certificate()));
    mesh.manifests().write("inside.yaml", &(credential + &rule("")))?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let mut client = client(&tls, edge.entry()).await?;
    let outcomes = calls(&mut client, 50, &[]).await;
    outcomes.none_failed()?;
    ensure!(outcomes.server("inside") == 50, "{:?}", outcomes.servers);

    // The gateway's certificate is rotated under load, and then its authority is another: the backend is a stranger.
    let traffic = Traffic::start(&client);
    traffic.flows(50).await?;
    let credential = secret("inside", &inside.issue("gateway.internal")?, Some(inside.certificate()));
    mesh.manifests().write("inside.yaml", &(credential + &rule("")))?;
    traffic.flows(200).await?;
    traffic.stop().await?.none_failed()?;
    let credential = secret("inside", &inside.issue("gateway.internal")?, Some(authority.certificate()));
    mesh.manifests().write("inside.yaml", &(credential + &rule(", sni: echo.example.com")))?;
    let refused = || async {
        let path = "/stats?format=json&filter=cluster.outbound.443..sealed.internal.ssl.fail_verify_error";
        let stats = edge.envoy().admin_json(path).await.ok()?;
        let is_told = stats["stats"][0]["value"].as_u64().is_some_and(|count| count > 0);
        let status = client.clone().call(&[]).await.err()?;
        (is_told && status.code() == tonic::Code::Unavailable).then_some(())
    };
    eventually("the backend's certificate is refused", refused).await
}

#[tokio::test]
async fn a_gateway_is_given_no_secret_of_another_namespace_and_of_nobody() -> Result<()> {
    let authority = Authority::new()?;
    let issued = authority.issue(HOST)?;
    let port = ReservedPort::new()?;
    let elsewhere = secret("elsewhere", &issued, None).replace("namespace: demo", "namespace: other");
    let rules = gateway(port.number(), "HTTPS", "{mode: SIMPLE, credentialName: edge}")
        + &secret("edge", &issued, None)
        + &secret("nobody", &issued, None)
        + &elsewhere;
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], &rules).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    client(&TlsClient::new(&authority, None)?, edge.entry()).await?;
    let dump = edge.dump(".SecretsConfigDump").await?;
    let secrets = dump["dynamic_active_secrets"].as_array().context("it has secrets")?;
    let names: Vec<&str> = secrets.iter().filter_map(|secret| secret["name"].as_str()).collect();
    ensure!(names == ["kubernetes://edge"], "{names:?}");
    Ok(())
}
