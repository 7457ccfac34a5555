//! TLS, to clients and to endpoints: who shows which certificate, and by what the other side's is judged.
//!
//! Secrets are named here and never held, but by [`Secret`], which is what their name stands for.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use pilotage_protocol::{Name, Version};
use pilotage_watcher::ObjectKey;
use pilotage_watcher::resources::{Authorities, KeyPair};

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Identity {
    /// The name of a [`Secret`].
    Secret(Name),
    /// Paths in the proxy's own file system.
    Files { chain: Arc<str>, key: Arc<str> },
}

/// The authorities that are trusted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Authority {
    /// The name of a [`Secret`].
    Secret(Name),
    /// A path in the proxy's own file system.
    File(Arc<str>),
}

/// By what a certificate of the other side is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Verification {
    pub(crate) authority: Option<Authority>,
    /// Subject alternative names, of which the certificate must have one.
    pub(crate) names: Vec<Arc<str>>,
    /// Hashes of public keys, of which the certificate's must be one.
    pub(crate) key_pins: Vec<Arc<str>>,
    /// Hashes of certificates, of which it must be one.
    pub(crate) certificate_pins: Vec<Arc<str>>,
    /// The path of a list of revoked certificates.
    pub(crate) revoked: Option<Arc<str>>,
    /// Whether a certificate of an unknown authority is let in.
    pub(crate) accepts_untrusted: bool,
}

/// A version of the protocol, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum TlsVersion {
    V1_0,
    V1_1,
    V1_2,
    V1_3,
}

/// TLS with clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ServerTls {
    pub(crate) identities: Vec<Identity>,
    /// None where clients are not asked for a certificate.
    pub(crate) clients: Option<Verification>,
    /// Whether a client without a certificate is turned away.
    pub(crate) requires_client: bool,
    pub(crate) oldest: TlsVersion,
    pub(crate) newest: Option<TlsVersion>,
    /// By OpenSSL's names; empty is the proxy's default.
    pub(crate) ciphers: Vec<Arc<str>>,
    pub(crate) curves: Vec<Arc<str>>,
    /// Whether HTTP/2 and HTTP/1.1 are offered.
    pub(crate) offers_http: bool,
}

/// TLS with endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientTls {
    pub(crate) identity: Option<Identity>,
    /// None where the endpoint's certificate is not judged.
    pub(crate) verification: Option<Verification>,
    pub(crate) server_name: ServerName,
}

/// The server name that endpoints are called by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ServerName {
    Fixed(Arc<str>),
    /// The host of each request; `checked` asks that the certificate is one for it.
    OfRequest {
        checked: bool,
    },
    None,
}

/// What the name of a secret stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Secret {
    pub(crate) name: Name,
    pub(crate) content: SecretContent,
    /// Of all that refers to it: a listener or cluster that changed waits to be sent its secrets, though they be the
    /// same (R58).
    pub(crate) parents: Vec<Version>,
    pub(crate) source: ObjectKey,
}

/// The content of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SecretContent {
    Pair(Arc<KeyPair>),
    Authorities(Arc<Authorities>),
}

/// Of public parts alone, for the hash becomes a version that is shown to people; a certificate determines its key.
impl Hash for SecretContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Pair(pair) => (0, &pair.chain, &pair.ocsp_staple).hash(state),
            Self::Authorities(authorities) => {
                (1, &authorities.certificates, &authorities.revoked).hash(state);
            }
        }
    }
}

/// The names of secrets that a side of TLS refers to.
pub(crate) fn secrets<'a>(
    identities: &'a [Identity],
    verification: Option<&'a Verification>,
) -> impl Iterator<Item = &'a Name> {
    let identities = identities.iter().filter_map(|identity| match identity {
        Identity::Secret(name) => Some(name),
        Identity::Files { .. } => None,
    });
    let authority = verification.and_then(|verification| match &verification.authority {
        Some(Authority::Secret(name)) => Some(name),
        Some(Authority::File(_)) | None => None,
    });
    identities.chain(authority)
}
