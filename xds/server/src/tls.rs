//! TLS for the connections that [`crate::serve_tls`] accepts.
//!
//! Invariant: a connection that does not finish its handshake costs nobody else's time, and what a client proved of
//! itself is known to the services: [`PeerCertificates`] is an extension of every request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why there can be no TLS with what was given.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate and the key do not belong together, or one of them cannot be used.
    #[error("the server's certificate and key cannot be used: {0}")]
    Identity(#[source] rustls::Error),
    /// The authorities for clients cannot be used.
    #[error("the authorities for client certificates cannot be used: {0}")]
    Authorities(#[source] rustls::server::VerifierBuilderError),
}

/// The certificates by which a client has proved who it is, its own first; an extension of every request of a
/// connection on which a client certificate was asked for.
#[derive(Clone, Debug)]
pub struct PeerCertificates(pub Arc<[CertificateDer<'static>]>);

/// A configuration for [`crate::serve_tls`]: TLS 1.2 or newer, HTTP/2 only.
///
/// With `client_authorities`, every client must show a certificate that one of them has signed (mutual TLS). A
/// configuration made elsewhere serves as well, if it offers `h2` by ALPN.
///
/// # Errors
///
/// When the certificate and the key do not belong together, or there are no authorities in the store.
pub fn tls_config(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    client_authorities: Option<RootCertStore>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Identity)?;
    let builder = match client_authorities {
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Authorities)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(TlsError::Identity)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Shakes hands, within a bounded time.
pub(crate) async fn accept(
    socket: TcpStream,
    config: Arc<ServerConfig>,
) -> io::Result<(TlsStream<TcpStream>, Option<PeerCertificates>)> {
    let stream = timeout(HANDSHAKE, TlsAcceptor::from(config).accept(socket)).await??;
    let certificates = stream.get_ref().1.peer_certificates();
    let certificates = certificates.map(|chain| PeerCertificates(chain.iter().cloned().collect()));
    Ok((stream, certificates))
}
