//! Telemetry, of which access logs are served, as `telemetry.istio.io/v1` has it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::WorkloadSelector;

/// What proxies tell of the calls that go through them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// The workloads; all of the namespace where unset.
    pub selector: Option<WorkloadSelector>,
    /// An object that it is attached to; not served.
    pub target_ref: Option<Value>,
    /// Objects that it is attached to; not served.
    pub target_refs: Vec<Value>,
    /// Access logs.
    pub access_logging: Vec<AccessLogging>,
    /// Traces; not served.
    pub tracing: Vec<Value>,
    /// Metrics; not served.
    pub metrics: Vec<Value>,
}

/// Which calls are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AccessLogging {
    /// Which side of a call it is for.
    pub r#match: Option<LogSelector>,
    /// Where logs go; `envoy` is the standard output.
    pub providers: Vec<ProviderRef>,
    /// Whether nothing is logged.
    pub disabled: Option<bool>,
    /// Which calls.
    pub filter: Option<LogFilter>,
}

/// A side of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogSelector {
    /// `CLIENT`, `SERVER` or `CLIENT_AND_SERVER`.
    pub mode: Option<String>,
}

/// A place where logs go, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProviderRef {
    /// The name.
    pub name: String,
}

/// Which calls are logged, by an expression of the Common Expression Language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogFilter {
    /// The expression.
    pub expression: String,
}
