//! A workload whose connections real iptables rules redirect, in a user and network namespace of the test's own: from an
//! application to its Envoy, out, in again through the Envoy of the workload that is called, and to that workload.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use pilotage_tests::namespace::{Machine, as_application, isolated};
use pilotage_tests::{Backend, Behaviour, Client, Mesh, Outcomes, PATIENCE, Proxy, calls, eventually, host};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The addresses of the workload, on the test's machine.
const POD: [&str; 2] = ["10.1.0.1", "10.1.0.2"];
/// The address of the other machine.
const AWAY: &str = "10.2.0.1";
/// The virtual addresses of Services, for which nobody answers but the Envoy.
const ECHO: &str = "10.96.0.1:80";
const FAR: &str = "10.96.0.2:80";
const PIPE: &str = "10.96.0.3:7000";

const OUT: &str = "cluster.outbound|80||echo.demo.svc.cluster.local.";
const IN: &str = "cluster.inbound|8080||.";

/// The Service `echo` of the workload itself; `far` and `pipe` are on the other machine.
const WORLD: &str = "\
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: demo}
spec:
  clusterIP: 10.96.0.1
  selector: {app: echo}
  ports: [{name: grpc, port: 80, targetPort: 8080, appProtocol: grpc}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: echo-1, namespace: demo, labels: {kubernetes.io/service-name: echo}}
addressType: IPv4
ports: [{name: grpc, port: 8080}]
endpoints:
- {addresses: [10.1.0.1], conditions: {ready: true}}
- {addresses: [10.1.0.2], conditions: {ready: true}}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: demo}
spec:
  clusterIP: 10.96.0.2
  ports: [{name: grpc, port: 80, appProtocol: grpc}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: far-1, namespace: demo, labels: {kubernetes.io/service-name: far}}
addressType: IPv4
ports: [{name: grpc, port: 9090}]
endpoints: [{addresses: [10.2.0.1], conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: headless, namespace: demo}
spec:
  clusterIP: None
  ports: [{name: grpc, port: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: pipe, namespace: demo}
spec:
  clusterIP: 10.96.0.3
  ports: [{name: tcp, port: 7000}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: pipe-1, namespace: demo, labels: {kubernetes.io/service-name: pipe}}
addressType: IPv4
ports: [{name: tcp, port: 7777}]
endpoints: [{addresses: [10.2.0.1], conditions: {ready: true}}]
---
";

const RETRIES: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo, namespace: demo}
spec:
  hosts: [echo.demo.svc.cluster.local]
  http:
  - route: [{destination: {host: echo.demo.svc.cluster.local}}]
    retries: {attempts: 5, retryOn: unavailable}
";

const REGISTRY_ONLY: &str = "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: demo}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
";

struct Setting {
    mesh: Mesh,
    sidecar: Proxy,
    backends: Vec<Backend>,
    away: Machine,
}

/// A workload with its rules and its Envoy, and another machine with neither.
async fn setting(more: &str) -> Result<Setting> {
    let ours = ["10.2.0.2/16", "10.1.0.1/32", "10.1.0.2/32"];
    let away = Machine::start(&ours, &["10.2.0.1/16"])?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/interception/redirect.sh");
    let redirect = tokio::process::Command::new(script).env("PROXY_UID", "0").output().await?;
    ensure!(redirect.status.success(), "redirect.sh: {}", String::from_utf8_lossy(&redirect.stderr));

    let mut backends = Vec::new();
    for (address, id) in POD.iter().zip(["one", "two"]) {
        backends.push(Backend::start_on(format!("{address}:8080").parse()?, id, "v1").await?);
    }
    let mesh = Mesh::start(&[("world.yaml", WORLD), ("rules.yaml", more)]).await?;
    let sidecar = Proxy::intercepted(&mesh, "sidecar", "echo").await?;
    Ok(Setting { mesh, sidecar, backends, away })
}

/// Calls of an application, on one connection.
async fn load(target: &'static str, service: &'static str, count: u64) -> Result<Outcomes> {
    as_application(move || async move {
        let mut client = Client::connect(target.parse()?, &host(service)).await?;
        let outcomes = calls(&mut client, count, &[]).await;
        ensure!(client.connections() == 1, "{} connections", client.connections());
        Ok(outcomes)
    })
    .await
}

/// What comes back of a word on a new connection of an application; none where it is closed without an answer.
async fn said(target: &'static str) -> Result<Option<String>> {
    as_application(move || async move {
        let talk = async {
            let mut stream = TcpStream::connect(target).await?;
            stream.write_all(b"hello").await?;
            let mut answer = [0; 5];
            stream.read_exact(&mut answer).await.map(|_| answer)
        };
        let talked = tokio::time::timeout(PATIENCE, talk).await.context("neither answered nor closed")?;
        Ok(talked.ok().map(|answer| String::from_utf8_lossy(&answer).into_owned()))
    })
    .await
}

/// Serves both kinds of servers on the other machine until it is dropped.
async fn serve_away(away: &Machine) -> Result<tokio::sync::oneshot::Sender<()>> {
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = away.run(move || async move {
        let _backend = Backend::start_on(format!("{AWAY}:9090").parse()?, "away", "v1").await?;
        let listener = TcpListener::bind((AWAY, 7777)).await?;
        ready.send(()).ok().context("nobody waits")?;
        let echo = async {
            loop {
                let (mut stream, _) = listener.accept().await?;
                tokio::spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await
                });
            }
        };
        tokio::select! {
            failed = echo => failed,
            _ = stopped => Ok(()),
        }
    });
    tokio::spawn(async {
        // A failure shows as a server that does not answer.
        let _: Result<()> = served.await;
    });
    is_ready.await.context("the other machine does not serve")?;
    Ok(stop)
}

async fn stat(sidecar: &Proxy, name: &str) -> Result<u64> {
    Ok(sidecar.envoy().stats(name).await?.get(name).copied().unwrap_or_default())
}

#[test]
fn calls_pass_the_envoy_on_the_way_out_and_on_the_way_in() -> Result<()> {
    isolated("calls_pass_the_envoy_on_the_way_out_and_on_the_way_in", || async {
        let setting = setting("").await?;
        let outcomes = load(ECHO, "echo", 1000).await?;
        outcomes.none_failed()?;
        ensure!(outcomes.server("one") > 300 && outcomes.server("two") > 300, "{:?}", outcomes.servers);
        for cluster in [OUT, IN] {
            let requests = stat(&setting.sidecar, &format!("{cluster}upstream_rq_completed")).await?;
            ensure!(requests == 1000, "{requests} by {cluster}");
            let http2 = stat(&setting.sidecar, &format!("{cluster}upstream_cx_http2_total")).await?;
            ensure!((1..=4).contains(&http2), "{http2} connections of HTTP/2 by {cluster}");
        }
        // From elsewhere nothing but the way in is passed.
        let answered = setting
            .away
            .run(|| async {
                let mut client = Client::connect("10.1.0.1:8080".parse()?, &host("echo")).await?;
                Ok(calls(&mut client, 50, &[]).await)
            })
            .await?;
        answered.none_failed()?;
        ensure!(answered.server("one") == 50, "{:?}", answered.servers);
        let counts = [
            stat(&setting.sidecar, &format!("{OUT}upstream_rq_completed")).await?,
            stat(&setting.sidecar, &format!("{IN}upstream_rq_completed")).await?,
        ];
        ensure!(counts == [1000, 1050], "{counts:?}");
        Ok(())
    })
}

#[test]
fn retries_of_redirected_calls_are_made_by_the_way_out() -> Result<()> {
    isolated("retries_of_redirected_calls_are_made_by_the_way_out", || async {
        let setting = setting(RETRIES).await?;
        setting.backends[0].behave(Behaviour::Unavailable);
        let outcomes = load(ECHO, "echo", 200).await?;
        outcomes.none_failed()?;
        let refused = setting.backends[0].refused();
        ensure!(refused > 0 && outcomes.server("two") == 200, "{refused} refused, {:?}", outcomes.servers);
        let retries = stat(&setting.sidecar, &format!("{OUT}upstream_rq_retry")).await?;
        ensure!(retries == refused, "{retries} retries of {refused} refused calls");
        // The way in must not multiply them.
        let again = stat(&setting.sidecar, &format!("{IN}upstream_rq_retry")).await?;
        ensure!(again == 0, "{again} retries on the way in");
        Ok(())
    })
}

#[test]
fn unknown_destinations_pass_until_the_policy_refuses_them() -> Result<()> {
    isolated("unknown_destinations_pass_until_the_policy_refuses_them", || async {
        let setting = setting("").await?;
        let _serving = serve_away(&setting.away).await?;
        // Known ones: by name and address, by address alone, and a Pod of a headless Service by its own.
        load(FAR, "far", 20).await?.none_failed()?;
        ensure!(said(PIPE).await?.as_deref() == Some("hello"), "the opaque Service answers");
        load("10.2.0.1:9090", "headless", 20).await?.none_failed()?;
        let headless = "cluster.outbound|9090||headless.demo.svc.cluster.local.upstream_rq_completed";
        ensure!(stat(&setting.sidecar, headless).await? == 20, "the headless Service has its cluster");

        ensure!(said("10.2.0.1:7777").await?.as_deref() == Some("hello"), "what nobody knows is passed on");
        load("10.2.0.1:9090", "unknown", 5).await?.none_failed()?;
        let passed = stat(&setting.sidecar, "cluster.PassthroughCluster.upstream_cx_total").await?;
        ensure!(passed == 2, "{passed} connections were passed on");

        setting.mesh.manifests().write("sidecar.yaml", REGISTRY_ONLY)?;
        let refused = || async { said("10.2.0.1:7777").await.ok()?.is_none().then_some(()) };
        eventually("a refusal of what nobody knows", refused).await?;
        let closed = stat(&setting.sidecar, "cluster.BlackHoleCluster.upstream_cx_none_healthy").await?;
        ensure!(closed > 0, "refused connections are counted");
        let unknown = load("10.2.0.1:9090", "unknown", 1).await?;
        let (_, failure) = unknown.first_failure.context("a request that nobody knows fails")?;
        ensure!(failure.contains("Unavailable") && failure.contains(":authority"), "{failure}");
        ensure!(said(PIPE).await?.as_deref() == Some("hello"), "known Services go on to answer");
        load(FAR, "far", 20).await?.none_failed()
    })
}

/// What connects to a redirecting port itself would come back to it for ever if it were passed on.
#[test]
fn the_redirecting_ports_do_not_loop() -> Result<()> {
    isolated("the_redirecting_ports_do_not_loop", || async {
        let setting = setting("").await?;
        for target in ["127.0.0.1:15001", "127.0.0.1:15006"] {
            ensure!(said(target).await?.is_none(), "{target} answers");
        }
        let passed = stat(&setting.sidecar, "cluster.PassthroughCluster.upstream_cx_total").await?
            + stat(&setting.sidecar, "cluster.InboundPassthroughCluster.upstream_cx_total").await?;
        ensure!(passed == 0, "{passed} connections were passed on");
        Ok(())
    })
}
