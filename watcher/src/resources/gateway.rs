//! Gateway, field by field as `networking.istio.io/v1` has it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Listeners at the edge, for the proxies that a selector names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Gateway {
    /// Listeners.
    pub servers: Vec<Server>,
    /// Labels of the gateway's workload; empty selects every gateway.
    pub selector: BTreeMap<String, String>,
}

/// One listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Server {
    /// The port.
    pub port: ServerPort,
    /// The address; every address where unset.
    pub bind: Option<String>,
    /// Hosts, each perhaps with `namespace/` before it.
    pub hosts: Vec<String>,
    /// TLS.
    pub tls: Option<ServerTls>,
    /// Not implemented.
    pub default_endpoint: Option<String>,
    /// A name.
    pub name: Option<String>,
}

/// The port of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerPort {
    /// The number.
    pub number: u32,
    /// `HTTP`, `HTTPS`, `HTTP2`, `GRPC`, `GRPC-WEB`, `TCP`, `TLS`, `MONGO`, `REDIS` or `MYSQL`.
    pub protocol: String,
    /// The name.
    pub name: String,
    /// Refused by every implementation.
    pub target_port: Option<u32>,
}

/// TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ServerTls {
    /// Answer plaintext with a redirect to https.
    pub https_redirect: Option<bool>,
    /// `PASSTHROUGH`, `SIMPLE`, `MUTUAL`, `AUTO_PASSTHROUGH`, `ISTIO_MUTUAL` or `OPTIONAL_MUTUAL`.
    pub mode: Option<String>,
    /// A file.
    pub server_certificate: Option<String>,
    /// A file.
    pub private_key: Option<String>,
    /// A file.
    pub ca_certificates: Option<String>,
    /// A file.
    pub ca_crl: Option<String>,
    /// A Secret.
    pub credential_name: Option<String>,
    /// Up to two Secrets, of different key types.
    pub credential_names: Vec<String>,
    /// A Secret with the CA alone.
    pub ca_cert_credential_name: Option<String>,
    /// Up to two pairs of files.
    pub tls_certificates: Vec<TlsCertificate>,
    /// Names that a client's certificate must have one of.
    pub subject_alt_names: Vec<String>,
    /// Pins of client keys.
    pub verify_certificate_spki: Vec<String>,
    /// Pins of client certificates.
    pub verify_certificate_hash: Vec<String>,
    /// `TLS_AUTO` or `TLSV1_0` to `TLSV1_3`.
    pub min_protocol_version: Option<String>,
    /// `TLS_AUTO` or `TLSV1_0` to `TLSV1_3`.
    pub max_protocol_version: Option<String>,
    /// By OpenSSL's names.
    pub cipher_suites: Vec<String>,
    /// Curves.
    pub ecdh_curves: Vec<String>,
    /// Whether client certificates go unchecked.
    pub insecure_skip_verify: Option<bool>,
}

/// A pair of files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsCertificate {
    /// A file.
    pub server_certificate: Option<String>,
    /// A file.
    pub private_key: Option<String>,
    /// A file.
    pub ca_certificates: Option<String>,
}
