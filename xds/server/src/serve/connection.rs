//! One HTTP/2 connection, from its first byte to its last.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;

use super::ServeConfig;
use super::tasks::Spawner;
use crate::{PeerCertificates, jitter};

/// Tells the streams of a connection that it has reached its age.
#[derive(Clone)]
pub(crate) struct Retirement(pub(crate) CancellationToken);

/// A duration that is up to a tenth shorter or longer: connections that were opened together do not end together.
fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.9 + 0.2 * jitter::share())
}

/// Why a connection is asked to end.
enum Cause {
    Shutdown,
    Age,
}

pub(super) async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    socket: S,
    (info, certificates): (TcpConnectInfo, PeerCertificates),
    (routes, spawner): (Routes, Spawner),
    shutdown: CancellationToken,
    config: ServeConfig,
) -> io::Result<()> {
    // Each is polled only when it was woken: to look at a token takes a lock that all connections share.
    let mut causes = FuturesUnordered::<Pin<Box<dyn Future<Output = Cause> + Send>>>::new();
    causes.push(Box::pin(async move {
        shutdown.cancelled().await;
        Cause::Shutdown
    }));
    let retirement = config.max_connection_age.map(|_| Retirement(CancellationToken::new()));
    if let Some(age) = config.max_connection_age {
        causes.push(Box::pin(async move {
            sleep(jittered(age)).await;
            Cause::Age
        }));
    }
    let (of_requests, of_streams) = (retirement.clone(), spawner.clone());
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let extensions = request.extensions_mut();
        extensions.insert(info.clone());
        extensions.insert(certificates.clone());
        extensions.insert(of_streams.clone());
        if let Some(retirement) = &of_requests {
            extensions.insert(retirement.clone());
        }
        routes.clone().call(request)
    });
    let mut builder = http2::Builder::new(spawner);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout)
        // A connection carries one request or a few, in which nothing repeats that is worth a table.
        .header_table_size(0);
    // In one expression: bound to a name first it would have room twice, for as long as it lasts.
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), service));
    drop(builder);
    let mut is_finishing = false;
    loop {
        tokio::select! {
            biased;
            Some(cause) = causes.next(), if !is_finishing => {
                is_finishing = true;
                connection.as_mut().graceful_shutdown();
                if let (Cause::Age, Some(retirement)) = (cause, &retirement) {
                    retirement.0.cancel();
                }
            }
            result = connection.as_mut() => return result.map_err(io::Error::other),
        }
    }
}
