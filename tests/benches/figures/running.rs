//! A server that runs on a folder, and what is read of it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use pilotage::demo::bootstrap;
use pilotage::tools::{Envoy, EnvoyProgram, Launch, ReservedPort};
use pilotage_tests::pilotage;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

pub(crate) struct Running {
    pub(crate) child: Child,
    log: Lines<BufReader<ChildStderr>>,
    /// Read by nobody; closed, it would be an error to write to.
    _out: Lines<BufReader<ChildStdout>>,
    pub(crate) xds: String,
    /// From its start until it was ready.
    pub(crate) took: Duration,
}

/// Starts a server on a folder, and waits until it is ready.
pub(crate) async fn start(folder: &Path) -> Result<Running> {
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
pub(crate) async fn logged(running: &mut Running, words: &[&str]) -> Result<()> {
    loop {
        let line = running.log.next_line().await?.context("the server ended")?;
        if words.iter().all(|word| line.contains(word)) {
            return Ok(());
        }
    }
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident(process: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// Prints the least, the median and the 99th of a hundred.
pub(crate) fn row(what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{what:<52} {:>8.1} ms {:>8.1} ms {:>8.1} ms", at(0.0), at(0.5), at(0.99));
}

/// Prints an amount of memory in KiB.
pub(crate) fn memory(what: &str, kib: u64) {
    println!("{what:<52} {:>8.1} MiB", kib as f64 / 1024.0);
}

/// Starts an Envoy of a namespace, a sidecar of the server, and waits until it has its routes.
pub(crate) async fn envoy(server: &mut Running, namespace: &str, folder: &Path) -> Result<Envoy> {
    let egress = ReservedPort::new()?;
    let port = egress.number().to_string();
    let arguments = ["envoy", "--id", namespace, "--namespace", namespace, "--server", &server.xds];
    let options = ["--egress-port", &port, "--admin", "127.0.0.1:0"];
    let yaml = bootstrap(pilotage()?, arguments.into_iter().chain(options)).await?;
    let program = EnvoyProgram::find(None).await?;
    let launch = Launch { name: namespace, bootstrap: &yaml, folder, workers: 1 };
    let mut envoy = Envoy::start(&program, &launch).await?;
    envoy.wait_ready().await?;
    logged(server, &["accepted", "RouteConfiguration"]).await?;
    Ok(envoy)
}
