//! `pilotage serve`: the server, from its arguments to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use pilotage_server::{Ads, AdsConfig, Cache, ServeConfig, serve};
use pilotage_watcher::directory::{DirectorySource, Options};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::ready::{Ready, ReadyArgs};
use super::settings_file;
use crate::pipeline::{Grouping, Inputs, Pipeline};
use crate::settings::{LogFormat, Settings};
use crate::telemetry;

/// Batches of changes that wait for the pipeline; a source that is faster waits itself.
const BATCHES_AHEAD: usize = 16;

/// Serve a folder of manifests to Envoys and gRPC clients, live
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage serve --dir manifests
  pilotage serve --dir manifests --listen 127.0.0.1:0 --ready-file ready.json
  pilotage serve --config pilotage.yaml --log-format json

When it is ready, it prints one line on standard output: {\"ready\":true,\"xds\":\"127.0.0.1:18000\"}. Logs go to standard
error. On SIGTERM or Ctrl-C streams are ended, and the exit code is 0.")]
pub(super) struct Args {
    /// The folder of manifests to watch, with its sub-folders
    #[arg(long, value_name = "DIR", env = "PILOTAGE_DIR")]
    dir: Option<PathBuf>,
    /// The address of the xDS server; port 0 lets the system choose [default: 127.0.0.1:18000]
    #[arg(long, value_name = "IP:PORT", env = "PILOTAGE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Allow plaintext xDS on an address that is not loopback; everyone who can reach it can read every route
    #[arg(long)]
    allow_plaintext_off_loopback: bool,
    /// A settings file; `pilotage settings reference` says what may be in it
    #[arg(long, value_name = "FILE", env = "PILOTAGE_CONFIG")]
    config: Option<PathBuf>,
    /// How a log line looks [default: text]
    #[arg(long, value_enum, env = "PILOTAGE_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// error, warn, info, debug, trace, or a filter such as info,pilotage_server=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "PILOTAGE_LOG_LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    ready: ReadyArgs,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings(args)?;
    telemetry::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve_until_told(&settings, &args.ready))?;
    Ok(ExitCode::SUCCESS)
}

/// The settings file, with the arguments over it.
fn settings(args: &Args) -> anyhow::Result<Settings> {
    let mut settings = settings_file(args.config.as_deref())?;
    if let Some(dir) = &args.dir {
        settings.directory = Some(dir.clone());
    }
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    if let Some(format) = args.log_format {
        settings.log.format = format;
    }
    if let Some(level) = &args.log_level {
        settings.log.level.clone_from(level);
    }
    settings.allow_plaintext_off_loopback |= args.allow_plaintext_off_loopback;
    Ok(settings)
}

async fn serve_until_told(settings: &Settings, ready: &ReadyArgs) -> anyhow::Result<()> {
    let Some(directory) = &settings.directory else {
        bail!("nothing to serve: give a folder of manifests with --dir, or `directory` in the settings file");
    };
    let listen = settings.listen;
    if !listen.ip().is_loopback() && !settings.allow_plaintext_off_loopback {
        bail!(
            "{listen} is not loopback, and xDS is plaintext: everyone who can reach it could read every route; listen \
             on 127.0.0.1, or say --allow-plaintext-off-loopback"
        );
    }
    // Signals are heard from here on, so that none is lost while the folder is read.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut source = DirectorySource::open(Options::new(directory))?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let stats = source.stats();
    info!(
        directory = %directory.display(),
        files = stats.files,
        objects = stats.objects.values().sum::<usize>(),
        passed_over = stats.passed_over.values().sum::<usize>(),
        "folder read"
    );

    let shutdown = CancellationToken::new();
    let cache = Cache::new();
    let grouping = Grouping::default();
    let assign = grouping.clone();
    let (ads, clients) =
        Ads::new(cache.clone(), move |node| assign.of(node), AdsConfig::default(), shutdown.clone());
    let (batches, sources) = mpsc::channel(BATCHES_AHEAD);
    let (is_ready, mut became_ready) = oneshot::channel();
    let linger = Duration::from_secs(settings.server.group_linger_seconds.into());
    let out = (cache, ads.streams().clone());
    let pipeline =
        Pipeline::new(settings.translation.clone(), out, grouping, linger, [source.name()], is_ready);
    let initial = source.take_initial();
    let inputs = Inputs { sources, clients, positions: source.positions() };
    let pipeline = tokio::spawn(pipeline.run(inputs, shutdown.clone()));
    batches.send(initial).await.context("the pipeline has ended")?;
    let following = shutdown.clone();
    tokio::spawn(async move { source.run(batches, following.cancelled_owned()).await });
    let config = ServeConfig {
        drain_deadline: Duration::from_secs(settings.server.drain_seconds.into()),
        ..ServeConfig::default()
    };
    let server = tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), config));

    let mut told = false;
    let name = loop {
        tokio::select! {
            Ok(()) = &mut became_ready, if !told => {
                told = true;
                Ready { ready: true, xds: address }.tell(ready)?;
                info!(xds = %address, "ready");
            }
            _ = terminate.recv() => break "SIGTERM",
            _ = interrupt.recv() => break "SIGINT",
        }
    };
    info!(signal = name, "ending: streams are closed, and clients keep what they have");
    shutdown.cancel();
    let cut = server.await?;
    pipeline.await?;
    info!(cut, "ended");
    Ok(())
}
