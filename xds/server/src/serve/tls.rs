//! The handshake of a connection, by the newest configuration.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;
use tracing::warn;

use crate::PeerCertificates;
use crate::auth::Complaints;

/// How long a handshake may take; a connection that says nothing holds a socket.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where configurations come from, and what was said of handshakes that failed.
#[derive(Clone)]
pub(super) struct Tls {
    configuration: watch::Receiver<Arc<ServerConfig>>,
    complaints: Arc<Complaints>,
}

impl Tls {
    pub(super) fn new(configuration: watch::Receiver<Arc<ServerConfig>>) -> Self {
        Self { configuration, complaints: Arc::default() }
    }

    pub(super) async fn accept(
        &self,
        socket: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, PeerCertificates)> {
        let peer = socket.peer_addr().ok();
        let acceptor = TlsAcceptor::from(self.configuration.borrow().clone());
        let accepted = timeout(HANDSHAKE, acceptor.accept(socket)).await;
        let accepted =
            accepted.unwrap_or_else(|_| Err(io::Error::other(format!("it took longer than {HANDSHAKE:?}"))));
        let stream = accepted.inspect_err(|error| {
            // A client that is refused tries again for ever: its address and the reason are said once.
            let reason = error.to_string();
            if self.complaints.is_new((peer.map(|peer| peer.ip()), &reason)) {
                let peer = peer.map(tracing::field::display);
                warn!(peer, reason, "a TLS handshake fails; this is not said again");
            }
        })?;
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let certificates = certificates.iter().map(|der| Bytes::copy_from_slice(der)).collect();
        Ok((stream, PeerCertificates(certificates)))
    }
}
