//! The server's certificate, its key and the clients' authority: read from files, and read again when they change.
//!
//! Files that cannot be used when they are read again change nothing: connections go on being accepted by the last
//! good ones, and the log says why.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use pilotage_server::rustls::crypto::aws_lc_rs::default_provider;
use pilotage_server::rustls::pki_types::pem::PemObject;
use pilotage_server::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use pilotage_server::rustls::server::WebPkiClientVerifier;
use pilotage_server::rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

/// How often the files are looked at. They are few and small, and a mount of any kind can be read, where not every
/// kind tells of its changes.
const LOOK: Duration = Duration::from_secs(1);

/// Files, and what was read from them last.
pub(crate) struct Certificates {
    files: Files,
    content: Content,
    configuration: watch::Sender<Arc<ServerConfig>>,
}

#[derive(Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
    authority: Option<PathBuf>,
}

/// The bytes of the files. There is no `Debug`: one of them is a key.
#[derive(PartialEq, Eq)]
struct Content {
    chain: Vec<u8>,
    key: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl Certificates {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// One cannot be read or is not what it should be, or the key is of another certificate.
    pub(crate) fn read(chain: PathBuf, key: PathBuf, authority: Option<PathBuf>) -> anyhow::Result<Self> {
        let files = Files { chain, key, authority };
        let content = files.read()?;
        let configuration = watch::Sender::new(Arc::new(files.configuration(&content)?));
        Ok(Self { files, content, configuration })
    }

    /// By what connections are accepted, now and later.
    pub(crate) fn configuration(&self) -> watch::Receiver<Arc<ServerConfig>> {
        self.configuration.subscribe()
    }

    /// Looks at the files once.
    fn look(&mut self, told: &mut Option<String>) {
        let outcome = self.files.read().and_then(|content| {
            if content != self.content {
                let configuration = self.files.configuration(&content)?;
                self.configuration.send_replace(Arc::new(configuration));
                self.content = content;
                info!(certificate = %self.files.chain.display(), "new connections go by the renewed certificates");
            }
            Ok(())
        });
        let reason = outcome.err().map(|error| format!("{error:#}"));
        if let Some(reason) = &reason
            && *told != Some(reason.clone())
        {
            warn!("the certificates stay as they were: {reason}");
        }
        *told = reason;
    }
}

/// Reads the files again whenever they change, for ever.
pub(crate) async fn follow(mut certificates: Certificates) {
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        ticks.tick().await;
        certificates.look(&mut told);
    }
}

impl Files {
    fn read(&self) -> anyhow::Result<Content> {
        let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Content {
            chain: read(&self.chain)?,
            key: read(&self.key)?,
            authority: self.authority.as_ref().map(read).transpose()?,
        })
    }

    fn configuration(&self, content: &Content) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&content.chain, &self.chain)?;
        // The reader's words would hold nothing of the key, but say so of no more than the path.
        let key = PrivateKeyDer::from_pem_slice(&content.key)
            .map_err(|_| anyhow!("{} holds no private key in PEM", self.key.display()))?;
        let provider = Arc::new(default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match (&content.authority, &self.authority) {
            (Some(content), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(content, path)? {
                    roots
                        .add(authority)
                        .with_context(|| format!("{} holds a bad authority", path.display()))?;
                }
                // Whether a client has to show one is decided when it opens a stream, and told by a gRPC status.
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut configuration = builder.with_single_cert(chain, key).with_context(|| {
            format!("{} and {} do not go together", self.chain.display(), self.key.display())
        })?;
        configuration.alpn_protocols = vec![b"h2".to_vec()];
        Ok(configuration)
    }
}

fn certificates(pem: &[u8], path: &std::path::Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.with_context(|| format!("{} is not PEM", path.display()))?;
    ensure!(!found.is_empty(), "{} holds no certificate in PEM", path.display());
    Ok(found)
}
