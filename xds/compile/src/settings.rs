//! What an operator can set about translation; every field has a default, and the settings file embeds the struct.

use pilotage_watcher::resources::{Failover, LocalityLb, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ir::CONNECT_TIMEOUT;

/// Settings of the translation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Settings {
    /// The domain of the cluster; a Service is `<name>.<namespace>.svc.<domain>`. Default `cluster.local`.
    pub cluster_domain: String,
    /// The namespace whose exported DestinationRules apply where no nearer one does. Default `istio-system`.
    pub root_namespace: String,
    /// What a port that declares no protocol carries. Default `tcp`.
    pub undeclared_ports: UndeclaredPorts,
    /// What becomes of calls to hosts that nobody knows, where no Sidecar object says so. Default `allowAny`.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Retries where a VirtualService says nothing about them.
    pub default_retries: DefaultRetries,
    /// Retries, however they come about.
    pub retries: Retries,
    /// Access logs where no Telemetry object says anything about them.
    pub access_logs: AccessLogs,
    /// How long a connection may take to be made where no DestinationRule says so. Default `10s`.
    pub connect_timeout: Span,
    /// Keepalive of TCP where no DestinationRule says anything about it. Unset: none, but for the pings of HTTP/2.
    pub tcp_keepalive: Option<Keepalive>,
    /// What ports that are declared `http` are spoken to in where no DestinationRule says so. Default `doNotUpgrade`.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Which localities are called where neither a DestinationRule nor the Service says so.
    pub locality_load_balancing: LocalityLoadBalancing,
}

/// Keepalive of TCP; what is unset is the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Keepalive {
    /// After how many probes without an answer a connection is dead.
    pub probes: Option<u32>,
    /// For how long a connection is silent before the first.
    pub time: Option<Span>,
    /// Between two.
    pub interval: Option<Span>,
}

/// Which HTTP is spoken to ports that leave a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum H2UpgradePolicy {
    /// HTTP/1.1.
    #[default]
    DoNotUpgrade,
    /// HTTP/2.
    Upgrade,
}

/// Which localities are called; it needs `outlierDetection`, without which nothing tells that a locality fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LocalityLoadBalancing {
    /// Whether nearer ones come first. Default true.
    pub enabled: bool,
    /// Which region comes after the caller's own.
    pub failover: Vec<RegionFailover>,
    /// Labels, as `key` or `key=value`, by which endpoints are ranked in place of regions and zones: those that share
    /// more of them with the caller, the first before all, come first.
    pub failover_priority: Vec<String>,
}

/// Which region comes after another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RegionFailover {
    /// The region of the caller.
    pub from: String,
    /// The one that takes over.
    pub to: String,
}

impl LocalityLoadBalancing {
    /// As a DestinationRule would say it.
    pub(crate) fn as_rule(&self) -> LocalityLb {
        let failover = |entry: &RegionFailover| Failover { from: entry.from.clone(), to: entry.to.clone() };
        LocalityLb {
            distribute: Vec::new(),
            failover: self.failover.iter().map(failover).collect(),
            failover_priority: self.failover_priority.clone(),
            enabled: Some(self.enabled),
        }
    }
}

impl Default for LocalityLoadBalancing {
    fn default() -> Self {
        Self { enabled: true, failover: Vec::new(), failover_priority: Vec::new() }
    }
}

/// Retries, however they come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Retries {
    /// What becomes of retries that may run a gRPC call twice, where nothing says whether its method bears that.
    /// Default `warn`.
    pub unknown_methods: UnknownMethods,
}

/// What becomes of retries that may run a gRPC call twice, where nothing says whether its method bears that.
///
/// Descriptors say it (`idempotency_level`), or the annotation `pilotage.dev/idempotent-methods` of a VirtualService.
/// A method that is described and not idempotent is never run twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UnknownMethods {
    /// They are made as they are written.
    Allow,
    /// They are made as they are written, with a problem.
    #[default]
    Warn,
    /// Only those are made of calls that cannot have been processed.
    Restrict,
}

/// Access logs on the standard output of proxies, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct AccessLogs {
    /// Of sidecars. Default `off`.
    pub sidecar: LogFormat,
    /// Of gateways. Default `off`.
    pub gateway: LogFormat,
}

/// The form of an access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// Nothing is logged.
    #[default]
    Off,
    /// A line of text for each call, in the order of Istio's default, and the gRPC status and the number of attempts.
    Text,
    /// A JSON object for each call.
    Json,
}

/// What a port that declares no protocol carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum UndeclaredPorts {
    /// Opaque TCP, with a problem that says how to declare more.
    #[default]
    Tcp,
    /// Whatever each connection turns out to speak: HTTP/1.1 and HTTP/2 are told apart by the proxy and kept upstream.
    Sniff,
}

/// What becomes of calls to hosts that nobody knows.
///
/// A sidecar to which nothing is redirected does not know where such a call was going, and refuses it either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum OutboundTrafficPolicy {
    /// They go to the address that the workload connected to.
    #[default]
    AllowAny,
    /// They fail: requests with 503, connections by being closed.
    RegistryOnly,
}

/// Retries where a VirtualService says nothing about them: only what provably did not reach the application.
///
/// The conditions are always `connect-failure,refused-stream,reset-before-request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DefaultRetries {
    /// Tries after the first; 0 turns default retries off. Default 2.
    pub attempts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cluster_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            undeclared_ports: UndeclaredPorts::default(),
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            default_retries: DefaultRetries::default(),
            retries: Retries::default(),
            access_logs: AccessLogs::default(),
            connect_timeout: Span(CONNECT_TIMEOUT),
            tcp_keepalive: None,
            h2_upgrade_policy: H2UpgradePolicy::default(),
            locality_load_balancing: LocalityLoadBalancing::default(),
        }
    }
}

impl Default for DefaultRetries {
    fn default() -> Self {
        Self { attempts: 2 }
    }
}
