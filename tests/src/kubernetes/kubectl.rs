//! `kubectl`: the user's, else one of the API server's version, built once for a machine.

use std::path::PathBuf;

use anyhow::{Context, Result};
use pilotage::tools::{Cache, during, say};
use tokio::process::Command;

use super::KUBERNETES_VERSION;
use super::assets::fingerprint;
use super::toolchain::{go, modules, run};

/// A `kubectl` that runs: the one on `PATH`, else built into the cache.
///
/// # Errors
/// There is none, and it cannot be built.
pub async fn kubectl() -> Result<PathBuf> {
    let user = PathBuf::from("kubectl");
    let client = Command::new(&user).args(["version", "--client"]).output().await;
    if client.is_ok_and(|output| output.status.success()) {
        return Ok(user);
    }
    built(&Cache::from_env()?).await
}

async fn built(cache: &Cache) -> Result<PathBuf> {
    let source = modules("kubectl");
    let name = format!("kubectl-{KUBERNETES_VERSION}-{:016x}", fingerprint(&source)?);
    let program = cache.folder().join(&name).join("kubectl");
    if program.is_file() {
        return Ok(program);
    }
    let waiting = || say("waiting for another process to build kubectl");
    let _lock = cache.lock(&name, waiting).await?;
    if !program.is_file() {
        let go = go(cache).await?;
        let scratch = tempfile::Builder::new().prefix(&format!(".{name}-")).tempdir_in(cache.folder())?;
        let output = scratch.path().join("kubectl").to_string_lossy().into_owned();
        let version = format!("-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}");
        let package = "k8s.io/kubernetes/cmd/kubectl";
        let build = ["build", "-mod=readonly", "-trimpath", "-ldflags", &version, "-o", &output, package];
        let what = "building kubectl with Go, once for this machine; this takes some minutes";
        during(what, run(&go, &source, &build)).await?;
        let folder = cache.folder().join(&name);
        std::fs::rename(scratch.path(), &folder)
            .with_context(|| format!("cannot write {}", folder.display()))?;
    }
    Ok(program)
}
