//! A folder of thousands of Services, a file each: with ten endpoints, and routes and rules for some.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use pilotage_tests::Asker;

use crate::running::{Running, envoy, logged, memory, resident, row, start};

const STARTS: usize = 5;
const EDITS: usize = 41;

/// The namespace of the hundredth part of the Services; there is one whose Sidecar object leaves out all others.
fn namespace(index: usize) -> String {
    format!("team-{:03}", index / 100)
}

/// The manifests of a Service; another `round` moves an endpoint and changes a timeout.
fn service(index: usize, round: usize) -> Result<String> {
    let (namespace, name) = (namespace(index), format!("service-{index:05}"));
    let meta = |name: &str| format!("metadata: {{name: {name}, namespace: {namespace}}}");
    let [_, a, b, c] = u32::try_from(index)?.to_be_bytes();
    let mut text = format!(
        "apiVersion: v1\nkind: Service\n{}\nspec:\n  clusterIP: 10.{a}.{b}.{c}\n  ports: [{{name: grpc, port: \
         50051}}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  \
         namespace: {namespace}\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports: [{{name: \
         grpc, port: 8080}}]\nendpoints:\n",
        meta(&name)
    );
    for endpoint in 0..10 {
        let number = u32::try_from(index * 16 + endpoint + if endpoint == 0 { round % 2 * 10 } else { 0 })?;
        let [_, a, b, c] = number.to_be_bytes();
        writeln!(text, "- {{addresses: [11.{a}.{b}.{c}]}}")?;
    }
    if index.is_multiple_of(10) {
        write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n{}\nspec:\n  host: {name}\n  \
             trafficPolicy: {{connectionPool: {{http: {{http2MaxRequests: 1000}}}}}}\n",
            meta(&name)
        )?;
    }
    if index % 10 < 3 {
        write!(
            text,
            "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n{}\nspec:\n  hosts: [{name}]\n  http:\n  \
             - match: [{{uri: {{prefix: /shop.Checkout/}}}}]\n    route: [{{destination: {{host: {name}}}}}]\n    \
             timeout: {}s\n  - route: [{{destination: {{host: {name}}}}}]\n",
            meta(&name),
            1 + round / 2
        )?;
    }
    Ok(text)
}

/// Puts a file into the place of the one of its name at once.
fn put(folder: &Path, name: &str, text: &str) -> Result<()> {
    let beside = folder.with_extension("new");
    fs::write(&beside, text)?;
    Ok(fs::rename(beside, folder.join(name))?)
}

/// Edits a Service's file until it was done often enough: what one Envoy takes of it is told by the server's log.
async fn edits(
    what: &str,
    server: &mut Running,
    folder: &Path,
    index: usize,
    rounds: impl Fn(usize) -> usize,
    awaited: &str,
) -> Result<()> {
    let mut edits = Vec::new();
    for round in 1..=EDITS {
        let text = service(index, rounds(round))?;
        let written = Instant::now();
        put(folder, &format!("service-{index:05}.yaml"), &text)?;
        logged(server, &["accepted", awaited]).await?;
        edits.push(written.elapsed());
    }
    row(what, edits);
    Ok(())
}

pub(crate) async fn measure(services: usize) -> Result<()> {
    let place = tempfile::tempdir()?;
    let folder = place.path().join("manifests");
    fs::create_dir(&folder)?;
    for index in 0..services {
        fs::write(folder.join(format!("service-{index:05}.yaml")), service(index, 0)?)?;
    }
    let (mut ready, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let started = Instant::now();
        let server = start(&folder).await?;
        ready.push(server.took);
        let told = Asker::sidecar("cold", &namespace(0)).ask(server.xds.parse()?).await?;
        answered.push(started.elapsed());
        anyhow::ensure!(!told.first.resources.is_empty(), "the first answer is empty");
    }
    row(&format!("process start to ready, {services} Services"), ready);
    row("process start to the first answer, the first clusters", answered);

    let index = services / 20 * 10;
    let mut server = start(&folder).await?;
    let all = envoy(&mut server, &namespace(0), place.path()).await?;
    edits(
        "an endpoint edited: file write to Envoy's ACK",
        &mut server,
        &folder,
        index,
        |round| round % 2,
        "ClusterLoadAssignment",
    )
    .await?;
    edits("a route edited: the same", &mut server, &folder, index, |round| round * 2, "RouteConfiguration")
        .await?;
    let process = server.child.id().context("the server runs")?;
    memory("resident memory, one Envoy connected", resident(process)?);
    all.kill().await;

    let own = namespace(index);
    let sidecar = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: default, namespace: ";
    put(&folder, "sidecar.yaml", &format!("{sidecar}{own}}}\nspec: {{egress: [{{hosts: [./*]}}]}}\n"))?;
    let mut server = start(&folder).await?;
    let _one = envoy(&mut server, &own, place.path()).await?;
    edits(
        "a route edited, for a Sidecar's 100 hosts",
        &mut server,
        &folder,
        index,
        |round| 1000 + round * 2,
        "RouteConfiguration",
    )
    .await
}
