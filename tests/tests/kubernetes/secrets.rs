//! Secrets of a cluster: those that something refers to, each by its name, and no other.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Installation, Namespace, Observer, Said, apply, apply_cluster, own_address,
};
use pilotage_tests::{
    Authority, Backend, Mesh, Proxy, TlsClient, Traffic, endpoint_slice, eventually, secret, service,
};
use pilotage_watcher::kubernetes::{Options as Following, SecretReferences, secret_source_name};
use pilotage_watcher::{Kind, ObjectKey};

const HOST: &str = "echo.example.com";

fn opaque(name: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{key: value}}\n---\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_while_something_refers_to_it_and_no_longer() -> Result<()> {
    let cluster = ControlPlane::shared().await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "secrets").await?;
    apply(&client, namespace.name(), &(opaque("one") + &opaque("two"))).await?;
    let observer =
        Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Following::default()).await?;
    observer.synced().await?;
    let gateway = ObjectKey::new(Kind::Gateway, namespace.name(), "edge");
    let id = |name: &str| (namespace.name().into(), name.into());
    let refer = |names: &[&str]| {
        observer.refer(names.iter().map(|name| (id(name), gateway.clone())).collect::<SecretReferences>());
    };
    let read = async |name: &str| {
        let source = secret_source_name(&id(name));
        let what = format!("{source} being read");
        let read = |said: &Said| {
            said.read.contains(&source).then(|| said.world.secret(namespace.name(), name).is_some())
        };
        observer.until(&what, read).await
    };

    refer(&["one", "missing"]);
    ensure!(read("one").await? && !read("missing").await?);
    let said = observer.said();
    ensure!(said.world.secret(namespace.name(), "two").is_none(), "nobody refers to it");

    // One that is made later comes by itself.
    apply(&client, namespace.name(), &opaque("missing")).await?;
    let here = |said: &Said| said.world.secret(namespace.name(), "missing").map(|_| ());
    observer.until("the Secret that was missing", here).await?;

    refer(&["two"]);
    ensure!(read("two").await?);
    for name in ["one", "missing"] {
        let gone = ObjectKey::new(Kind::Secret, namespace.name(), name);
        observer
            .until("what is not referred to being forgotten", |said| {
                said.deleted.contains(&gone).then_some(())
            })
            .await?;
    }
    let known: Vec<_> = observer.status().secrets.into_keys().collect();
    ensure!(known == [id("two")], "{known:?}");
    Ok(())
}

/// A Gateway with a server of TLS for each credential, and the VirtualService of `echo`.
fn rules(port: u16, credential: &str, denied: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
  - port: {{number: {port}, name: tls, protocol: HTTPS}}
    hosts: [{HOST}]
    tls: {{mode: SIMPLE, credentialName: {credential}}}
  - port: {{number: {port}, name: denied, protocol: HTTPS}}
    hosts: [denied.example.com]
    tls: {{mode: SIMPLE, credentialName: {denied}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo}}
spec:
  hosts: [{HOST}]
  gateways: [edge]
  http:
  - route: [{{destination: {{host: echo, port: {{number: 80}}}}}}]
"
    )
}

/// Lets the server's account read one Secret of the namespace `demo`, and no other.
fn role_of_one(name: &str) -> String {
    format!(
        "\
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: pilotage-secrets, namespace: demo}}
rules:
- {{apiGroups: [''], resources: [secrets], resourceNames: [{name}], verbs: [list, watch]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: pilotage-secrets, namespace: demo}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: pilotage-secrets}}
subjects:
- {{kind: ServiceAccount, name: pilotage, namespace: pilotage-system}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_secret_reaches_a_live_gateway_by_a_role_for_that_secret_alone() -> Result<()> {
    let installed = Installation::start().await?;
    let client = &installed.client;
    apply_cluster(client, &role_of_one("edge")).await?;

    let authority = Authority::new()?;
    let (first, second) = (authority.issue(HOST)?, authority.issue(HOST)?);
    let backend = Backend::start_on(SocketAddr::new(own_address()?, 0), "one", "v1").await?;
    let port = ReservedPort::new()?;
    let objects = [
        service("echo", 80),
        endpoint_slice("echo", &backend),
        secret("edge", &first, None),
        secret("denied", &first, None),
        rules(port.number(), "edge", "denied"),
    ];
    for object in &objects {
        apply(client, "demo", object).await?;
    }

    let kubeconfig = installed.kubeconfig().await?;
    let mesh = Mesh::start_with(&[], &["--kubernetes", "--kubeconfig", &kubeconfig]).await?;
    let edge = Proxy::gateway(&mesh, "edge", port.number()).await?;
    let tls = TlsClient::new(&authority, None)?;
    let connected = || async {
        let mut client = tls.connect(edge.entry(), HOST).await.ok()?;
        client.call(&[]).await.ok().map(|_| client)
    };
    let caller = eventually("a call over TLS that succeeds", connected).await?;
    // What may not be read costs its own server alone, and is told on the object that wants it.
    mesh.logged(&["forbidden", "Gateway demo/edge", "Secret demo/denied"]).await?;
    ensure!(tls.certificate(edge.entry(), "denied.example.com").await.is_err(), "no secret, no server");

    let traffic = Traffic::start(&caller);
    for issued in [&second, &first, &second] {
        traffic.flows(30).await?;
        apply(client, "demo", &secret("edge", issued, None)).await?;
        let expected = issued.der()?;
        let shown = || async { (tls.certificate(edge.entry(), HOST).await.ok()? == expected).then_some(()) };
        eventually("the new certificate on new connections", shown).await?;
    }
    traffic.stop().await?.none_failed()?;

    let asked: BTreeSet<String> = installed
        .audit
        .events()
        .iter()
        .filter(|event| event["user"]["username"] == "system:serviceaccount:pilotage-system:pilotage")
        .filter(|event| event["objectRef"]["resource"] == "secrets")
        .map(|event| event["objectRef"]["name"].as_str().unwrap_or("all of them").to_owned())
        .collect();
    ensure!(asked == BTreeSet::from(["denied".to_owned(), "edge".to_owned()]), "{asked:?}");
    Ok(())
}
