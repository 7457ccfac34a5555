//! Listeners of a proxy beside its workload: of what the workload opens and what is opened to it, redirected by the
//! kernel or on sockets of their own.

use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::ObjectKey;

use super::{ServerTls, Service};

/// A listener of one side of a workload.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Capture {
    pub(crate) address: Address,
    pub(crate) intake: Intake,
    pub(crate) side: Side,
    pub(crate) branches: Vec<Branch>,
    /// What becomes of connections that no branch takes; none are closed.
    pub(crate) otherwise: Option<Service>,
}

/// Where a listener listens, or an endpoint is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Address {
    /// An address and a port.
    Socket(IpAddr, u16),
    /// A path, or `@` and a name of the abstract namespace.
    Pipe(Arc<str>),
}

impl Address {
    /// A Unix socket by its path, or by `@` and its name; the system's limit is 108 bytes with the end.
    pub(crate) fn pipe(path: &str) -> Option<Self> {
        let is_whole = path.starts_with('/') || path.starts_with('@');
        let fits = path.len() > 1 && path.len() < 108 && !path.bytes().any(|byte| byte == 0);
        (is_whole && fits).then(|| Self::Pipe(path.into()))
    }
}

/// Which side of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// What the workload opens.
    Outbound,
    /// What is opened to it.
    Inbound,
}

/// How a listener comes by its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Intake {
    /// On its own socket, and they were meant for it.
    Own,
    /// On its own socket, redirected: each is handed to the listener of the address that it was meant for.
    Dispatched,
    /// On its own socket, redirected: it keeps them, and knows the address that they were meant for.
    Kept,
    /// Without a socket: by the listener that dispatches.
    Handed,
}

/// What is done with connections of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Branch {
    /// The port that they were meant for; none is any.
    pub(crate) port: Option<u16>,
    /// The addresses that they were meant for, with prefix lengths; empty is any.
    pub(crate) subnets: Vec<(IpAddr, u8)>,
    pub(crate) speaks: Speaks,
    /// TLS that ends here.
    pub(crate) tls: Option<Arc<ServerTls>>,
    pub(crate) service: Service,
    pub(crate) source: Option<ObjectKey>,
}

/// What a connection must show of itself before it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Speaks {
    Anything,
    /// HTTP/1 or HTTP/2 in plaintext.
    Http,
    /// Anything but TLS.
    Plaintext,
    /// TLS for one of these server names; empty is any.
    Tls(Vec<Arc<str>>),
}

impl Capture {
    /// What connections are given to.
    pub(crate) fn services(&self) -> impl Iterator<Item = &Service> {
        self.branches.iter().map(|branch| &branch.service).chain(&self.otherwise)
    }
}
