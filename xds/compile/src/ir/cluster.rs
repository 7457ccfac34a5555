//! Clusters: one per Service port and subset, shared by every route that leads to it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotage_watcher::ObjectKey;

use super::{Address, ClientTls};

/// How long a connection may take to be made where nothing says otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A set of equivalent endpoints and how connections to them are kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cluster {
    pub(crate) name: Arc<str>,
    pub(crate) discovery: Discovery,
    pub(crate) upstream: Upstream,
    pub(crate) balancer: Balancer,
    pub(crate) warmup: Option<Warmup>,
    pub(crate) localities: Localities,
    pub(crate) proxy_protocol: Option<ProxyVersion>,
    pub(crate) connect_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) connections: Connections,
    pub(crate) outliers: Option<Outliers>,
    /// None where endpoints are spoken to in plaintext.
    pub(crate) tls: Option<ClientTls>,
    /// The address that connections come from; the system's choice where unset.
    pub(crate) from: Option<IpAddr>,
    /// The host's own object; none for those that every proxy of a kind has.
    pub(crate) source: Option<ObjectKey>,
    /// The object that the policy comes from.
    pub(crate) rule: Option<ObjectKey>,
    pub(crate) subset: Arc<str>,
}

impl Cluster {
    /// One without a policy.
    pub(crate) fn plain(name: Arc<str>, discovery: Discovery, upstream: Upstream) -> Self {
        Self {
            name,
            discovery,
            upstream,
            balancer: Balancer::RoundRobin,
            warmup: None,
            localities: Localities::Alike,
            proxy_protocol: None,
            connect_timeout: CONNECT_TIMEOUT,
            limits: Limits::default(),
            connections: Connections::default(),
            outliers: None,
            tls: None,
            from: None,
            source: None,
            rule: None,
            subset: "".into(),
        }
    }
}

/// How the endpoints are found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Discovery {
    /// By an assignment of the cluster's name.
    Assigned,
    /// By resolving names, every one of them all the time.
    Dns(Vec<DnsEndpoint>),
    /// By resolving one name: new connections go where its latest answer says.
    LatestName(DnsEndpoint),
    /// None: each connection goes where its client meant it to go, at another port where one is set.
    Original { port: Option<u16> },
    /// One that is known beforehand, or none at all.
    Fixed(Option<Address>),
}

/// A name to resolve.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct DnsEndpoint {
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    pub(crate) weight: u32,
}

/// The protocol spoken to the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    Http1,
    Http2,
    /// Whatever the client spoke.
    AsClient,
    Opaque,
}

/// How an endpoint is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Balancer {
    LeastRequest,
    RoundRobin,
    Random,
    RingHash { minimum_size: u64 },
    Maglev { table_size: u64 },
}

/// How calls are divided between the localities of one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Localities {
    /// By their endpoints; a proxy that knows its own cluster may prefer its own zone.
    Alike,
    /// By weights of their own.
    Weighted,
    /// The caller's own zone takes as much as leaves no zone with more than its part; with fewer endpoints than
    /// `minimum`, as if there were no zones.
    ZoneAware { minimum: u32 },
    /// By their endpoints, whatever the proxy knows.
    ZoneBlind,
}

/// How an endpoint that is new comes to its full share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Warmup {
    pub(crate) duration: Duration,
    /// The share that it begins with.
    pub(crate) minimum_millipercent: u32,
    /// The exponent of the curve; 1,000 is a straight line.
    pub(crate) aggression_thousandths: u32,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ProxyVersion {
    V1,
    V2,
}

/// Breakers; `None` never binds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    pub(crate) connections: Option<u32>,
    pub(crate) pending_requests: Option<u32>,
    pub(crate) requests: Option<u32>,
    pub(crate) retries: Retries,
}

/// How many retries may be under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Retries {
    Limit(u32),
    /// A share of the requests under way.
    Budget {
        millipercent: u32,
        minimum: u32,
        interval: Option<Duration>,
    },
}

impl Default for Retries {
    /// 20 % and never fewer than 3, by which retries cannot make an outage worse.
    fn default() -> Self {
        Self::Budget { millipercent: 20_000, minimum: 3, interval: None }
    }
}

/// How connections are kept; `None` is the proxy's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Connections {
    pub(crate) requests_each: Option<u32>,
    pub(crate) streams_each: Option<u32>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) tcp_keepalive: Option<TcpKeepalive>,
    /// Interval and timeout of HTTP/2 pings.
    pub(crate) http2_keepalive: Option<(Duration, Duration)>,
}

/// Keepalive of TCP; `None` is the system's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct TcpKeepalive {
    pub(crate) probes: Option<u32>,
    pub(crate) time: Option<Duration>,
    pub(crate) interval: Option<Duration>,
}

/// When endpoints that fail are left out; `None` is the proxy's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Outliers {
    /// Statuses that count as errors, in place of the usual ones.
    pub(crate) statuses: Vec<u32>,
    pub(crate) consecutive_5xx: Option<u32>,
    pub(crate) consecutive_gateway_errors: Option<u32>,
    pub(crate) consecutive_local_failures: Option<u32>,
    pub(crate) split_local_errors: bool,
    pub(crate) interval: Option<Duration>,
    pub(crate) base_ejection: Option<Duration>,
    pub(crate) max_ejection_percent: Option<u32>,
    /// Below this share of healthy endpoints health is no longer looked at.
    pub(crate) min_health_percent: u32,
}
