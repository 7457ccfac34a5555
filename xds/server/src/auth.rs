//! Who a client is: what it shows, and who decides what it may be.
//!
//! Invariant: nothing that a client sends is read before it is known who it is, and nothing is answered before it is
//! decided that it may be the node that it says it is.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use pilotage_protos::discovery::Node;
use tonic::Status;
use tonic::codegen::http;

use crate::jitter;

/// Refusals that are remembered as logged; beyond that, the memory begins anew.
const REMEMBERED: usize = 1024;

/// The certificates that a client showed in the handshake, as DER, its own first; in the extensions of every request.
///
/// ```
/// use pilotage_server::PeerCertificates;
///
/// /// Whether a client of any service in the server showed a certificate.
/// fn is_known<T>(request: &tonic::Request<T>) -> bool {
///     request.extensions().get::<PeerCertificates>().is_some_and(|shown| !shown.0.is_empty())
/// }
/// # assert!(!is_known(&tonic::Request::new(())));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificates(pub Arc<[Bytes]>);

/// What a client shows of who it is. Debug output does not have the header's value.
///
/// ```
/// use pilotage_server::Credentials;
///
/// /// The token of `authorization: Bearer <token>`.
/// fn token(credentials: &Credentials) -> Option<&str> {
///     credentials.authorization.as_ref()?.to_str().ok()?.strip_prefix("Bearer ")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Where it connected from.
    pub peer: Option<SocketAddr>,
    /// Certificates that the handshake found to be good; none in plaintext, or where it showed none.
    pub certificates: PeerCertificates,
    /// Its header `authorization`.
    pub authorization: Option<HeaderValue>,
}

impl Credentials {
    pub(crate) fn of(
        peer: Option<SocketAddr>,
        certificates: Option<&PeerCertificates>,
        headers: &HeaderMap,
    ) -> Self {
        let mut authorization = headers.get(header::AUTHORIZATION).cloned();
        if let Some(value) = &mut authorization {
            value.set_sensitive(true);
        }
        Self { peer, certificates: certificates.cloned().unwrap_or_default(), authorization }
    }
}

/// What a client that is known may be, and for how long.
///
/// ```
/// use pilotage_server::Permit;
/// use tonic::Status;
///
/// /// Lets a client be the one node whose id is `name`.
/// fn only(name: String) -> Permit {
///     Permit::new(move |node| match node.id == name {
///         true => Ok(()),
///         false => Err(Status::permission_denied(format!("{name} may not be {}", node.id))),
///     })
/// }
/// ```
pub struct Permit {
    check: Check,
    ends: Option<Instant>,
}

type Check = Box<dyn Fn(&mut Node) -> Result<(), Status> + Send + Sync>;

impl Permit {
    /// A permit that `check` refuses to nodes that the client may not be. It may take from a node what the client has no
    /// business to say of itself.
    pub fn new(check: impl Fn(&mut Node) -> Result<(), Status> + Send + Sync + 'static) -> Self {
        Self { check: Box::new(check), ends: None }
    }

    /// The same permit, until `end`: a stream that is open then ends with `UNAUTHENTICATED`. It ends up to a twentieth of
    /// the time sooner, a minute at most, so that clients whose credentials were issued together do not return together.
    #[must_use]
    pub fn until(mut self, end: Instant) -> Self {
        let left = end.saturating_duration_since(Instant::now());
        let sooner = (left / 20).min(Duration::from_secs(60)).mul_f64(jitter::share());
        self.ends = Some(end.checked_sub(sooner).unwrap_or(end));
        self
    }

    pub(crate) fn check(&self, node: &mut Node) -> Result<(), Status> {
        (self.check)(node)
    }

    pub(crate) fn ends(&self) -> Option<Instant> {
        self.ends
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Decides whose streams are served.
///
/// A client that is not let in is told the status and nothing else; the log has it once.
///
/// ```
/// use std::{future::Future, pin::Pin};
/// use pilotage_server::{Authenticator, Credentials, Permit};
/// use tonic::Status;
///
/// /// Lets in who knows the word, as nodes whose ids begin with `edge-`.
/// #[derive(Debug)]
/// struct Word(&'static str);
///
/// impl Authenticator for Word {
///     fn authenticate(
///         &self,
///         credentials: Credentials,
///     ) -> Pin<Box<dyn Future<Output = Result<Permit, Status>> + Send + '_>> {
///         Box::pin(async move {
///             if credentials.authorization.is_none_or(|value| value != self.0) {
///                 return Err(Status::unauthenticated("the word is another one"));
///             }
///             Ok(Permit::new(|node| match node.id.starts_with("edge-") {
///                 true => Ok(()),
///                 false => Err(Status::permission_denied(format!("{} is no edge", node.id))),
///             }))
///         })
///     }
/// }
/// ```
pub trait Authenticator: fmt::Debug + Send + Sync + 'static {
    /// Says what a client may be, or refuses it: with `UNAUTHENTICATED` where it is not known who it is, and with
    /// `UNAVAILABLE` where that cannot be found out now. The permit refuses a node with `PERMISSION_DENIED`.
    fn authenticate(
        &self,
        credentials: Credentials,
    ) -> Pin<Box<dyn Future<Output = Result<Permit, Status>> + Send + '_>>;
}

/// What has been said already, so that a client that tries again and again is told of once.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    said: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl Complaints {
    /// Whether this has not been said yet.
    pub(crate) fn is_new(&self, complaint: impl Hash) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() == REMEMBERED {
            said.clear();
        }
        said.insert(self.hasher.hash_one(complaint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_does_not_show() {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer secret"));
        let credentials = Credentials::of(None, None, &headers);
        assert_eq!(
            credentials.authorization.as_ref().map(HeaderValue::as_bytes),
            Some(&b"Bearer secret"[..])
        );
        assert!(!format!("{credentials:?}").contains("secret"));
    }

    #[test]
    fn a_permit_never_ends_later_than_what_it_stands_on() {
        let end = Instant::now() + Duration::from_secs(600);
        let ends: HashSet<_> = (0..50).filter_map(|_| Permit::new(|_| Ok(())).until(end).ends()).collect();
        assert!(ends.len() > 1, "they do not all end at once");
        assert!(ends.iter().all(|at| *at <= end && *at >= end - Duration::from_secs(30)), "{ends:?} {end:?}");
        let over = Instant::now();
        assert_eq!(Permit::new(|_| Ok(())).until(over).ends(), Some(over));
    }

    #[test]
    fn what_was_said_is_said_again_only_when_it_has_been_forgotten() {
        let complaints = Complaints::default();
        assert!(complaints.is_new(("10.0.0.1", "no token")) && !complaints.is_new(("10.0.0.1", "no token")));
        assert!((0..REMEMBERED).all(|number| complaints.is_new(number)));
        assert!(complaints.is_new(("10.0.0.1", "no token")), "memory is bounded");
    }
}
