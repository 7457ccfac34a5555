//! Lets clients in: by a certificate, else by a token, else not at all, or as little as the settings allow.

use std::collections::BTreeMap;
use std::pin::Pin;

use pilotage_compile::{Group, LabelKeys, ProxyKind};
use pilotage_server::{Authenticator, Credentials, Node, Permit};
use pilotage_watcher::Kind;
use pilotage_watcher::kubernetes::{KindState, Status as KindStatus};
use tokio::sync::watch;
use tonic::Status;

use super::identity::{Identity, Pods};
use super::tokens::Tokens;
use crate::settings::Clients;

/// What clients must show.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) clients: Clients,
    /// None where tokens are not taken.
    pub(super) tokens: Option<Tokens>,
    /// The namespaces of names that do not have one by themselves.
    pub(super) workloads: BTreeMap<String, String>,
    /// What is known of the kinds of a cluster; none without one.
    pub(super) kinds: Option<watch::Receiver<KindStatus>>,
}

impl Gate {
    async fn permit(&self, credentials: Credentials) -> Result<Permit, Status> {
        let of_certificate =
            credentials.certificates.0.first().map(|der| Identity::of_certificate(der, &self.workloads));
        if let Some(Ok(identity)) = of_certificate {
            return Ok(self.permit_to(identity));
        }
        if let (Some(tokens), Some(authorization)) = (&self.tokens, &credentials.authorization) {
            return Ok(self.permit_to(tokens.identity(authorization).await?));
        }
        match (of_certificate, self.clients) {
            (Some(Err(status)), _) => Err(status),
            (_, Clients::Optional) => Ok(Permit::new(|node| stranger(node))),
            (_, Clients::Required | Clients::Off) => Err(Status::unauthenticated(match &self.tokens {
                Some(_) => {
                    "the client shows neither a certificate nor a token: give it a client certificate, or a \
                            service-account token in the header authorization"
                }
                None => {
                    "the client shows no certificate: give it one of the authority that this server trusts"
                }
            })),
        }
    }

    fn permit_to(&self, identity: Identity) -> Permit {
        let (kinds, end) = (self.kinds.clone(), identity.end());
        let permit = Permit::new(move |node| {
            let state = kinds.as_ref().and_then(|kinds| kinds.borrow().kinds.get(&Kind::Pod).cloned());
            let pods = match state {
                None | Some(KindState::Forbidden(_) | KindState::Absent) => Pods::Unread,
                Some(KindState::Listing | KindState::Watching | KindState::Away(_)) => Pods::Read,
            };
            identity.permit(node, pods)
        });
        match end {
            Some(end) => permit.until(end),
            None => permit,
        }
    }
}

impl Authenticator for Gate {
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> Pin<Box<dyn Future<Output = Result<Permit, Status>> + Send + '_>> {
        Box::pin(self.permit(credentials))
    }
}

/// What nobody knows may be anything that is told no secrets.
fn stranger(node: &Node) -> Result<(), Status> {
    match Group::of(node, &LabelKeys::default()).kind {
        ProxyKind::Gateway => Err(Status::unauthenticated(format!(
            "gateways are told private keys, so {} has to show who it is: by a client certificate, or by a token",
            node.id
        ))),
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Grpc => Ok(()),
    }
}
