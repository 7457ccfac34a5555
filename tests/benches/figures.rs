//! The figures of one server on one folder: process start to ready, file write to Envoy's ACK, memory at idle; of the
//! demo's folder, and of a large one.
//!
//! `cargo bench -p pilotage-tests --bench figures` measures the release build and prints a table; nothing here
//! passes or fails by time. `-- --services N` sets the size of the large folder, 10,000 Services by itself.

#[path = "figures/large.rs"]
mod large;
#[path = "figures/running.rs"]
mod running;

use std::time::Instant;

use anyhow::{Context, Result};
use pilotage::demo::Manifests;

use crate::running::{envoy, logged, memory, resident, row, start};

const STARTS: usize = 30;
const EDITS: u32 = 100;

/// The folder of the demo: a Service, six endpoints in as many slices, subsets and routes.
fn write(manifests: &Manifests) -> Result<()> {
    let mut endpoints = String::new();
    for (index, version) in ["v1", "v1", "v1", "v2", "v2", "v2"].into_iter().enumerate() {
        endpoints += &format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: echo-{index}\n  namespace: demo\n  \
             labels: {{kubernetes.io/service-name: echo}}\n  annotations: {{pilotage.dev/endpoint-labels: \
             version={version}}}\naddressType: IPv4\nports:\n- {{name: grpc, port: 9}}\nendpoints:\n- addresses: \
             [\"127.0.0.{}\"]\n---\n",
            index + 1
        );
    }
    manifests.write("endpoints.yaml", &endpoints)?;
    manifests.write(
        "service.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: demo}\nspec:\n  ports:\n  - {name: grpc, port: \
         80, appProtocol: grpc}\n",
    )?;
    manifests.write("routes.yaml", &routes(90))?;
    Ok(())
}

fn routes(weight: u32) -> String {
    let host = "echo.demo.svc.cluster.local";
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo, namespace: demo}}\nspec:\n  \
         host: {host}\n  subsets:\n  - {{name: v1, labels: {{version: v1}}}}\n  - {{name: v2, labels: {{version: \
         v2}}}}\n---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: echo, namespace: \
         demo}}\nspec:\n  hosts: [{host}]\n  http:\n  - route:\n    - {{destination: {{host: {host}, subset: v1}}, \
         weight: {weight}}}\n    - {{destination: {{host: {host}, subset: v2}}, weight: 10}}\n"
    )
}

#[tokio::main]
async fn main() -> Result<()> {
    println!("{:<52} {:>11} {:>11} {:>11}", "", "least", "median", "p99");
    let mut arguments = std::env::args().skip_while(|argument| argument != "--services").skip(1);
    let services = arguments.next().map_or(Ok(10_000), |number| number.parse())?;
    demo().await?;
    large::measure(services).await
}

async fn demo() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = Manifests::below(folder.path())?;
    write(&manifests)?;

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start(manifests.folder()).await?.took);
    }
    row("process start to ready, demo folder", starts);

    let mut server = start(manifests.folder()).await?;
    let _envoy = envoy(&mut server, "demo", folder.path()).await?;
    let mut edits = Vec::new();
    for edit in 0..EDITS {
        let written = Instant::now();
        manifests.write("routes.yaml", &routes(1000 + edit))?;
        logged(&mut server, &["accepted", "RouteConfiguration"]).await?;
        edits.push(written.elapsed());
    }
    row("route edited: file write to Envoy's ACK", edits);

    let process = server.child.id().context("the server runs")?;
    memory("resident memory, one Envoy connected", resident(process)?);
    Ok(())
}
