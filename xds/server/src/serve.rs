//! Accepts connections and serves gRPC on them until told to stop.
//!
//! The accept loop is our own, so that a shutdown can first ask every connection to finish (GOAWAY) and then, after a
//! deadline, cut those that do not.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

use crate::PeerCertificates;
use crate::tls;

/// How connections are treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// How long connections may take to finish at shutdown before they are cut; 5 s.
    pub drain_deadline: Duration,
    /// How often an idle connection is pinged, so that a half-open one is noticed (H52); 30 s.
    pub keepalive_interval: Duration,
    /// How long a ping may stay unanswered; 10 s.
    pub keepalive_timeout: Duration,
    /// After how long a connection is asked to end, give or take a tenth, so that clients spread over replicas anew;
    /// `None`, which is the default, is never. Its streams end once they have had a response (H53).
    pub max_connection_age: Option<Duration>,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            drain_deadline: Duration::from_secs(5),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_connection_age: None,
        }
    }
}

/// Tells the streams of a connection that it has reached its age.
#[derive(Clone)]
pub(crate) struct Retirement(pub(crate) CancellationToken);

/// A duration that is up to a tenth shorter or longer: connections that were opened together do not end together.
fn jittered(duration: Duration) -> Duration {
    // The keys of a `RandomState` are random.
    let random = RandomState::new().build_hasher().finish() % 2001;
    duration.mul_f64(0.9 + random as f64 / 10_000.0)
}

/// The pause after a failed accept: running out of file descriptors fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `routes` on plaintext connections until `shutdown` is cancelled, and returns when all of them are closed.
///
/// The services should end their streams on the same token; what is still open after
/// [`ServeConfig::drain_deadline`] is cut. Returns how many connections had to be.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> usize {
    let routes = routes.prepare();
    let token = shutdown.clone();
    accept(listener, shutdown, config.drain_deadline, move |socket| {
        let (routes, shutdown, config) = (routes.clone(), token.clone(), config.clone());
        async move {
            socket.set_nodelay(true)?;
            let peer = Peer { info: socket.connect_info(), certificates: None };
            serve_connection(socket, peer, routes, shutdown, config).await
        }
    })
    .await
}

/// The same on TLS connections.
///
/// `tls` is asked for every connection, so that a renewed certificate counts from the next connection on; see
/// [`crate::tls_config`]. A client that does not finish its handshake in 10 s is cut.
///
/// ```no_run
/// use std::sync::Arc;
/// use pilotage_server::{ServeConfig, rustls, serve_tls};
/// use tokio::sync::watch;
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(
/// #     listener: tokio::net::TcpListener,
/// #     routes: tonic::service::Routes,
/// #     config: rustls::ServerConfig,
/// # ) {
/// let (renewed, current) = watch::channel(Arc::new(config));
/// let tls = move || current.borrow().clone();
/// serve_tls(listener, tls, routes, CancellationToken::new(), ServeConfig::default()).await;
/// // Meanwhile `renewed.send(…)` replaces the certificate.
/// # drop(renewed);
/// # }
/// ```
pub async fn serve_tls(
    listener: TcpListener,
    tls: impl Fn() -> Arc<rustls::ServerConfig> + Send,
    routes: Routes,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> usize {
    let routes = routes.prepare();
    let token = shutdown.clone();
    accept(listener, shutdown, config.drain_deadline, move |socket| {
        let (routes, shutdown, config) = (routes.clone(), token.clone(), config.clone());
        let tls = tls();
        async move {
            socket.set_nodelay(true)?;
            let info = socket.connect_info();
            let (stream, certificates) = tls::accept(socket, tls).await?;
            serve_connection(stream, Peer { info, certificates }, routes, shutdown, config).await
        }
    })
    .await
}

/// Accepts connections until `shutdown` is cancelled, and waits for them for as long as `drain_deadline`. Returns how
/// many had to be cut.
async fn accept<F>(
    listener: TcpListener,
    shutdown: CancellationToken,
    drain_deadline: Duration,
    serve: impl Fn(TcpStream) -> F + Send,
) -> usize
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => {
                let (connection, cut) = (serve(socket), cut.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        result = connection => {
                            if let Err(error) = result {
                                debug!(%error, "a connection ends with an error");
                            }
                        }
                    }
                });
            }
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // No further connection is accepted while the others finish.
    drop(listener);
    connections.close();
    if timeout(drain_deadline, connections.wait()).await.is_ok() {
        return 0;
    }
    let remaining = connections.len();
    warn!(connections = remaining, "cutting what has not finished in time");
    cut.cancel();
    connections.wait().await;
    remaining
}

/// Who is at the other end of a connection.
struct Peer {
    info: TcpConnectInfo,
    certificates: Option<PeerCertificates>,
}

async fn serve_connection(
    socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    Peer { info, certificates }: Peer,
    routes: Routes,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> io::Result<()> {
    let retirement = Retirement(CancellationToken::new());
    let of_requests = retirement.clone();
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(info.clone());
        request.extensions_mut().insert(of_requests.clone());
        if let Some(certificates) = &certificates {
            request.extensions_mut().insert(certificates.clone());
        }
        routes.clone().call(request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = std::pin::pin!(connection);
    let mut is_finishing = false;
    let age = config.max_connection_age.map(|age| sleep(jittered(age)));
    let mut age = std::pin::pin!(OptionFuture::from(age));
    loop {
        tokio::select! {
            result = connection.as_mut() => return result.map_err(io::Error::other),
            () = shutdown.cancelled(), if !is_finishing => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
            }
            Some(()) = age.as_mut(), if !is_finishing => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
                retirement.0.cancel();
            }
        }
    }
}
