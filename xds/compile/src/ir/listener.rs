//! Listeners: where requests come in, and what they are routed by.

use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::ObjectKey;

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) entry: Entry,
    /// The object that the listener comes from; none for those that every proxy of a kind has.
    pub(crate) source: Option<ObjectKey>,
}

/// How requests come in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    /// On a socket, as HTTP/1.1 or HTTP/2.
    Http {
        address: IpAddr,
        port: u16,
        routes: Arc<str>,
        edge: Edge,
        /// Whether gRPC-Web calls are turned into gRPC calls.
        grpc_web: bool,
    },
    /// On a socket, as opaque bytes for one cluster.
    Tcp { address: IpAddr, port: u16, cluster: Arc<str> },
    /// Inside the client itself, with no socket.
    Client { routes: Arc<str> },
}

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edge {
    /// The application beside the proxy.
    Inside,
    /// Anyone: addresses and headers are not to be trusted.
    Outside,
}
