//! `pilotage serve` as a process of its own, and the bootstraps that `pilotage bootstrap` writes.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;
use tokio::process::Command;

use crate::tools::{Process, ProcessError};

const READY_WITHIN: Duration = Duration::from_secs(20);
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How to start a server.
#[derive(Clone, Debug)]
pub struct Serve<'a> {
    /// A name for it in errors and file names.
    pub name: &'a str,
    /// The `pilotage` executable.
    pub executable: &'a Path,
    /// The folder of manifests that it watches.
    pub manifests: &'a Path,
    /// Where its log and its ready file are written; not the folder of manifests.
    pub folder: &'a Path,
    /// Where it listens; port 0 for any.
    pub listen: SocketAddr,
    /// More arguments of `serve`.
    pub arguments: &'a [&'a str],
}

impl<'a> Serve<'a> {
    /// A server of `manifests` on any port of 127.0.0.1.
    pub fn new(executable: &'a Path, manifests: &'a Path, folder: &'a Path) -> Self {
        let listen = (Ipv4Addr::LOCALHOST, 0).into();
        Self { name: "pilotage", executable, manifests, folder, listen, arguments: &[] }
    }
}

/// A running server, killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    xds: SocketAddr,
}

/// What a server writes when it is ready.
#[derive(Debug, Deserialize)]
struct Ready {
    ready: bool,
    xds: SocketAddr,
}

/// Why a bootstrap could not be written.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// The executable does not run.
    #[error("cannot run {}", executable.display())]
    Run {
        /// The executable.
        executable: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It refused.
    #[error("`pilotage bootstrap` failed: {output}")]
    Refused {
        /// What it said.
        output: String,
    },
}

impl Server {
    /// Starts a server and waits until it is ready: every source is read and the first snapshot can be served.
    pub async fn start(serve: &Serve<'_>) -> Result<Self, ProcessError> {
        let ready_file = serve.folder.join(format!("{}.ready", serve.name));
        // What an earlier server of this name wrote must not be taken for this one's; it may not exist.
        let _ = fs::remove_file(&ready_file);
        let mut command = Command::new(serve.executable);
        command
            .arg("serve")
            .arg("--dir")
            .arg(serve.manifests)
            .args(["--listen", &serve.listen.to_string()])
            .arg("--ready-file")
            .arg(&ready_file)
            .args(serve.arguments);
        let log = serve.folder.join(format!("{}.log", serve.name));
        let mut process = Process::start(serve.name, command, &log)?;
        let ready = || async {
            let text = fs::read(&ready_file).ok()?;
            serde_json::from_slice::<Ready>(&text).ok().filter(|ready| ready.ready)
        };
        let Ready { xds, .. } = process.wait_for("readiness", READY_WITHIN, ready).await?;
        Ok(Self { process, xds })
    }

    /// Where it serves xDS.
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// The file with its log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// The process, to wait for conditions that end with it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Asks the server to end and waits until it has.
    pub async fn stop(self) -> Option<ExitStatus> {
        self.process.stop(STOP_GRACE).await
    }

    /// Kills the server, as a crash would, and waits until it is gone.
    pub async fn kill(self) -> Option<ExitStatus> {
        self.process.kill().await
    }
}

/// What `pilotage bootstrap <arguments>` writes.
pub async fn bootstrap<A: AsRef<OsStr>>(
    executable: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String, BootstrapError> {
    let mut command = Command::new(executable);
    command.arg("bootstrap").args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = command
        .output()
        .await
        .map_err(|source| BootstrapError::Run { executable: executable.to_path_buf(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(BootstrapError::Refused { output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}
