//! Accepts connections, in plaintext or over TLS, and serves gRPC on them until told to stop.
//!
//! The accept loop is our own, so that a shutdown can first ask every connection to finish (GOAWAY) and then, after a
//! deadline, cut those that do not.

use std::io;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::PeerCertificates;

mod connection;
mod tasks;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use self::connection::Retirement;
use self::connection::serve_connection;
pub(crate) use self::tasks::Spawner;

/// How connections are treated.
///
/// ```
/// use std::time::Duration;
/// use pilotage_server::ServeConfig;
///
/// // Behind a Service with several replicas: clients spread anew every half an hour.
/// let config = ServeConfig { max_connection_age: Some(Duration::from_secs(1800)), ..ServeConfig::default() };
/// ```
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

/// The pause after a failed accept: running out of file descriptors fails again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a connection is protected, decided anew for each.
#[derive(Clone)]
enum Protection {
    None,
    #[cfg(feature = "tls")]
    Tls(tls::Tls),
}

/// Serves `routes` on plaintext connections until `shutdown` is cancelled, and returns when all of them are closed.
///
/// The services should end their streams on the same token; what is still open after
/// [`ServeConfig::drain_deadline`] is cut. Returns how many connections had to be.
///
/// ```no_run
/// # use pilotage_server::{Ads, AdsConfig, Cache, ServeConfig, serve};
/// # async fn example(ads: Ads<String>, shutdown: tokio_util::sync::CancellationToken) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("0.0.0.0:18000").await?;
/// let cut = serve(listener, ads.routes(), shutdown, ServeConfig::default()).await;
/// println!("{cut} connections did not end in time");
/// # Ok(())
/// # }
/// ```
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> usize {
    serve_protected(listener, routes, Protection::None, shutdown, config).await
}

/// The same over TLS: each new connection goes by what `tls` holds when it is accepted, so that certificates are
/// replaced without a connection being lost.
///
/// The configuration has to offer `h2` by ALPN. What a client shows is in the request's extensions as
/// [`PeerCertificates`](crate::PeerCertificates); whether it has to show anything is the configuration's to say.
///
/// ```no_run
/// # use std::sync::Arc;
/// # use pilotage_server::rustls::{self, ServerConfig};
/// # use pilotage_server::{Ads, ServeConfig, serve_tls};
/// # use tokio::sync::watch;
/// # use tokio_util::sync::CancellationToken;
/// # async fn example(
/// #     ads: Ads<String>, shutdown: CancellationToken, listener: tokio::net::TcpListener,
/// #     load: fn() -> Result<ServerConfig, rustls::Error>,
/// # ) -> Result<(), rustls::Error> {
/// let mut first = load()?;
/// first.alpn_protocols = vec![b"h2".to_vec()];
/// let (rotate, current) = watch::channel(Arc::new(first));
/// tokio::spawn(serve_tls(listener, ads.routes(), current, shutdown, ServeConfig::default()));
/// // Later, when the files have changed:
/// let mut next = load()?;
/// next.alpn_protocols = vec![b"h2".to_vec()];
/// rotate.send_replace(Arc::new(next));
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tls")]
pub async fn serve_tls(
    listener: TcpListener,
    routes: Routes,
    tls: tokio::sync::watch::Receiver<Arc<tokio_rustls::rustls::ServerConfig>>,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> usize {
    serve_protected(listener, routes, Protection::Tls(tls::Tls::new(tls)), shutdown, config).await
}

async fn serve_protected(
    listener: TcpListener,
    routes: Routes,
    protection: Protection,
    shutdown: CancellationToken,
    config: ServeConfig,
) -> usize {
    let routes = routes.prepare();
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
                let spawner = Spawner::default();
                let of_connection = (routes.clone(), spawner.clone());
                let connection =
                    protect(socket, protection.clone(), of_connection, shutdown.clone(), config.clone());
                // Boxed here: each future that it is handed to would otherwise have room for it as well.
                let connection = tasks::run(spawner, Box::pin(connection), cut.clone().cancelled_owned());
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(%error, "a connection ends with an error");
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
    if timeout(config.drain_deadline, connections.wait()).await.is_ok() {
        return 0;
    }
    let remaining = connections.len();
    warn!(connections = remaining, "cutting what has not finished in time");
    cut.cancel();
    connections.wait().await;
    remaining
}

async fn protect(
    socket: TcpStream,
    protection: Protection,
    services: (Routes, Spawner),
    shutdown: CancellationToken,
    config: ServeConfig,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let info = socket.connect_info();
    match protection {
        Protection::None => {
            serve_connection(socket, (info, PeerCertificates::default()), services, shutdown, config).await
        }
        #[cfg(feature = "tls")]
        Protection::Tls(tls) => {
            // Both are large, and without boxes every connection had room for them, in plaintext too.
            let (stream, certificates) = Box::pin(tls.accept(socket)).await?;
            serve_connection(Box::new(stream), (info, certificates), services, shutdown, config).await
        }
    }
}
