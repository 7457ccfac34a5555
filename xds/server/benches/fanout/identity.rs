//! The certificate of the server under test: made by the bench, handed to the server's process, trusted by the clients.

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, crypto};

const CERTIFICATE: &str = "PILOTAGE_BENCH_CERTIFICATE";
const KEY: &str = "PILOTAGE_BENCH_KEY";

static IDENTITY: LazyLock<Option<(Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).ok()?;
    Some((made.cert.der().to_vec(), made.signing_key.serialize_der()))
});

fn identity() -> Result<&'static (Vec<u8>, Vec<u8>)> {
    IDENTITY.as_ref().context("a certificate")
}

pub(crate) fn as_environment() -> Result<[(&'static str, String); 2]> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (certificate, key) = identity()?;
    Ok([(CERTIFICATE, hex(certificate)), (KEY, hex(key))])
}

/// In the server's process.
pub(crate) fn server() -> Result<Arc<ServerConfig>> {
    let read = |name: &str| -> Result<Vec<u8>> {
        let text = std::env::var(name)?;
        (0..text.len() / 2).map(|at| Ok(u8::from_str_radix(&text[2 * at..2 * at + 2], 16)?)).collect()
    };
    let chain = vec![CertificateDer::from(read(CERTIFICATE)?)];
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(read(KEY)?));
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// In the clients.
pub(crate) fn client() -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(identity()?.0.clone()))?;
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
