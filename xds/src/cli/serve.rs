//! `pilotage serve`: the server, from its arguments to its end.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use pilotage_compile::pretend_encoder_revision;
use pilotage_server::{Ads, AdsConfig, Cache, ServeConfig, serve, serve_tls};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::ready::{Ready, ReadyArgs};
use super::reporting::Reporting;
use super::settings_file;
use super::sources::Sources;
use crate::admin::{self, Metrics, Pages, Readiness, Task};
use crate::pipeline::{Grouping, Inputs, Pipeline};
use crate::settings::{Clients, LogFormat, Settings};
use crate::telemetry;
use crate::trust::{self, Guard};

/// How long sources may take to end, and what is kept of them to be written.
const SAVE_WITHIN: Duration = Duration::from_secs(5);

/// Serve a folder of manifests, or a Kubernetes cluster, to Envoys and gRPC clients, live
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage serve --dir manifests
  pilotage serve --dir manifests --listen 127.0.0.1:0 --ready-file ready.json
  pilotage serve --config pilotage.yaml --log-format json
  pilotage serve --kubernetes --kubeconfig ~/.kube/config
  pilotage serve --dir manifests --listen 0.0.0.0:18000 --tls-cert xds.crt --tls-key xds.key --client-ca clients.crt

When it is ready, it prints one line on standard output: {\"ready\":true,\"xds\":\"127.0.0.1:18000\"}. Logs go to standard
error. On SIGTERM or Ctrl-C streams are ended, and the exit code is 0.")]
pub(super) struct Args {
    /// The folder of manifests to watch, with its sub-folders
    #[arg(long, value_name = "DIR", env = "PILOTAGE_DIR")]
    dir: Option<PathBuf>,
    /// Watch a Kubernetes API server: that of the cluster that this runs in, or that of --kubeconfig
    #[arg(long, env = "PILOTAGE_KUBERNETES")]
    kubernetes: bool,
    /// The kubeconfig file that says where the API server is and who we are
    #[arg(long, value_name = "FILE", env = "PILOTAGE_KUBECONFIG")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file [default: its current one]
    #[arg(long, value_name = "NAME", env = "PILOTAGE_CONTEXT")]
    context: Option<String>,
    /// The address of the xDS server; port 0 lets the system choose [default: 127.0.0.1:18000]
    #[arg(long, value_name = "IP:PORT", env = "PILOTAGE_LISTEN")]
    listen: Option<SocketAddr>,
    /// The address of /healthz, /readyz and /metrics; port 0 lets the system choose [default: not served]
    #[arg(long, value_name = "IP:PORT", env = "PILOTAGE_HEALTH")]
    health: Option<SocketAddr>,
    /// Allow plaintext xDS on an address that is not loopback; everyone who can reach it can read every route
    #[arg(long)]
    allow_plaintext_off_loopback: bool,
    /// The server's certificate with its chain, as PEM; with --tls-key, xDS is served over TLS
    #[arg(long, value_name = "FILE", env = "PILOTAGE_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, as PEM
    #[arg(long, value_name = "FILE", env = "PILOTAGE_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// The authorities of clients' certificates, as PEM
    #[arg(long, value_name = "FILE", env = "PILOTAGE_CLIENT_CA")]
    client_ca: Option<PathBuf>,
    /// Take service-account tokens for this audience; may be given several times
    #[arg(long = "token-audience", value_name = "AUDIENCE", env = "PILOTAGE_TOKEN_AUDIENCE")]
    token_audiences: Vec<String>,
    /// Whether clients must show who they are [default: required with --client-ca or --token-audience, else off]
    #[arg(long, value_enum, env = "PILOTAGE_CLIENTS")]
    clients: Option<Clients>,
    /// The folder in which the last good state outlives the process [default: none]
    #[arg(long, value_name = "DIR", env = "PILOTAGE_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// After how many seconds, give or take a tenth, a connection is asked to end, so that clients spread over replicas
    /// [default: never]
    #[arg(long, value_name = "SECONDS", env = "PILOTAGE_MAX_CONNECTION_AGE")]
    max_connection_age: Option<u32>,
    /// Write conditions on the cluster's objects, and events about what is wrong; one replica of all that do writes
    #[arg(long, env = "PILOTAGE_STATUS")]
    status: bool,
    /// Where other replicas reach the address of --health, to ask for what became of objects at our clients
    #[arg(long, value_name = "IP:PORT", env = "PILOTAGE_ADVERTISE")]
    advertise: Option<SocketAddr>,
    /// The namespace that this runs in, where leases are kept [default: pilotage-system]
    #[arg(long, value_name = "NAME", env = "PILOTAGE_NAMESPACE")]
    namespace: Option<String>,
    /// Make versions as another revision of the encoder would, for tests of an upgrade
    #[arg(long, value_name = "NUMBER", hide = true)]
    encoder_revision: Option<u32>,
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
    if let Some(revision) = args.encoder_revision {
        pretend_encoder_revision(revision);
    }
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
    settings.kubernetes.watch |= args.kubernetes;
    if let Some(kubeconfig) = &args.kubeconfig {
        settings.kubernetes.kubeconfig = Some(kubeconfig.clone());
    }
    if let Some(context) = &args.context {
        settings.kubernetes.context = Some(context.clone());
    }
    if let Some(listen) = args.listen {
        settings.listen = listen;
    }
    if args.health.is_some() {
        settings.health = args.health;
    }
    if let Some(format) = args.log_format {
        settings.log.format = format;
    }
    if let Some(level) = &args.log_level {
        settings.log.level.clone_from(level);
    }
    if args.max_connection_age.is_some() {
        settings.server.max_connection_age_seconds = args.max_connection_age;
    }
    settings.status.write |= args.status;
    if args.advertise.is_some() {
        settings.status.advertise = args.advertise;
    }
    if let Some(namespace) = &args.namespace {
        settings.status.namespace.clone_from(namespace);
    }
    if args.state_dir.is_some() {
        settings.state.dir.clone_from(&args.state_dir);
    }
    let trust = &mut settings.trust;
    for (from, to) in [
        (&args.tls_cert, &mut trust.certificate),
        (&args.tls_key, &mut trust.key),
        (&args.client_ca, &mut trust.client_authority),
    ] {
        if from.is_some() {
            to.clone_from(from);
        }
    }
    if !args.token_audiences.is_empty() {
        trust.token_audiences.clone_from(&args.token_audiences);
    }
    trust.clients = args.clients.or(trust.clients);
    settings.allow_plaintext_off_loopback |= args.allow_plaintext_off_loopback;
    Ok(settings)
}

async fn serve_until_told(settings: &Settings, ready: &ReadyArgs) -> anyhow::Result<()> {
    let listen = settings.listen;
    // Signals are heard from here on, so that none is lost while the folder is read.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let sources = Sources::open(settings).await?;
    let reporting = Reporting::open(settings, &sources)?;
    let Guard { certificates, authenticator } = Guard::open(settings, sources.cluster())?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let shutdown = CancellationToken::new();
    let (readiness, metrics) = (Readiness::default(), Metrics::new());
    let first_translation =
        readiness.task(format!("{}, and the first translation", sources.names().join(", ")));
    let cache = Cache::new();
    let grouping = Grouping::new(&settings.translation);
    let assign = grouping.clone();
    let ads = AdsConfig { authenticator, ..AdsConfig::default() };
    let (ads, clients) = Ads::new(cache.clone(), move |node| assign.of(node), ads, shutdown.clone());
    let (is_ready, mut became_ready) = oneshot::channel();
    let linger = Duration::from_secs(settings.server.group_linger_seconds.into());
    let streams = ads.streams().clone();
    let outcomes = reporting.as_ref().map(Reporting::answer);
    let pages = Pages { readiness, metrics: metrics.clone(), streams, outcomes };
    let health = serve_health(settings.health, pages.clone(), &shutdown).await?;
    let out = (cache, ads.streams().clone());
    let told = (is_ready, metrics);
    let pipeline =
        Pipeline::new(settings.translation.clone(), out, grouping.clone(), linger, sources.names(), told);
    let (positions, secrets) = (sources.positions(), sources.secrets());
    let following = TaskTracker::new();
    let ledger =
        reporting.map(|reporting| reporting.start(&following, (&pages, grouping), health, &shutdown));
    let inputs =
        Inputs { sources: sources.start(&following, &shutdown, &pages), clients, positions, secrets, ledger };
    let pipeline = tokio::spawn(pipeline.run(inputs, shutdown.clone()));
    let config = ServeConfig {
        drain_deadline: Duration::from_secs(settings.server.drain_seconds.into()),
        max_connection_age: settings
            .server
            .max_connection_age_seconds
            .map(|age| Duration::from_secs(age.into())),
        ..ServeConfig::default()
    };
    let server = match certificates {
        None => tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), config)),
        Some(certificates) => {
            let tls = certificates.configuration();
            tokio::spawn(trust::follow(certificates));
            tokio::spawn(serve_tls(listener, ads.routes(), tls, shutdown.clone(), config))
        }
    };

    let mut first_translation = Some(first_translation);
    let name = loop {
        tokio::select! {
            Ok(()) = &mut became_ready, if first_translation.is_some() => {
                first_translation.take().into_iter().for_each(Task::done);
                Ready { ready: true, xds: address, health }.tell(ready)?;
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
    // What is to be kept is written once the sources have ended.
    following.close();
    if timeout(SAVE_WITHIN, following.wait()).await.is_err() {
        warn!("the last good state may lack the latest changes");
    }
    info!(cut, "ended");
    Ok(())
}

/// Serves health and metrics where an address is set, and gives the address that it came to be.
async fn serve_health(
    address: Option<SocketAddr>,
    pages: Pages,
    shutdown: &CancellationToken,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(address) = address else { return Ok(None) };
    let listener =
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} for health"))?;
    let bound = listener.local_addr()?;
    let shutdown = shutdown.clone();
    tokio::spawn(async move {
        if let Err(error) = admin::serve(listener, pages, shutdown).await {
            error!(%error, "health and metrics are no longer served");
        }
    });
    Ok(Some(bound))
}
