//! The figures of one server on one folder: process start to ready, file write to Envoy's ACK, memory at idle.
//!
//! `cargo bench -p pilotage-tests --bench figures` measures the release build and prints a table; nothing here
//! passes or fails by time.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pilotage::demo::{Manifests, bootstrap};
use pilotage::tools::{Envoy, EnvoyProgram, Launch, ReservedPort};
use pilotage_tests::pilotage;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

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

struct Running {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// Read by nobody; closed, it would be an error to write to.
    _out: Lines<BufReader<ChildStdout>>,
    xds: String,
    took: Duration,
}

async fn start(folder: &Path) -> Result<Running> {
    let started = Instant::now();
    let mut child = Command::new(pilotage()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--log-level", "debug", "--dir"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let line = out.next_line().await?.context("the server ended")?;
    let took = started.elapsed();
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    let xds = ready["xds"].as_str().context("an address")?.to_owned();
    let log = BufReader::new(child.stderr.take().context("a pipe")?).lines();
    Ok(Running { child, log, _out: out, xds, took })
}

/// Reads the log until a line has all of `words`.
async fn logged(running: &mut Running, words: &[&str]) -> Result<()> {
    loop {
        let line = running.log.next_line().await?.context("the server ended")?;
        if words.iter().all(|word| line.contains(word)) {
            return Ok(());
        }
    }
}

/// Resident memory of a process, in KiB.
fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn row(what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<44} {:>8.1} ms {:>8.1} ms {:>8.1} ms", at(0.0), at(0.5), at(0.99));
}

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let manifests = Manifests::below(folder.path())?;
    write(&manifests)?;
    println!("{:<44} {:>11} {:>11} {:>11}", "", "least", "median", "p99");

    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(start(manifests.folder()).await?.took);
    }
    row("process start to ready, demo folder", starts);

    let mut server = start(manifests.folder()).await?;
    let egress = ReservedPort::new()?;
    let port = egress.number().to_string();
    let arguments = ["envoy", "--id", "bench", "--namespace", "demo", "--server", &server.xds];
    let options = ["--egress-port", &port, "--admin", "127.0.0.1:0"];
    let yaml = bootstrap(pilotage()?, arguments.into_iter().chain(options)).await?;
    let program = EnvoyProgram::find(None).await?;
    let launch = Launch { name: "envoy", bootstrap: &yaml, folder: folder.path(), workers: 1 };
    let mut envoy = Envoy::start(&program, &launch).await?;
    envoy.wait_ready().await?;
    logged(&mut server, &["accepted", "RouteConfiguration"]).await?;

    let mut edits = Vec::new();
    for edit in 0..EDITS {
        let written = Instant::now();
        manifests.write("routes.yaml", &routes(1000 + edit))?;
        logged(&mut server, &["accepted", "RouteConfiguration"]).await?;
        edits.push(written.elapsed());
    }
    row("route edited: file write to Envoy's ACK", edits);

    let process = server.child.id().context("the server runs")?;
    println!(
        "{:<44} {:>8.1} MiB",
        "resident memory, one Envoy connected",
        resident(process)? as f64 / 1024.0
    );
    Ok(())
}
