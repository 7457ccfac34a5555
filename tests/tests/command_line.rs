//! The command line as an operator meets it: exit codes, streams, and what is said when something is wrong.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use pilotage::tools::http_get;
use pilotage_tests::pilotage;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const CANARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/examples/canary");

async fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(pilotage()?).args(arguments).stdin(Stdio::null()).output().await?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that must fail as wrong usage, and gives what it says.
async fn refused(arguments: &[&str]) -> Result<String> {
    let output = run(arguments).await?;
    ensure!(output.status.code() == Some(2), "{arguments:?} ends with {}", output.status);
    Ok(text(&output.stderr))
}

#[tokio::test]
async fn serve_says_why_it_cannot() -> Result<()> {
    let none = refused(&["serve"]).await?;
    ensure!(none.contains("--dir") && none.contains("directory"), "{none}");
    let missing = refused(&["serve", "--dir", "/does/not/exist"]).await?;
    ensure!(missing.contains("/does/not/exist") && missing.contains("No such file"), "{missing}");
    let open = refused(&["serve", "--dir", CANARY, "--listen", "0.0.0.0:0"]).await?;
    ensure!(open.contains("--allow-plaintext-off-loopback"), "{open}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let busy = refused(&["serve", "--dir", CANARY, "--listen", &address]).await?;
    ensure!(busy.contains(&address) && busy.contains("in use"), "{busy}");
    let level = refused(&["serve", "--dir", CANARY, "--log-level", "x=y=z"]).await?;
    ensure!(level.contains("log level"), "{level}");
    Ok(())
}

#[tokio::test]
async fn settings_file_is_read_and_its_mistakes_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pilotage.yaml");
    let path = file.to_str().context("a path of text")?;
    std::fs::write(&file, "listen: 127.0.0.1:0\nlogs: {}\n")?;
    let unknown = refused(&["serve", "--config", path]).await?;
    ensure!(unknown.contains(path) && unknown.contains("logs") && unknown.contains("line 2"), "{unknown}");
    std::fs::write(&file, format!("listen: 127.0.0.1:0\ndirectory: {CANARY}\nlog: {{format: json}}\n"))?;
    let (ready, log) = serve_and_stop(&["--config", path]).await?;
    ensure!(ready["ready"] == true, "{ready}");
    for line in log.lines() {
        serde_json::from_str::<serde_json::Value>(line).with_context(|| format!("a log line: {line}"))?;
    }
    Ok(())
}

/// The line on standard output by which a server says that it is ready.
async fn ready_line(child: &mut Child) -> Result<String> {
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    lines.next_line().await?.context("the server ended before it was ready")
}

/// Starts a server, reads the line that says it is ready, sends SIGTERM, and gives the line and the log.
async fn serve_and_stop(arguments: &[&str]) -> Result<(serde_json::Value, String)> {
    let mut child = Command::new(pilotage()?)
        .arg("serve")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let line = ready_line(&mut child).await?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("a running process")?;
    kill_process(pid, Signal::TERM)?;
    let output = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await??;
    ensure!(output.status.success(), "SIGTERM ends it with {}:\n{}", output.status, text(&output.stderr));
    Ok((serde_json::from_str(&line)?, text(&output.stderr)))
}

#[tokio::test]
async fn readiness_is_told_on_every_way() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (file, pipe) = (folder.path().join("ready.json"), folder.path().join("fd.json"));
    let script = format!(
        "exec 7>'{}'; exec '{}' serve --dir '{CANARY}' --listen 127.0.0.1:0 --ready-file '{}' --ready-fd 7",
        pipe.display(),
        pilotage()?.display(),
        file.display()
    );
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let line = ready_line(&mut child).await?;
    ensure!(line.starts_with("{\"ready\":true,\"xds\":\"127.0.0.1:"), "{line}");
    // The line on standard output comes first; the log of the file and the descriptor follow at once.
    let told = |path: &Path| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    pilotage_tests::eventually("the line in the file and on the descriptor", || async {
        (told(&file) == line && told(&pipe) == line).then_some(())
    })
    .await?;
    child.kill().await?;
    Ok(())
}

#[tokio::test]
async fn health_and_metrics_are_served_where_asked_for() -> Result<()> {
    let mut child = Command::new(pilotage()?)
        .args(["serve", "--dir", CANARY, "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let line = ready_line(&mut child).await?;
    let ready: serde_json::Value = serde_json::from_str(&line)?;
    let address = ready["health"].as_str().context("the address of health")?.parse()?;
    ensure!(text(&http_get(address, "/healthz").await?) == "alive\n", "/healthz");
    ensure!(text(&http_get(address, "/readyz").await?) == "ready\n", "/readyz");
    let page = text(&http_get(address, "/metrics").await?);
    for line in ["pilotage_streams 0", "pilotage_source_events_total 1", "pilotage_revision 1", "# EOF"] {
        ensure!(page.lines().any(|found| found == line), "{line} is in\n{page}");
    }
    child.kill().await?;
    Ok(())
}

#[tokio::test]
async fn check_tells_errors_by_its_exit_code() -> Result<()> {
    let clean = run(&["check", CANARY]).await?;
    ensure!(clean.status.success(), "{}", text(&clean.stdout));
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.yaml"), "apiVersion: networking.io/v1\nkind: DestinationRule\n")?;
    let path = folder.path().to_str().context("a path of text")?;
    let wrong = run(&["check", path]).await?;
    ensure!(wrong.status.code() == Some(1), "errors end it with {}", wrong.status);
    let out = text(&wrong.stdout);
    ensure!(
        out.contains("a.yaml:1:13: error[unknown-group]") && out.contains("networking.istio.io"),
        "{out}"
    );
    let json: Vec<serde_json::Value> =
        serde_json::from_slice(&run(&["check", path, "-o", "json"]).await?.stdout)?;
    ensure!(json.iter().any(|problem| problem["code"] == "unknown-group"), "{json:?}");
    let missing = run(&["check", "/does/not/exist"]).await?;
    ensure!(missing.status.code() == Some(2), "a missing folder ends it with {}", missing.status);
    Ok(())
}

#[tokio::test]
async fn render_prints_what_a_proxy_is_sent() -> Result<()> {
    let output = run(&["render", CANARY, "--kind", "sidecar", "--namespace", "shop", "-o", "json"]).await?;
    ensure!(output.status.success(), "{}", text(&output.stderr));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let names: Vec<&str> = document["Cluster"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["resource"]["name"].as_str())
        .collect();
    let host = "checkout.shop.svc.cluster.local";
    for subset in ["", "v1", "v2"] {
        let name = format!("outbound|50051|{subset}|{host}");
        ensure!(names.contains(&name.as_str()), "{name} is among {names:?}");
    }
    let filter = &document["Listener"][0]["resource"]["filter_chains"][0]["filters"][0]["typed_config"];
    ensure!(filter["http_filters"][0]["typed_config"]["@type"].is_string(), "typed Any is open: {filter}");
    let yaml = run(&["render", CANARY, "--kind", "grpc", "--name", &format!("{host}:50051")]).await?;
    ensure!(text(&yaml.stdout).contains("api_listener"), "{}", text(&yaml.stdout));
    Ok(())
}

#[tokio::test]
async fn help_and_completions_are_there() -> Result<()> {
    for command in ["serve", "check", "render", "bootstrap", "demo", "settings", "tools", "completions"] {
        let output = run(&[command, "--help"]).await?;
        ensure!(output.status.success() && text(&output.stdout).contains("Usage"), "{command}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]).await?;
        ensure!(text(&output.stdout).contains("pilotage"), "{shell}");
    }
    Ok(())
}
