//! How `pilotage serve` tells another program that it is ready, and on which port.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

/// Where readiness is told, besides standard output.
#[derive(Debug, clap::Args)]
pub(super) struct ReadyArgs {
    /// When ready, write the line of standard output to this file as well; it appears whole or not at all
    #[arg(long, value_name = "FILE")]
    ready_file: Option<PathBuf>,
    /// When ready, write the line to this open file descriptor as well
    #[arg(long, value_name = "N")]
    ready_fd: Option<RawFd>,
}

/// What is told, as one JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Ready {
    /// Always true.
    pub(super) ready: bool,
    /// The address of the xDS server, with the port that the system chose.
    pub(super) xds: SocketAddr,
    /// The address of health and metrics, where they are served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<SocketAddr>,
}

impl Ready {
    /// Tells it wherever it is wanted.
    ///
    /// # Errors
    /// The file or the descriptor cannot be written. A closed standard output is no error: nobody reads there.
    pub(super) fn tell(&self, to: &ReadyArgs) -> anyhow::Result<()> {
        let line = serde_json::to_string(self)? + "\n";
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
        if let Some(file) = &to.ready_file {
            write_whole(file, &line).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if let Some(fd) = to.ready_fd {
            // Opened by its path: taking over the number of a descriptor that may not be ours would be unsafe.
            std::fs::OpenOptions::new()
                .write(true)
                .open(format!("/proc/self/fd/{fd}"))
                .and_then(|mut file| file.write_all(line.as_bytes()))
                .with_context(|| format!("cannot write to file descriptor {fd}"))?;
        }
        Ok(())
    }
}

fn write_whole(file: &Path, line: &str) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut scratch = tempfile::NamedTempFile::new_in(folder)?;
    scratch.write_all(line.as_bytes())?;
    scratch.persist(file)?;
    Ok(())
}
