//! ServiceEntry, and the WorkloadEntry form of its endpoints, as `networking.istio.io/v1` has them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hosts that are not Services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// The hosts.
    pub hosts: Vec<String>,
    /// Virtual addresses, or CIDRs.
    pub addresses: Vec<String>,
    /// The ports.
    pub ports: Vec<ServiceEntryPort>,
    /// `MESH_EXTERNAL` or `MESH_INTERNAL`.
    pub location: Option<String>,
    /// `NONE`, `STATIC`, `DNS`, `DNS_ROUND_ROBIN` or `DYNAMIC_DNS`.
    pub resolution: Option<String>,
    /// Endpoints.
    pub endpoints: Vec<WorkloadEntry>,
    /// Pods and WorkloadEntries of the same namespace, in place of `endpoints`.
    pub workload_selector: Option<ServiceEntrySelector>,
    /// The namespaces that see it; empty means all.
    pub export_to: Vec<String>,
    /// Names that the server's certificate must have one of.
    pub subject_alt_names: Vec<String>,
}

/// A port of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryPort {
    /// The number.
    pub number: u32,
    /// By the same names as a Service port's.
    pub protocol: Option<String>,
    /// The name.
    pub name: String,
    /// The port on the endpoints; the number where unset.
    pub target_port: Option<u32>,
}

/// Workloads by label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySelector {
    /// Labels that must all be there.
    pub labels: BTreeMap<String, String>,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// An address, a DNS name, or `unix://` and a path.
    pub address: Option<String>,
    /// Ports by the names of the ServiceEntry's ports.
    pub ports: BTreeMap<String, u32>,
    /// Labels, for subsets.
    pub labels: BTreeMap<String, String>,
    /// A network.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// The share; 1 where unset.
    pub weight: Option<u32>,
    /// The workload's account.
    pub service_account: Option<String>,
}
