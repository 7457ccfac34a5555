//! Who is served: TLS from files that may be renewed, and who a client is, by its certificate or its token.
//!
//! Invariant: where clients must be known, a client is served as the namespace of its identity and as no other, for
//! what a gateway is told holds the private keys of its namespace.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use pilotage_server::Authenticator;
use pilotage_watcher::kubernetes::KubernetesSource;

use crate::settings::{Clients, Settings, Trust};

mod certificates;
mod gate;
mod identity;
mod tokens;

pub(crate) use certificates::{Certificates, follow};
use gate::Gate;
use tokens::Tokens;

/// What the settings ask of connections and clients, with the files read.
pub(crate) struct Guard {
    /// None for plaintext.
    pub(crate) certificates: Option<Certificates>,
    /// None where everyone is believed.
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
}

impl Guard {
    /// Reads the files that the settings name. `cluster` is where tokens are reviewed, and what is known of its kinds.
    ///
    /// # Errors
    /// Settings that do not go together, or files that cannot be used.
    pub(crate) fn open(settings: &Settings, cluster: Option<&KubernetesSource>) -> anyhow::Result<Self> {
        let trust = &settings.trust;
        let certificates = certificates(trust)?;
        check_address(settings.listen, certificates.is_some(), settings.allow_plaintext_off_loopback)?;
        let takes_certificates = certificates.is_some() && trust.client_authority.is_some();
        let tokens = match (trust.token_audiences.as_slice(), cluster) {
            ([], _) => None,
            (_, None) => bail!(
                "tokens are checked by a Kubernetes API server; say --kubernetes, or no --token-audience"
            ),
            (audiences, Some(cluster)) => Some(Tokens::new(cluster.connection().clone(), audiences.to_vec())),
        };
        let clients = trust.clients.unwrap_or(match takes_certificates || tokens.is_some() {
            true => Clients::Required,
            false => Clients::Off,
        });
        if clients != Clients::Off && !takes_certificates && tokens.is_none() {
            bail!(
                "clients cannot show who they are: give the authority of their certificates with --client-ca, or the \
                 audience of their tokens with --token-audience"
            );
        }
        let authenticator = (clients != Clients::Off).then(|| -> Arc<dyn Authenticator> {
            let kinds = cluster.map(KubernetesSource::status);
            Arc::new(Gate { clients, tokens, workloads: trust.workloads.clone(), kinds })
        });
        Ok(Self { certificates, authenticator })
    }
}

fn certificates(trust: &Trust) -> anyhow::Result<Option<Certificates>> {
    match (&trust.certificate, &trust.key) {
        (None, None) if trust.client_authority.is_some() => {
            bail!(
                "clients show certificates over TLS alone: give the server's own with --tls-cert and --tls-key"
            )
        }
        (None, None) => Ok(None),
        (Some(chain), Some(key)) => {
            Ok(Some(Certificates::read(chain.clone(), key.clone(), trust.client_authority.clone())?))
        }
        _ => bail!("a certificate and its key go together: give both --tls-cert and --tls-key"),
    }
}

fn check_address(listen: SocketAddr, is_protected: bool, is_allowed: bool) -> anyhow::Result<()> {
    if listen.ip().is_loopback() || is_protected || is_allowed {
        return Ok(());
    }
    bail!(
        "{listen} is not loopback, and without --tls-cert and --tls-key xDS is plaintext: everyone who can reach it \
         could read every route; give a certificate, listen on 127.0.0.1, or say --allow-plaintext-off-loopback"
    )
}
