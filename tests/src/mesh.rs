//! A server of a temporary folder of manifests, and the clients that are started against it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use pilotage::demo::{Backend, Manifests, Serve, Server};
use pilotage::tools::ReservedPort;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{endpoint_slice, eventually, pilotage, service};

/// A server, its folder and the backends. Dropping it kills the server and removes the folder.
#[derive(Debug)]
pub struct Mesh {
    server: Option<Server>,
    backends: Vec<Backend>,
    manifests: Manifests,
    /// Reserved, so that a server that is started again is found where it was.
    port: ReservedPort,
    starts: u32,
    /// Arguments of the server beyond those that every test needs.
    arguments: Vec<String>,
    folder: TempDir,
}

impl Mesh {
    /// Starts a server of a folder with `files` (name and content).
    ///
    /// # Errors
    /// The server is not ready in time; the error has the end of its log.
    pub async fn start(files: &[(&str, &str)]) -> Result<Self> {
        Self::start_with(files, &[]).await
    }

    /// Starts a server of a folder with `files`, with more `arguments`.
    ///
    /// # Errors
    /// As of [`Mesh::start`].
    pub async fn start_with(files: &[(&str, &str)], arguments: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilotage-test-").tempdir()?;
        let manifests = Manifests::below(folder.path())?;
        for (name, text) in files {
            manifests.write(name, text)?;
        }
        let port = ReservedPort::new()?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let backends = Vec::new();
        let mut mesh = Self { server: None, backends, manifests, port, starts: 0, arguments, folder };
        mesh.start_server().await?;
        Ok(mesh)
    }

    /// A mesh of the Service `echo.demo.svc.cluster.local:80` with `backends`, and `more` manifests.
    ///
    /// # Errors
    /// As of [`Mesh::start`].
    pub async fn echo(backends: Vec<Backend>, more: &str) -> Result<Self> {
        let slices: String = backends.iter().map(|backend| endpoint_slice("echo", backend)).collect();
        let service = service("echo", 80) + &slices;
        let mesh = Self::start(&[("service.yaml", &service), ("rules.yaml", more)]).await?;
        Ok(Self { backends, ..mesh })
    }

    /// The backends that [`Mesh::echo`] was given.
    pub fn backends(&self) -> &[Backend] {
        &self.backends
    }

    /// Starts the server again, at the same address.
    ///
    /// # Errors
    /// The server is not ready in time; the error has the end of its log.
    pub async fn start_server(&mut self) -> Result<()> {
        self.starts += 1;
        // Each run has a log of its own, so that what an earlier one said is not taken for news.
        let name = format!("pilotage-{}", self.starts);
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let serve = Serve {
            name: &name,
            listen: self.port.address(),
            arguments: &arguments,
            ..Serve::new(pilotage()?, self.manifests.folder(), self.folder.path())
        };
        self.server = Some(Server::start(&serve).await?);
        Ok(())
    }

    /// Kills the server, as a crash would.
    pub async fn kill_server(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill().await;
        }
    }

    /// Stops the server's process, and with `Signal::CONT` lets it go on: meanwhile its connections are open, and it says
    /// nothing, like one that is cut off from all others.
    ///
    /// # Errors
    /// It is not running.
    pub fn signal_server(&mut self, signal: Signal) -> Result<()> {
        let server = self.server.as_mut().context("the server is not running")?;
        let id = server.process().id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(kill_process(id.context("the server has ended")?, signal)?)
    }

    /// Asks the server to end, as an update would, and waits until it has.
    ///
    /// # Errors
    /// It is not running, or ends otherwise than with success.
    pub async fn stop_server(&mut self) -> Result<()> {
        let server = self.server.take().context("the server is not running")?;
        let status = server.stop().await.context("the server cannot be waited for")?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    /// Where the server serves xDS, whether it runs or not.
    pub fn xds(&self) -> SocketAddr {
        self.port.address()
    }

    /// The folder of manifests.
    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// Where other processes of the test put their files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the running server has logged.
    ///
    /// # Errors
    /// It is not running.
    pub fn log(&self) -> Result<String> {
        let server = self.server.as_ref().context("the server is not running")?;
        Ok(fs::read_to_string(server.log())?)
    }

    /// Waits until the server has logged a line with all of `words`, and gives the line.
    ///
    /// # Errors
    /// It does not in time.
    pub async fn logged(&self, words: &[&str]) -> Result<String> {
        let found = || async {
            let log = self.log().ok()?;
            log.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        };
        let line = eventually(&format!("a line of the log with {words:?}"), found).await;
        line.with_context(|| format!("the log:\n{}", self.log().unwrap_or_default()))
    }
}
