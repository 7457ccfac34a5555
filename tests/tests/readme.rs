//! Every command block of the README, run in order in one shell, as a newcomer would.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pilotage_tests::pilotage;
use tokio::process::Command;

/// The whole walk, with a demo in it, on a slow machine.
const LONGEST: Duration = Duration::from_secs(300);

/// The one block that is not run here, for it runs this test; the check run has it.
const TEST_COMMAND: &str = "cargo test --workspace\n";

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The shell blocks of the README.
fn blocks(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.collect()
}

#[test]
fn check_run_calls_the_test_command() -> Result<()> {
    let readme = std::fs::read_to_string(checkout().join("README.md"))?;
    let run = std::fs::read_to_string(checkout().join(".ci/run"))?;
    ensure!(blocks(&readme).contains(&TEST_COMMAND), "the README has a block with `{}`", TEST_COMMAND.trim());
    ensure!(
        run.lines().any(|line| line == format!("step {}", TEST_COMMAND.trim())),
        "the check run calls it"
    );
    Ok(())
}

#[tokio::test]
async fn walk_works_word_by_word() -> Result<()> {
    // The walk's ports are fixed, so that a reader can type them; two walks at once would meet.
    let alone = std::fs::File::create(std::env::temp_dir().join("pilotage-readme-walk.lock"))?;
    let _alone = tokio::task::spawn_blocking(move || alone.lock().map(|()| alone)).await??;
    let readme = std::fs::read_to_string(checkout().join("README.md"))?;
    let folder = tempfile::tempdir()?;
    let pilotage = pilotage()?;
    let bin = pilotage.parent().context("an executable lies in a folder")?;
    // The walk writes beside itself and must not write into the checkout, so cargo is told where that is, and
    // `target/debug` is a link. An echo after each block tells which one the output belongs to.
    std::fs::create_dir(folder.path().join("target"))?;
    std::os::unix::fs::symlink(bin, folder.path().join("target/debug"))?;
    let mut script = format!(
        "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\ncargo() {{ sub=$1; shift; command cargo \"$sub\" --quiet --manifest-path '{}' \
         --target-dir '{}' \"$@\"; }}\n",
        checkout().join("Cargo.toml").display(),
        bin.parent().context("a profile's folder lies in the target folder")?.display(),
    );
    for (index, block) in blocks(&readme).into_iter().enumerate().filter(|(_, block)| *block != TEST_COMMAND)
    {
        script += block;
        script += &format!("echo '== end of block {index}'\n");
    }
    let script_file = folder.path().join("walk.sh");
    std::fs::write(&script_file, &script)?;
    let child = Command::new("setsid")
        .args(["--wait", "bash"])
        .arg(&script_file)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(folder.path().join("out"))?)
        .stderr(std::fs::File::create(folder.path().join("err"))?)
        .kill_on_drop(true)
        .spawn()?;
    let outcome = tokio::time::timeout(LONGEST, child.wait_with_output()).await;
    let out = std::fs::read_to_string(folder.path().join("out"))?;
    let err = std::fs::read_to_string(folder.path().join("err"))?;
    let status = outcome.with_context(|| format!("the walk hangs after:\n{out}\n{err}"))??.status;
    ensure!(status.success(), "the walk ends with {status}:\n{out}\n{err}");
    ensure!(
        err.contains("wrong-type") || out.contains("wrong-type"),
        "the broken weight is named:\n{out}\n{err}"
    );
    Ok(())
}
