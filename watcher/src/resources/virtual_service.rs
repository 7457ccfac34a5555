//! VirtualService, field by field as `networking.istio.io/v1` has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Percent, PortSelector, Span, StringMatch, StringMatches};

/// How requests for some hosts are routed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// The hosts; empty makes it a delegate.
    pub hosts: Vec<String>,
    /// The Gateways it applies to; empty means the mesh.
    pub gateways: Vec<String>,
    /// HTTP rules, first match wins.
    pub http: Vec<HttpRoute>,
    /// Rules by SNI for TLS that is passed through.
    pub tls: Vec<TlsRoute>,
    /// Rules for opaque TCP.
    pub tcp: Vec<TcpRoute>,
    /// The namespaces that see it; empty means all.
    pub export_to: Vec<String>,
}

/// One HTTP rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = with_former_name)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// A name for logs and stats.
    pub name: Option<String>,
    /// Alternatives; empty matches everything.
    pub r#match: Vec<HttpMatch>,
    /// Weighted destinations.
    pub route: Vec<HttpDestination>,
    /// Answer with a redirect.
    pub redirect: Option<HttpRedirect>,
    /// Answer directly.
    pub direct_response: Option<DirectResponse>,
    /// Continue in another VirtualService.
    pub delegate: Option<Delegate>,
    /// Change path or authority.
    pub rewrite: Option<HttpRewrite>,
    /// The whole request's timeout; unset is none.
    pub timeout: Option<Span>,
    /// Retries.
    pub retries: Option<HttpRetry>,
    /// Injected faults.
    pub fault: Option<HttpFault>,
    /// A copy of the traffic.
    pub mirror: Option<Destination>,
    /// Copies of the traffic.
    pub mirrors: Vec<MirrorPolicy>,
    /// Deprecated form of `mirrorPercentage`.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// How much of the traffic is copied.
    pub mirror_percentage: Option<Percent>,
    /// Cross-origin policy.
    pub cors_policy: Option<CorsPolicy>,
    /// Header operations.
    pub headers: Option<Headers>,
}

/// Lists the former spelling of `mirrorPercent` too: what an API server does not find in a schema, it drops.
fn with_former_name(schema: &mut schemars::Schema) {
    let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    if let Some(properties) = properties
        && let Some(percent) = properties.get("mirrorPercent").cloned()
    {
        properties.insert("mirror_percent".to_owned(), percent);
    }
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// A name for logs and stats.
    pub name: Option<String>,
    /// The path.
    pub uri: Option<StringMatch>,
    /// `:scheme`.
    pub scheme: Option<StringMatch>,
    /// `:method`.
    pub method: Option<StringMatch>,
    /// `:authority`.
    pub authority: Option<StringMatch>,
    /// Headers that must match.
    pub headers: StringMatches,
    /// The port the request was addressed to.
    pub port: Option<u32>,
    /// Labels of the client's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways for this match; override the VirtualService's.
    pub gateways: Vec<String>,
    /// Query parameters.
    pub query_params: StringMatches,
    /// Whether the path is matched without regard to case.
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    pub without_headers: StringMatches,
    /// Namespace of the client's workload.
    pub source_namespace: Option<String>,
    /// Prefix for per-route stats.
    pub stat_prefix: Option<String>,
}

/// Where traffic goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// The host of a Service or ServiceEntry.
    pub host: String,
    /// A subset of a DestinationRule.
    pub subset: Option<String>,
    /// The port; may be left out where the host has one.
    pub port: Option<PortSelector>,
}

/// A destination and its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpDestination {
    /// Where to.
    pub destination: Destination,
    /// The share; ignored for a single destination.
    pub weight: Option<i64>,
    /// Header operations for this destination.
    pub headers: Option<Headers>,
}

/// Header operations on request and response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// On the request.
    pub request: Option<HeaderOperations>,
    /// On the response.
    pub response: Option<HeaderOperations>,
}

/// Header operations; `set` first, then `add`, then `remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Overwritten or added.
    pub set: BTreeMap<String, String>,
    /// Appended.
    pub add: BTreeMap<String, String>,
    /// Removed.
    pub remove: Vec<String>,
}

/// Retries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// How many retries after the first try; 0 turns them off.
    pub attempts: Option<i64>,
    /// The timeout of each try; unset is the route's.
    pub per_try_timeout: Option<Span>,
    /// Conditions and codes, separated by commas.
    pub retry_on: Option<String>,
    /// Whether retries may go to other localities.
    pub retry_remote_localities: Option<bool>,
    /// Whether hosts tried before are avoided; default true.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// The base of the back-off; Envoy's default is 25 ms.
    pub backoff: Option<Span>,
}

/// A redirect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRedirect {
    /// The whole new path.
    pub uri: Option<String>,
    /// Replaces the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// The new authority.
    pub authority: Option<String>,
    /// The new port.
    pub port: Option<u32>,
    /// Where the port comes from: `FROM_PROTOCOL_DEFAULT` or `FROM_REQUEST_PORT`.
    pub derive_port: Option<String>,
    /// The new scheme.
    pub scheme: Option<String>,
    /// The status; 301 where unset.
    pub redirect_code: Option<u32>,
}

/// A direct answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// The status.
    pub status: u32,
    /// The body.
    pub body: Option<HttpBody>,
}

/// A body; exactly one field should be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpBody {
    /// As text.
    pub string: Option<String>,
    /// As base64.
    pub bytes: Option<String>,
}

/// A reference to a delegate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; the root's where unset.
    pub namespace: Option<String>,
}

/// Changes to path and authority before forwarding.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRewrite {
    /// Replaces the matched path or prefix.
    pub uri: Option<String>,
    /// Replaces the authority.
    pub authority: Option<String>,
    /// Replaces what a regular expression matches in the path.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A substitution by regular expression.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// The RE2 expression.
    pub r#match: String,
    /// The replacement, with `\1` references.
    pub rewrite: String,
}

/// One of several mirrors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorPolicy {
    /// Where copies go.
    pub destination: Destination,
    /// How many; all where unset.
    pub percentage: Option<Percent>,
}

/// Injected faults.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFault {
    /// Delays.
    pub delay: Option<FaultDelay>,
    /// Aborts.
    pub abort: Option<FaultAbort>,
}

/// An injected delay.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FaultDelay {
    /// Deprecated whole percentage.
    pub percent: Option<i32>,
    /// How long.
    pub fixed_delay: Option<Span>,
    /// Not implemented by any proxy.
    pub exponential_delay: Option<Span>,
    /// How often; never where unset.
    pub percentage: Option<Percent>,
}

/// An injected abort.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FaultAbort {
    /// An HTTP status.
    pub http_status: Option<u32>,
    /// A gRPC status by name, such as `UNAVAILABLE`.
    pub grpc_status: Option<String>,
    /// Not implemented by any proxy.
    pub http2_error: Option<String>,
    /// How often; never where unset.
    pub percentage: Option<Percent>,
}

/// Cross-origin policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Deprecated exact origins.
    pub allow_origin: Vec<String>,
    /// Origins.
    pub allow_origins: Vec<StringMatch>,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Headers.
    pub allow_headers: Vec<String>,
    /// Headers shown to scripts.
    pub expose_headers: Vec<String>,
    /// How long a preflight answer holds.
    pub max_age: Option<Span>,
    /// Whether credentials are allowed.
    pub allow_credentials: Option<bool>,
    /// `FORWARD` or `IGNORE`.
    pub unmatched_preflights: Option<String>,
}

/// A rule by SNI.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Alternatives.
    pub r#match: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<L4Destination>,
}

/// A rule for opaque TCP.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Alternatives; empty matches everything.
    pub r#match: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<L4Destination>,
}

/// Conditions of a TLS or TCP rule that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Match {
    /// Server names; TLS only.
    pub sni_hosts: Vec<String>,
    /// Destination addresses, as CIDR.
    pub destination_subnets: Vec<String>,
    /// The port the connection was addressed to.
    pub port: Option<u32>,
    /// Labels of the client's workload.
    pub source_labels: BTreeMap<String, String>,
    /// Gateways for this match.
    pub gateways: Vec<String>,
    /// Ignored by every implementation; TCP only.
    pub source_subnet: Option<String>,
    /// Namespace of the client's workload.
    pub source_namespace: Option<String>,
}

/// A destination of a TLS or TCP rule and its share.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Destination {
    /// Where to.
    pub destination: Destination,
    /// The share; ignored for a single destination.
    pub weight: Option<i64>,
}
