//! What an API server was asked for, and by whom, as its audit log has it.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;
use tempfile::TempDir;

use super::{ControlPlane, Options};

/// The metadata of every request that was answered; a watch is there from its beginning.
const POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Metadata\n";

/// The audit log of a control plane of its own.
#[derive(Debug)]
pub struct Audit {
    folder: TempDir,
}

impl Audit {
    /// Starts a control plane that keeps a log, with these arguments of its API server besides.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(arguments: &[&str]) -> Result<(ControlPlane, Self)> {
        let audit = Self { folder: tempfile::tempdir()? };
        let policy = audit.folder.path().join("policy.yaml");
        fs::write(&policy, POLICY)?;
        let policy = format!("--audit-policy-file={}", policy.display());
        let log = format!("--audit-log-path={}", audit.log().display());
        let arguments: Vec<&str> =
            [policy.as_str(), log.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        Ok((ControlPlane::start(Options { api_server: &arguments }).await?, audit))
    }

    /// Every event so far, in order; a line that is being written is left out.
    pub fn events(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }
}
