//! Certificates made on the spot, clients that speak TLS, and backends behind it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use pilotage::demo::Client;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// An authority that issues certificates.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The key.
    pub key: String,
}

impl Authority {
    /// A new authority.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Where both have one name, as by default, a certificate looks as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a host name, an address or, with `://` in it, a URI.
    ///
    /// # Errors
    /// It is none.
    pub fn issue(&self, host: &str) -> Result<Issued> {
        self.issue_until(host, None)
    }

    /// The same, which ends at `end`, to a second.
    ///
    /// # Errors
    /// It is none.
    pub fn issue_until(&self, host: &str, end: Option<SystemTime>) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let names = if host.contains("://") { Vec::new() } else { vec![host.to_owned()] };
        let mut params = CertificateParams::new(names)?;
        if host.contains("://") {
            params.subject_alt_names.push(SanType::URI(host.try_into()?));
        }
        params.distinguished_name.push(DnType::CommonName, host);
        if let Some(end) = end {
            params.not_after = end.into();
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)?;
        Ok(roots)
    }
}

impl Issued {
    /// The certificate as it is sent.
    ///
    /// # Errors
    /// It is no PEM.
    pub fn der(&self) -> Result<CertificateDer<'static>> {
        Ok(CertificateDer::from_pem_slice(self.certificate.as_bytes())?)
    }

    fn key_der(&self) -> Result<PrivateKeyDer<'static>> {
        Ok(PrivateKeyDer::from_pem_slice(self.key.as_bytes())?)
    }
}

/// A Secret of the namespace `demo`, of type `kubernetes.io/tls`; with `authority` it has `ca.crt` too.
pub fn secret(name: &str, issued: &Issued, authority: Option<&str>) -> String {
    let block = |key: &str, text: &str| {
        let lines: String = text.lines().map(|line| format!("    {line}\n")).collect();
        format!("  {key}: |\n{lines}")
    };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: demo}}\ntype: kubernetes.io/tls\n\
         stringData:\n{}{}{}---\n",
        block("tls.crt", &issued.certificate),
        block("tls.key", &issued.key),
        authority.map(|authority| block("ca.crt", authority)).unwrap_or_default(),
    )
}

/// How a client speaks TLS: whom it trusts, and who it is.
#[derive(Clone)]
pub struct TlsClient(TlsConnector);

impl TlsClient {
    /// One that trusts `authority`, and shows `identity` where it is asked for one.
    ///
    /// # Errors
    /// The key does not belong to the certificate.
    pub fn new(authority: &Authority, identity: Option<&Issued>) -> Result<Self> {
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder =
            builder.with_safe_default_protocol_versions()?.with_root_certificates(authority.roots()?);
        let mut config = match identity {
            Some(identity) => builder.with_client_auth_cert(vec![identity.der()?], identity.key_der()?)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// A connection to `target`, where `host` is expected.
    ///
    /// # Errors
    /// Nobody answers, or somebody else does.
    pub async fn open(&self, target: SocketAddr, host: &str) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let socket = TcpStream::connect(target).await?;
        socket.set_nodelay(true)?;
        self.0.connect(name, socket).await
    }

    /// The certificate that `target` shows to who asks for `host`.
    ///
    /// # Errors
    /// As of [`TlsClient::open`].
    pub async fn certificate(&self, target: SocketAddr, host: &str) -> Result<CertificateDer<'static>> {
        let stream = self.open(target, host).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        shown.cloned().map(CertificateDer::into_owned).context("a server shows a certificate")
    }

    /// A gRPC client with one connection of TLS to `target`, where `host` is expected.
    ///
    /// # Errors
    /// As of [`TlsClient::open`].
    pub async fn connect(&self, target: SocketAddr, host: &str) -> Result<Client> {
        let (tls, name) = (self.clone(), host.to_owned());
        let open = move || {
            let (tls, name) = (tls.clone(), name.clone());
            async move { tls.open(target, &name).await }
        };
        Ok(Client::connect_with(target, host, open).await?)
    }
}

/// TLS in front of a backend that speaks plaintext. Dropping it ends it.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl TlsFront {
    /// Listens on a free port and shows `identity`; where `clients` is given, it wants certificates of that authority.
    ///
    /// # Errors
    /// It cannot listen, or the key does not belong to the certificate.
    pub async fn start(backend: SocketAddr, identity: &Issued, clients: Option<&Authority>) -> Result<Self> {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions()?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build()?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(vec![identity.der()?], identity.key_der()?)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A handshake that fails is the other side's to notice.
                    let Ok(mut outside) = acceptor.accept(socket).await else { return };
                    let Ok(mut inside) = TcpStream::connect(backend).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
                });
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}
