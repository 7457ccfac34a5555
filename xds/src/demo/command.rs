//! The command line of `pilotage demo`.

use std::future::pending;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use super::manifests;
use super::screen::Screen;
use super::stage::Stage;
use super::steps;
use super::tally::Tally;
use super::{Backend, Client, ConnectError};
use crate::tools::EnvoyProgram;

/// How long `call` waits for its target to listen: an Envoy that was started just before takes a moment.
const LISTENING_WITHIN: Duration = Duration::from_secs(10);

/// How often it looks meanwhile; nothing announces a port that opens.
const RETRY: Duration = Duration::from_millis(20);

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Show what a gRPC client gains: a real Envoy, servers and a client on this machine, in seconds
#[derive(Clone, Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  pilotage demo
  pilotage demo --keep
  pilotage demo call 127.0.0.1:15001 --authority greeter.example --calls 100"
)]
pub struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    show: Show,
}

#[derive(Clone, Debug, clap::Args)]
struct Show {
    /// The Envoy to use; else $PILOTAGE_ENVOY, else `envoy` on PATH, else one that is downloaded once
    #[arg(long, value_name = "PATH")]
    envoy: Option<PathBuf>,
    /// Calls of each measurement; the expected bounds are computed from it
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(100..))]
    calls: u64,
    /// Leave everything running at the end, and say what can be tried, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Print the results as JSON, and nothing else
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Subcommand)]
enum Part {
    /// Run one more server of the demo, and print the EndpointSlice that makes it known
    Backend(RunBackend),
    /// Make calls over one connection, and print who answered
    Call(MakeCalls),
}

#[derive(Clone, Debug, Parser)]
struct RunBackend {
    /// Its id
    #[arg(long)]
    id: String,
    /// Its version; the label `version` of its endpoint
    #[arg(long, value_name = "V", default_value = "v1")]
    version: String,
    /// Where it listens; port 0 for any
    #[arg(long, value_name = "IP:PORT", default_value_t = (Ipv4Addr::LOCALHOST, 0).into())]
    listen: SocketAddr,
}

#[derive(Clone, Debug, Parser)]
struct MakeCalls {
    /// Where to connect
    #[arg(value_name = "IP:PORT")]
    target: SocketAddr,
    /// The Service to call, as host:port
    #[arg(long, value_name = "HOST:PORT")]
    authority: String,
    /// A header to send; may be given more than once
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,
    /// How many calls
    #[arg(long, value_name = "N", default_value_t = 1)]
    calls: u64,
}

/// Runs the command: success if everything was as expected, 1 if not. Everything that was started has ended by then.
///
/// # Errors
/// Something that is needed cannot be had, or an edit never reached a call.
pub fn run(args: Args) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run_until_interrupted(args))
}

async fn run_until_interrupted(args: Args) -> Result<ExitCode> {
    let work = async {
        match args.part {
            None => show(&args.show).await,
            Some(Part::Backend(options)) => backend(&options).await,
            Some(Part::Call(options)) => call(&options).await,
        }
    };
    // Leaving the work unfinished drops what it holds, which ends the processes and removes the folder.
    tokio::select! {
        outcome = work => outcome,
        interrupted = interrupted() => interrupted.map(|()| ExitCode::from(INTERRUPTED)),
    }
}

async fn show(options: &Show) -> Result<ExitCode> {
    let executable = std::env::current_exe().context("cannot find the running program")?;
    let program = EnvoyProgram::find(options.envoy.as_deref()).await?;
    let mut screen = if options.json { Screen::silent() } else { Screen::stdout() };
    screen.line(&format!("Envoy {} ({})", program.version(), program.path().display()))?;
    let mut stage = Stage::set(&executable, &program, screen, options.calls).await?;
    steps::show(&mut stage).await?;
    let holds = stage.table.holds();
    if options.json {
        let report = json!({ "holds": holds, "envoy": program.version(), "rows": stage.table });
        writeln!(io::stdout(), "{report:#}")?;
    } else {
        write!(io::stdout(), "\n{}", stage.table)?;
    }
    if options.keep {
        eprintln!("{}", what_to_try(&stage));
        pending::<()>().await;
    }
    stage.end().await;
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn what_to_try(stage: &Stage) -> String {
    format!(
        "
Everything keeps running until Ctrl-C. Try:
  edit the files in     {manifests}
  look at Envoy         http://{admin}/
  read the server's log {log}
  call                  pilotage demo call {egress} --authority {authority} --calls 1000
  call as a tester      pilotage demo call {egress} --authority {authority} --header x-client=test
  add a server          pilotage demo backend --id e-v2 --version v2",
        manifests = stage.manifests.folder().display(),
        admin = stage.envoy.admin(),
        log = stage.server.log().display(),
        egress = stage.egress.address(),
        authority = stage.authority(),
    )
}

async fn backend(options: &RunBackend) -> Result<ExitCode> {
    let mut backend = Backend::start_on(options.listen, &options.id, &options.version)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    write!(io::stdout(), "{}", manifests::endpoint_slice(&backend))?;
    eprintln!("\nlistening on {} until Ctrl-C; the lines above, as a file, make it known", backend.address());
    backend.wait().await?;
    Ok(ExitCode::SUCCESS)
}

async fn call(options: &MakeCalls) -> Result<ExitCode> {
    let mut client = connect(options).await?;
    let headers: Vec<(&str, &str)> =
        options.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut screen = Screen::stdout();
    let mut tally = Tally::default();
    for _ in 0..options.calls {
        tally.count(&client.call(&headers).await);
        screen.draw(&tally)?;
    }
    screen.finish(&tally)?;
    match tally.first_failure() {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => {
            eprintln!("the first call that failed: {why}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Connects, and waits a while for a proxy that was only just started.
async fn connect(options: &MakeCalls) -> Result<Client> {
    let until = Instant::now() + LISTENING_WITHIN;
    loop {
        match Client::connect(options.target, &options.authority).await {
            Err(error @ ConnectError::Connect { .. }) if Instant::now() >= until => return Err(error.into()),
            Err(ConnectError::Connect { .. }) => sleep(RETRY).await,
            outcome => return Ok(outcome?),
        }
    }
}

/// Ends when the user, the terminal or the system asks for it.
async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(format!("`{text}` is not NAME=VALUE, such as x-client=test")),
    }
}
