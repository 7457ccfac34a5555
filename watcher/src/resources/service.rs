//! Kubernetes Services.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Labels;

/// What matters of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// How the Service is reached.
    pub address: ServiceAddress,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// The labels of the Pods behind it.
    pub selector: Labels,
    /// `internalTrafficPolicy: Local`.
    pub internal_traffic_local: bool,
    /// `trafficDistribution`.
    pub traffic_distribution: Option<Arc<str>>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `sessionAffinity: ClientIP`.
    pub client_ip_affinity: bool,
    /// For how many seconds a client that says nothing keeps its endpoint; API servers fill in 10,800, three hours.
    #[serde(default)]
    pub client_ip_seconds: Option<i32>,
    /// `externalTrafficPolicy: Local`.
    #[serde(default)]
    pub external_traffic_local: bool,
    /// `ipFamilies`: the family to prefer comes first.
    #[serde(default)]
    pub families: Vec<Family>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

/// How a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceAddress {
    /// By virtual addresses; none where a manifest leaves them to the cluster.
    ClusterIp(Vec<IpAddr>),
    /// `clusterIP: None`: by the addresses of its Pods.
    Headless,
    /// By a DNS name elsewhere.
    ExternalName(Arc<str>),
}

impl Default for ServiceAddress {
    fn default() -> Self {
        Self::ClusterIp(Vec::new())
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePort {
    /// The name; empty where the Service has one port only.
    pub name: Arc<str>,
    /// The number.
    pub port: u16,
    /// Which port of the Pods.
    pub target: TargetPort,
    /// The transport.
    pub transport: Transport,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// Which port of the Pods a Service's port leads to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TargetPort {
    /// The Service port's own number.
    #[default]
    Same,
    /// A number.
    Number(u16),
    /// The name of a container's port.
    Name(Arc<str>),
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}
