//! A running Envoy.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value;
use thiserror::Error;
use tokio::process::Command;

use super::EnvoyProgram;
use crate::tools::http::{HttpError, http_get};
use crate::tools::process::{Process, ProcessError};

/// Envoy waits at most 15 s for its first resources, and then says that it is ready without them.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// How long a stopped Envoy may take before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How to start an Envoy.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// A name for it in errors and file names, such as `sidecar`.
    pub name: &'a str,
    /// The bootstrap, as YAML. Its admin interface may bind port 0.
    pub bootstrap: &'a str,
    /// Where its bootstrap and log are written.
    pub folder: &'a Path,
    /// The number of worker threads; every one has connection pools of its own.
    pub workers: u16,
}

/// An Envoy, killed when this is dropped.
#[derive(Debug)]
pub struct Envoy {
    process: Process,
    admin: SocketAddr,
}

/// Why an Envoy does not run, or does not answer.
#[derive(Debug, Error)]
pub enum EnvoyError {
    /// Its files cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It does not run, or is not ready.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Its admin interface does not answer.
    #[error("Envoy's admin interface")]
    Admin(#[from] HttpError),
    /// Its admin interface answered something else than was asked for.
    #[error("Envoy's admin interface: {path} is not what was expected")]
    Answer {
        /// The path.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
}

impl Envoy {
    /// Starts Envoy and waits until its admin interface answers, which is before it has any resources: see
    /// [`Envoy::wait_ready`].
    pub async fn start(program: &EnvoyProgram, launch: &Launch<'_>) -> Result<Self, EnvoyError> {
        let absolute = |source| EnvoyError::Write { path: launch.folder.to_path_buf(), source };
        let folder = std::path::absolute(launch.folder).map_err(absolute)?;
        let file = |suffix: &str| folder.join(format!("{}{suffix}", launch.name));
        let (bootstrap, admin_file) = (file(".yaml"), file(".admin"));
        let write = |path: &Path, text: &str| {
            fs::write(path, text).map_err(|source| EnvoyError::Write { path: path.to_path_buf(), source })
        };
        write(&bootstrap, launch.bootstrap)?;
        // What an earlier Envoy of this name wrote must not be taken for this one's.
        write(&admin_file, "")?;
        let mut command = Command::new(program.path());
        command
            // Relative paths in what it is sent, such as those of certificates, begin here.
            .current_dir(launch.folder)
            .arg("--config-path")
            .arg(&bootstrap)
            .arg("--admin-address-path")
            .arg(&admin_file)
            .args(["--concurrency", &launch.workers.to_string()])
            // Hot restart shares memory by a number that two Envoys on a machine must not have in common.
            .arg("--disable-hot-restart");
        let mut process = Process::start(launch.name, command, &file(".log"))?;
        let admin = process
            .wait_for("its admin interface", READY_WITHIN, || async {
                fs::read_to_string(&admin_file).ok()?.trim().parse::<SocketAddr>().ok()
            })
            .await?;
        Ok(Self { process, admin })
    }

    /// Waits until Envoy is `LIVE`: it has had its first clusters and listeners, or has given up waiting for them.
    pub async fn wait_ready(&mut self) -> Result<(), EnvoyError> {
        let admin = self.admin;
        let ready = || async move { http_get(admin, "/ready").await.ok().map(|_| ()) };
        Ok(self.process.wait_for("readiness", READY_WITHIN, ready).await?)
    }

    /// The address of the admin interface.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process, to wait for conditions that end with it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The file with its log.
    pub fn log(&self) -> &Path {
        self.process.log()
    }

    /// An admin page that is JSON, such as `/config_dump` or `/clusters?format=json`.
    pub async fn admin_json(&self, path: &str) -> Result<Value, EnvoyError> {
        let body = http_get(self.admin, path).await?;
        serde_json::from_slice(&body).map_err(|source| EnvoyError::Answer { path: path.into(), source })
    }

    /// The counters and gauges whose name begins with `prefix`.
    pub async fn stats(&self, prefix: &str) -> Result<BTreeMap<String, u64>, EnvoyError> {
        let page = self.admin_json("/stats?format=json").await?;
        let stats = page["stats"].as_array().map(Vec::as_slice).unwrap_or_default();
        Ok(stats
            .iter()
            .filter_map(|stat| Some((stat["name"].as_str()?, stat["value"].as_u64()?)))
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// Asks Envoy to end and waits until it has.
    pub async fn stop(self) -> Option<ExitStatus> {
        self.process.stop(STOP_GRACE).await
    }

    /// Kills Envoy, as a crash would, and waits until it is gone.
    pub async fn kill(self) -> Option<ExitStatus> {
        self.process.kill().await
    }
}
