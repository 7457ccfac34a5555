//! Bootstrap files: what a client must be started with to become one of ours.
//!
//! The node's metadata carries what `pilotage_compile::Group` reads; the documents are plain JSON values, printed by
//! the command line as YAML or JSON.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};

mod envoy;
mod grpc;
mod trust;

pub use envoy::{EnvoyOptions, envoy};
pub use grpc::grpc;
pub use trust::{SecretFile, Trust};

/// Which stream dialect an Envoy speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Dialect {
    /// Incremental: only what changed is sent.
    #[default]
    Delta,
    /// State of the world.
    Sotw,
}

/// What a node says of itself, whatever its kind.
#[derive(Clone, Debug, clap::Args)]
pub struct Node {
    /// The node's id, unique among the clients of a server
    #[arg(long, value_name = "ID")]
    pub id: String,
    /// The namespace that short host names and Gateways' secrets are looked up in
    #[arg(long, value_name = "NS", default_value = "default")]
    pub namespace: String,
    /// A label of the workload, for selectors; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
    /// Where the workload runs, as region/zone/subzone
    #[arg(long, value_name = "R/Z/S", value_parser = locality)]
    pub locality: Option<Locality>,
    /// The machine that the workload runs on, for Services whose traffic stays on one
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// The address of the Pilotage server, as host:port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:18000", value_parser = server)]
    pub server: Server,
    /// How the server is known, and how this client is.
    #[command(flatten)]
    pub trust: Trust,
}

/// Region, zone and subzone; later parts may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locality(pub [String; 3]);

/// Host and port of the management server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A name or a literal address.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Node {
    fn metadata(&self, kind: &str) -> serde_json::Map<String, Value> {
        let labels: BTreeMap<_, _> = self.labels.iter().cloned().collect();
        let mut metadata = serde_json::Map::new();
        metadata.insert("PILOTAGE_KIND".into(), json!(kind));
        metadata.insert("NAMESPACE".into(), json!(self.namespace));
        if !labels.is_empty() {
            metadata.insert("LABELS".into(), json!(labels));
        }
        if let Some(name) = &self.node_name {
            metadata.insert("NODE_NAME".into(), json!(name));
        }
        metadata
    }

    fn locality(&self) -> Option<Value> {
        let Locality([region, zone, sub_zone]) = self.locality.as_ref()?;
        let parts = [("region", region), ("zone", zone), ("sub_zone", sub_zone)];
        let set = parts.into_iter().filter(|(_, value)| !value.is_empty());
        Some(Value::Object(set.map(|(key, value)| (key.to_owned(), json!(value))).collect()))
    }
}

pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a label as key=value".to_owned()),
    }
}

/// Reads `region/zone/subzone`, of which later parts may be left out.
///
/// # Errors
/// An empty region, or more than three parts.
pub fn locality(text: &str) -> Result<Locality, String> {
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() > 3 || parts[0].is_empty() {
        return Err("write a locality as region/zone/subzone; zone and subzone may be left out".to_owned());
    }
    let part = |index: usize| parts.get(index).copied().unwrap_or_default().to_owned();
    Ok(Locality([part(0), part(1), part(2)]))
}

fn server(text: &str) -> Result<Server, String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(Server { host: address.ip().to_string(), port: address.port() });
    }
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parsed {
        Some((host, port)) if !host.is_empty() && !host.contains(['/', ':']) => {
            Ok(Server { host: host.to_owned(), port })
        }
        _ => Err("write the server as host:port, such as pilotage.example:18000 or [::1]:18000".to_owned()),
    }
}
