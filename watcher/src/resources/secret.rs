//! Secrets, of which only certificates, their keys and authorities are kept; everything else in one is dropped unread.
//!
//! What must not be seen is [`Confidential`]: no message, log or debug output has it. A part that cannot be used has a
//! [`PartFault`], and the last usable one stays in its place.

use std::fmt;
use std::sync::Arc;

/// Bytes that nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Confidential(Arc<[u8]>);

impl Confidential {
    /// The bytes, for the one message that carries them to a proxy.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Confidential {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(confidential)")
    }
}

/// What matters of a Secret, whatever its type says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    /// A certificate and its key: `cert` and `key`, else `tls.crt` and `tls.key`.
    pub pair: Part<KeyPair>,
    /// Authorities by which the other side's certificate is judged: `cacert`, else `ca.crt`.
    pub authorities: Part<Authorities>,
    /// The names of the keys that it has, sorted.
    pub keys: Vec<Arc<str>>,
}

impl Secret {
    /// Whether one may take the other's place without anything but the content being another.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.pair.is_alike(&other.pair) && self.authorities.is_alike(&other.authorities)
    }
}

/// A part of a Secret: usable, broken, broken with the last usable one kept, or not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<T> {
    /// What can be used.
    pub usable: Option<Arc<T>>,
    /// Why what the Secret holds now cannot be used.
    pub fault: Option<PartFault>,
}

impl<T> Default for Part<T> {
    fn default() -> Self {
        Self { usable: None, fault: None }
    }
}

impl<T> Part<T> {
    /// Takes the usable part of a former state where this one is broken.
    pub(crate) fn keep(&mut self, former: &Self) {
        if self.fault.is_some() && self.usable.is_none() {
            self.usable.clone_from(&former.usable);
        }
    }

    /// Whether one may take the other's place without anything but the content being another.
    pub(crate) fn is_alike(&self, other: &Self) -> bool {
        self.usable.is_some() == other.usable.is_some() && self.fault == other.fault
    }
}

/// Why a part of a Secret cannot be used; it says nothing of what the values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartFault {
    /// The path of the field, such as `data["tls.crt"]`.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// A certificate with its chain, and the key that belongs to it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The chain as PEM, the certificate itself first.
    pub chain: Arc<[u8]>,
    /// The key as PEM.
    pub key: Confidential,
    /// A stapled OCSP response, as DER.
    pub ocsp_staple: Option<Arc<[u8]>>,
    /// When the certificate ends, in seconds since 1970.
    pub not_after: i64,
}

/// The chain stays out as well: a file may hold more than it should.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// Certificates of authorities.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// The certificates as PEM.
    pub certificates: Arc<[u8]>,
    /// Certificates that were revoked, as PEM.
    pub revoked: Option<Arc<[u8]>>,
    /// When the last of them ends, in seconds since 1970.
    pub not_after: i64,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}
