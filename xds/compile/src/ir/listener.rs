//! Listeners: where requests come in, and what they are routed by.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotage_protocol::Name;
use pilotage_watcher::ObjectKey;

use super::{AccessLog, Capture, ServerTls, Side, secrets};

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) entry: Entry,
    pub(crate) log: Option<AccessLog>,
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
    /// On a socket, by what each connection shows of itself before it is answered.
    Chains { address: IpAddr, port: u16, chains: Vec<Chain> },
    /// Of one side of a workload.
    Captured(Capture),
    /// Inside the client itself, with no socket.
    Client { routes: Arc<str> },
}

impl Entry {
    /// Whether what comes in is for the workload beside the proxy.
    pub(crate) fn is_inbound(&self) -> bool {
        matches!(self, Self::Captured(capture) if capture.side == Side::Inbound)
    }

    /// The clusters that connections lead to without a look at requests.
    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let opaque = self.services().filter_map(|service| match service {
            Service::Opaque { clusters, .. } => Some(clusters.iter().map(|(cluster, _)| cluster)),
            Service::Http { .. } => None,
        });
        opaque.flatten()
    }

    /// The route tables that requests are looked up in.
    pub(crate) fn route_tables(&self) -> impl Iterator<Item = &Arc<str>> {
        let one = match self {
            Self::Http { routes, .. } | Self::Client { routes } => Some(routes),
            _ => None,
        };
        let http = self.services().filter_map(|service| match service {
            Service::Http { routes, .. } => Some(routes),
            Service::Opaque { .. } => None,
        });
        one.into_iter().chain(http)
    }

    /// What connections are given to after a look at them.
    fn services(&self) -> impl Iterator<Item = &Service> {
        let (chains, capture) = match self {
            Self::Chains { chains, .. } => (&chains[..], None),
            Self::Captured(capture) => (&[][..], Some(capture)),
            Self::Http { .. } | Self::Client { .. } => (&[][..], None),
        };
        chains.iter().map(|chain| &chain.service).chain(capture.into_iter().flat_map(Capture::services))
    }

    /// The secrets that clients are met with.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &Name> {
        let chains = match self {
            Self::Chains { chains, .. } => &chains[..],
            // A workload's own proxy has no secrets, only files.
            Self::Http { .. } | Self::Client { .. } | Self::Captured(_) => &[][..],
        };
        chains
            .iter()
            .filter_map(|chain| match &chain.transport {
                Transport::Ended(tls) => Some(secrets(&tls.identities, tls.clients.as_ref())),
                Transport::Plaintext | Transport::Sealed => None,
            })
            .flatten()
    }
}

/// What is done with connections of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Chain {
    /// Server names and wildcards that clients ask for by TLS; empty is any, or no TLS at all.
    pub(crate) server_names: Vec<Arc<str>>,
    /// Destination addresses and prefix lengths; empty is any.
    pub(crate) subnets: Vec<(IpAddr, u8)>,
    pub(crate) transport: Transport,
    pub(crate) service: Service,
    pub(crate) source: ObjectKey,
}

/// What a connection is wrapped in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    Plaintext,
    /// TLS that ends here.
    Ended(Arc<ServerTls>),
    /// TLS that goes on, sealed, to whoever ends it.
    Sealed,
}

/// What becomes of the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Service {
    /// They are HTTP/1.1 or HTTP/2.
    Http { routes: Arc<str>, grpc_web: bool },
    /// They go to one of these clusters, by weight.
    Opaque { name: Arc<str>, clusters: Vec<(Arc<str>, u32)>, streaming: Streaming },
}

/// How opaque connections are kept, and how their endpoints are chosen; `None` is the proxy's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Streaming {
    /// After how long without a byte one is closed; zero is never.
    pub(crate) idle_timeout: Option<Duration>,
    /// How long one may last.
    pub(crate) max_age: Option<Duration>,
    /// Whether all those of one client address go to one endpoint.
    pub(crate) by_source: bool,
}

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Edge {
    /// The application beside the proxy.
    Inside,
    /// Anyone: addresses and headers are not to be trusted.
    Outside,
}
