//! The demo, as a person starts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pilotage::tools::{Process, http_get};
use pilotage_tests::{PATIENCE, pilotage};
use serde_json::Value;
use tokio::process::Command;

/// A run of the demo whose temporary files, and those of its children, lie in `folder`.
fn demo(folder: &Path, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(pilotage()?);
    command.arg("demo").args(arguments).env("TMPDIR", folder).kill_on_drop(true);
    Ok(command)
}

fn is_clean(folder: &Path) -> Result<()> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    let left: Vec<String> = names.collect::<Result<_>>()?;
    ensure!(!left.iter().any(|name| name.starts_with("pilotage-demo-")), "left behind: {left:?}");
    Ok(())
}

#[tokio::test]
async fn the_demo_shows_what_it_promises_and_leaves_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let output = demo(folder.path(), &["--json", "--calls", "400"])?.output().await?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&stdout).with_context(|| format!("{stdout}\n{stderr}"))?;
    ensure!(report["holds"] == true && output.status.success(), "{stdout}\n{stderr}");
    let rows = report["rows"].as_array().context("rows")?;
    for step in ["a", "b", "c", "d", "e", "f", "*"] {
        ensure!(rows.iter().any(|row| row["step"] == step), "no row of {step}: {stdout}");
    }
    is_clean(folder.path())
}

/// With `--keep` all stays as it is until the demo is asked to end, and then nothing stays.
#[tokio::test]
async fn what_is_kept_ends_when_asked() -> Result<()> {
    let (folder, logs) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let log = logs.path().join("log");
    let mut process = Process::start("demo", demo(folder.path(), &["--keep", "--calls", "100"])?, &log)?;
    let keeps = || async {
        let text = fs::read_to_string(&log).ok()?;
        text.contains("call as a tester").then_some(text)
    };
    let text = process.wait_for("what to try", 3 * PATIENCE, keeps).await?;
    let (_, after) = text.split_once("http://").with_context(|| text.clone())?;
    let (admin, _) = after.split_once('/').with_context(|| text.clone())?;
    let admin = admin.parse()?;
    http_get(admin, "/ready").await?;
    ensure!(is_clean(folder.path()).is_err(), "nothing was kept");

    let status = process.stop(Duration::from_secs(10)).await.context("it ended")?;
    ensure!(status.code() == Some(130), "{status}");
    ensure!(http_get(admin, "/ready").await.is_err(), "Envoy still runs");
    is_clean(folder.path())
}
