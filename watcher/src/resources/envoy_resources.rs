//! EnvoyResources: any resource of Envoy's API, in Envoy's own words.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Resources that some proxies are told beside, or in place of, what the other kinds come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvoyResources {
    /// The proxies; all of the namespace where unset.
    pub proxies: ProxySelector,
    /// `Add`, the default, or `Replace`.
    pub operation: Option<String>,
    /// Each with its `@type`, in the names of Envoy's documentation.
    pub resources: Vec<Value>,
}

/// Which proxies of the object's namespace; of the root namespace, which of all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxySelector {
    /// `sidecar`, `gateway` or `grpc`; all of them where empty.
    pub kinds: Vec<String>,
    /// Labels that a workload must all have.
    pub labels: BTreeMap<String, String>,
}
