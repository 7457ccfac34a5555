//! DestinationRule, field by field as `networking.istio.io/v1` has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PortSelector, Span};

/// What applies to traffic for a host after it has been routed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// The host, short, full, or a wildcard.
    pub host: String,
    /// The policy for every port and subset.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the host's endpoints.
    pub subsets: Vec<Subset>,
    /// The namespaces that see it; empty means all.
    pub export_to: Vec<String>,
    /// The client workloads it applies to.
    pub workload_selector: Option<WorkloadSelector>,
}

/// Workloads by label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels that must all be there.
    pub match_labels: BTreeMap<String, String>,
}

/// A named part of a host's endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// The name.
    pub name: String,
    /// Labels that an endpoint must all have.
    pub labels: BTreeMap<String, String>,
    /// Blocks that replace the host's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// The policy blocks; each is atomic when policies are merged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Load balancing.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pools and breakers.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints.
    pub tls: Option<ClientTls>,
    /// Policies for single ports; each replaces the whole policy for its port.
    pub port_level_settings: Vec<PortTrafficPolicy>,
    /// Tunnelling of TCP.
    pub tunnel: Option<Tunnel>,
    /// PROXY protocol to the endpoints.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// A budget for retries.
    pub retry_budget: Option<RetryBudget>,
}

/// The policy of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The Service port.
    pub port: PortSelector,
    /// Load balancing.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pools and breakers.
    pub connection_pool: Option<ConnectionPool>,
    /// Ejection of failing endpoints.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS to the endpoints.
    pub tls: Option<ClientTls>,
}

/// Load balancing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// `UNSPECIFIED`, `LEAST_CONN`, `RANDOM`, `PASSTHROUGH`, `ROUND_ROBIN` or `LEAST_REQUEST`.
    pub simple: Option<String>,
    /// By a hash of the request.
    pub consistent_hash: Option<ConsistentHash>,
    /// Across localities.
    pub locality_lb_setting: Option<LocalityLb>,
    /// By zone, with a share that may spill over.
    pub zone_aware_lb_setting: Option<ZoneAwareLb>,
    /// Deprecated form of `warmup`.
    pub warmup_duration_secs: Option<Span>,
    /// Slow start of new endpoints.
    pub warmup: Option<Warmup>,
}

/// Load balancing by a hash of the request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// By a header.
    pub http_header_name: Option<String>,
    /// By a cookie.
    pub http_cookie: Option<HttpCookie>,
    /// By the client's address.
    pub use_source_ip: Option<bool>,
    /// By a query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Ring hash.
    pub ring_hash: Option<RingHash>,
    /// Maglev.
    pub maglev: Option<Maglev>,
    /// Deprecated form of `ringHash.minimumRingSize`.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie to hash by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// The name.
    pub name: String,
    /// The path.
    pub path: Option<String>,
    /// How long it lives; 0 is the session.
    pub ttl: Option<Span>,
    /// Further attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// The name.
    pub name: String,
    /// The value.
    pub value: Option<String>,
}

/// Ring hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Default 1,024.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// A prime; default 65,537.
    pub table_size: Option<u64>,
}

/// Load balancing across localities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLb {
    /// Shares by locality.
    pub distribute: Vec<Distribute>,
    /// Where to go when a region fails.
    pub failover: Vec<Failover>,
    /// Labels by which endpoints are ranked.
    pub failover_priority: Vec<String>,
    /// Default true.
    pub enabled: Option<bool>,
}

/// Shares for clients of one locality.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Distribute {
    /// The client's locality.
    pub from: String,
    /// The endpoints' localities and their shares, adding up to 100.
    pub to: BTreeMap<String, u32>,
}

/// Where to go when a region fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Failover {
    /// The region that fails.
    pub from: String,
    /// The region that takes over.
    pub to: String,
}

/// Zone-aware load balancing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ZoneAwareLb {
    /// Where to go when a region fails.
    pub failover: Vec<Failover>,
    /// Labels by which endpoints are ranked.
    pub failover_priority: Vec<String>,
    /// Below this many endpoints it is off; default 6.
    pub min_cluster_size: Option<u32>,
    /// Whether it is on.
    pub enabled: Option<bool>,
}

/// Slow start of new endpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Warmup {
    /// How long.
    pub duration: Option<Span>,
    /// The share at the start, in percent; default 10.
    pub minimum_percent: Option<f64>,
    /// The shape of the curve; default 1.0.
    pub aggression: Option<f64>,
}

/// Connection pools and breakers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Of connections.
    pub tcp: Option<TcpPool>,
    /// Of requests.
    pub http: Option<HttpPool>,
}

/// Limits of connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// Connections per Envoy and cluster; 0 and unset are no limit.
    pub max_connections: Option<i64>,
    /// Default 10 s.
    pub connect_timeout: Option<Span>,
    /// Keepalive probes.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// How long a connection may live.
    pub max_connection_duration: Option<Span>,
    /// How long it may be idle; default 1 h, 0 is for ever.
    pub idle_timeout: Option<Span>,
}

/// TCP keepalive.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// How many probes.
    pub probes: Option<u32>,
    /// How long idle before the first.
    pub time: Option<Span>,
    /// Between probes.
    pub interval: Option<Span>,
}

/// Limits of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpPool {
    /// Requests that wait for a connection; 0 and unset are no limit.
    pub http1_max_pending_requests: Option<i64>,
    /// Requests under way; 0 and unset are no limit.
    pub http2_max_requests: Option<i64>,
    /// Requests per connection; 0 and unset are no limit.
    pub max_requests_per_connection: Option<i64>,
    /// Retries under way; 0 and unset are no limit.
    pub max_retries: Option<i64>,
    /// How long a connection without requests is kept; default 1 h.
    pub idle_timeout: Option<Span>,
    /// `DEFAULT`, `DO_NOT_UPGRADE` or `UPGRADE`.
    pub h2_upgrade_policy: Option<String>,
    /// Whether the client's protocol is used upstream.
    pub use_client_protocol: Option<bool>,
    /// Streams per HTTP/2 connection; 0 and unset are Envoy's default.
    pub max_concurrent_streams: Option<i64>,
    /// HTTP/2 keepalive.
    pub http2_keep_alive: Option<Http2KeepAlive>,
}

/// HTTP/2 keepalive; both fields are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Http2KeepAlive {
    /// Between pings.
    pub interval: Option<Span>,
    /// How long an answer may take.
    pub timeout: Option<Span>,
}

/// A budget for retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryBudget {
    /// The share of requests that may be retries, in percent; default 20.
    pub percent: Option<f64>,
    /// Retries always allowed; default 3.
    pub min_retry_concurrency: Option<u32>,
    /// The window.
    pub budget_interval: Option<Span>,
}

/// Ejection of failing endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Removed from the API; ignored.
    pub consecutive_errors: Option<i32>,
    /// Count errors of connecting apart from those of the server.
    pub split_external_local_origin_errors: Option<bool>,
    /// Errors of connecting in a row.
    pub consecutive_local_origin_failures: Option<u32>,
    /// 502, 503 and 504 in a row.
    pub consecutive_gateway_errors: Option<u32>,
    /// 5xx in a row; Envoy's default is 5, 0 turns it off.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// Between sweeps; default 10 s.
    pub interval: Option<Span>,
    /// The first ejection's length; default 30 s.
    pub base_ejection_time: Option<Span>,
    /// How many endpoints may be ejected, in percent; default 10.
    pub max_ejection_percent: Option<i32>,
    /// Below this share of healthy endpoints ejection stops counting, in percent; default 0.
    pub min_health_percent: Option<i32>,
    /// Statuses that count as errors.
    pub outlier_detection_http_error_codes: Vec<u32>,
}

/// TLS to the endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// `DISABLE`, `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`.
    pub mode: Option<String>,
    /// A file.
    pub client_certificate: Option<String>,
    /// A file.
    pub private_key: Option<String>,
    /// A file.
    pub ca_certificates: Option<String>,
    /// A Secret.
    pub credential_name: Option<String>,
    /// Names that the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// The server name sent.
    pub sni: Option<String>,
    /// Whether the server's certificate goes unchecked.
    pub insecure_skip_verify: Option<bool>,
    /// A file.
    pub ca_crl: Option<String>,
}

/// Tunnelling of TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tunnel {
    /// `CONNECT` or `POST`.
    pub protocol: Option<String>,
    /// The host at the far end.
    pub target_host: String,
    /// The port at the far end.
    pub target_port: u32,
}

/// PROXY protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyProtocol {
    /// `V1` or `V2`.
    pub version: Option<String>,
}
