//! The `pilotage` executable of the same build as the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

/// The executable that is under test: `$PILOTAGE_BIN`, else built now from this workspace, with the profile and into
/// the target folder of the running test.
///
/// # Errors
/// It does not build.
pub fn pilotage() -> Result<&'static Path> {
    static EXECUTABLE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = EXECUTABLE.get_or_init(|| match std::env::var_os("PILOTAGE_BIN") {
        Some(path) => Ok(path.into()),
        None => build().map_err(|error| format!("{error:#}")),
    });
    built.as_deref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn build() -> Result<PathBuf> {
    // A test runs as <target>/<profile>/deps/<test>; the profile `dev` has the folder `debug`.
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).context("the test does not lie in a target folder")?;
    let target = folder.parent().context("the test does not lie in a target folder")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        // With both packages named, dependencies have the features that the tests were built with, and none is
        // built twice.
        .args([
            "build",
            "--quiet",
            "--package",
            "pilotage",
            "--package",
            "pilotage-tests",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .context("cannot run cargo")?;
    ensure!(output.status.success(), "pilotage does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let executable = folder.join(format!("pilotage{}", std::env::consts::EXE_SUFFIX));
    ensure!(executable.is_file(), "{} was not built", executable.display());
    Ok(executable)
}
