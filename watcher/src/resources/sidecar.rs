//! Sidecar, field by field as `networking.istio.io/v1` has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConnectionPool, Destination, ServerTls, ServiceEntryPort, ServiceEntrySelector};

/// What the proxies beside some workloads take in, and what they know of the rest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// The workloads; all of the namespace where unset.
    pub workload_selector: Option<ServiceEntrySelector>,
    /// What is taken in for the workload.
    pub ingress: Vec<SidecarIngress>,
    /// What the workload calls.
    pub egress: Vec<SidecarEgress>,
    /// Limits of connections that come in.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// What is done with calls to hosts that nobody knows.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// A listener for calls to the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarIngress {
    /// The port that is listened on.
    pub port: ServiceEntryPort,
    /// The address that is listened on.
    pub bind: Option<String>,
    /// `DEFAULT`, `IPTABLES` or `NONE`.
    pub capture_mode: Option<String>,
    /// Where calls go: `127.0.0.1:port`, `0.0.0.0:port`, `[::1]:port`, or `unix://` and a path.
    pub default_endpoint: Option<String>,
    /// TLS that is terminated here.
    pub tls: Option<ServerTls>,
    /// Limits of connections to this port.
    pub connection_pool: Option<ConnectionPool>,
}

/// The hosts that the workload calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SidecarEgress {
    /// A port or Unix socket of its own.
    pub port: Option<ServiceEntryPort>,
    /// The address that is listened on.
    pub bind: Option<String>,
    /// `DEFAULT`, `IPTABLES` or `NONE`.
    pub capture_mode: Option<String>,
    /// `namespace/host`, with `*`, `.` and `~` for a namespace and wildcards for a host.
    pub hosts: Vec<String>,
}

/// What is done with calls to hosts that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// `REGISTRY_ONLY` or `ALLOW_ANY`.
    pub mode: Option<String>,
    /// A host through which they are sent.
    pub egress_proxy: Option<Destination>,
}
