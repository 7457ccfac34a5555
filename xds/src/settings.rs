//! Every setting: one typed YAML file, of which a few are flags and environment variables as well.
//!
//! The schema and the reference page under `deploy/` are generated from these types and checked by a test, so a
//! setting without a description cannot be added. Unknown keys are refused.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod reference;

pub use reference::reference;

/// The settings of `pilotage serve`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// The folder of manifests to watch, with its sub-folders.
    pub directory: Option<PathBuf>,
    /// A Kubernetes API server to watch; a folder beside it wins where both have an object.
    pub kubernetes: Kubernetes,
    /// The address of the xDS server; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The address of `/healthz`, `/readyz` and `/metrics`; none are served where it is unset.
    pub health: Option<SocketAddr>,
    /// Certificates, and what clients must show.
    pub trust: Trust,
    /// Allows plaintext xDS on an address that is not loopback. Everyone who can reach it can read every route.
    pub allow_plaintext_off_loopback: bool,
    /// Logs, written to standard error.
    pub log: Log,
    /// Streams and their limits.
    pub server: Server,
    /// What outlives the process.
    pub state: State,
    /// What is written on the objects of a cluster.
    pub status: Status,
    /// How resources are translated.
    pub translation: pilotage_compile::Settings,
}

/// A Kubernetes API server to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Whether to watch one.
    pub watch: bool,
    /// The kubeconfig file that says where it is and who we are; unset inside of a cluster, where the Pod's service
    /// account says it.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig file; unset for its current one.
    pub context: Option<String>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct State {
    /// The folder in which the last good version of every object is kept, Secrets and Pods aside. After a restart, an
    /// object that is broken by then, or of a kind that may not be read, is served as it was. Unset: nothing is kept.
    pub dir: Option<PathBuf>,
}

/// What is written on the objects of a cluster: conditions in their status, and events about what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Status {
    /// Whether this replica takes part: one of those that do writes, and all of them answer it for their clients.
    pub write: bool,
    /// The name of this replica, other than that of every other one; unset: the host's name, which is the Pod's.
    pub replica: Option<String>,
    /// Where the other replicas reach the port of `health`; unset: the address of `health`, unless that is any address.
    pub advertise: Option<SocketAddr>,
    /// The namespace of the leases that say who writes and who is there.
    pub namespace: String,
    /// After how many seconds a replica that says nothing is believed to be gone; it tells that it is there three times
    /// as often.
    pub lease_seconds: u32,
}

/// Certificates, and what clients must show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Trust {
    /// The server's certificate, followed by those that lead to its authority, as a PEM file. With it and `key`, xDS is
    /// served over TLS. The files are read again when they change.
    pub certificate: Option<PathBuf>,
    /// The key of `certificate`, as a PEM file.
    pub key: Option<PathBuf>,
    /// The authorities of clients' certificates, as a PEM file.
    pub client_authority: Option<PathBuf>,
    /// Service-account tokens for one of these audiences say who a client is; the API server that is watched reviews
    /// them. Empty: tokens are not taken.
    pub token_audiences: Vec<String>,
    /// Whether clients must show who they are. Unset: `required` where there is a `clientAuthority` or an audience of
    /// tokens, else `off`.
    pub clients: Option<Clients>,
    /// The namespaces of workloads by a DNS name or URI of their certificates. Names of the form
    /// `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT` have one by themselves.
    pub workloads: BTreeMap<String, String>,
}

/// Whether clients must show who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum Clients {
    /// Everyone who reaches the server is believed, whatever it says it is.
    Off,
    /// Who shows who it is, is held to it; who does not may be anything but a gateway.
    Optional,
    /// Who does not show who it is, is refused.
    Required,
}

/// Logs, written to standard error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`; also a filter such as `info,pilotage_server=debug`.
    pub level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "camelCase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line, for programs.
    Json,
}

/// Streams and their limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Server {
    /// How long open streams may take to end after SIGTERM, in seconds.
    pub drain_seconds: u32,
    /// How long the configuration of a group is kept after its last client left, in seconds.
    pub group_linger_seconds: u32,
    /// After how many seconds, give or take a tenth, a connection is asked to end, so that clients spread over replicas
    /// anew. Unset: never.
    pub max_connection_age_seconds: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            directory: None,
            kubernetes: Kubernetes::default(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 18000)),
            health: None,
            trust: Trust::default(),
            allow_plaintext_off_loopback: false,
            log: Log::default(),
            server: Server::default(),
            state: State::default(),
            status: Status::default(),
            translation: pilotage_compile::Settings::default(),
        }
    }
}

impl Default for Status {
    fn default() -> Self {
        let (write, replica, advertise) = (false, None, None);
        Self { write, replica, advertise, namespace: "pilotage-system".to_owned(), lease_seconds: 15 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self { drain_seconds: 5, group_linger_seconds: 60, max_connection_age_seconds: None }
    }
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// A file that cannot be read, is not YAML, has an unknown key, or a value that its key does not take; the message
    /// names the file, the line and the column.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("settings file {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("settings file {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        // A file of comments only holds no document, and means the defaults.
        if text.lines().all(|line| matches!(line.trim_start().chars().next(), None | Some('#'))) {
            return Ok(Self::default());
        }
        Ok(serde_saphyr::from_str(text)?)
    }

    /// The JSON schema of the settings file.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn empty_file_means_the_defaults() {
        assert_eq!(Settings::parse("# nothing set\n").unwrap(), Settings::default());
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn unknown_key_is_refused_with_its_place() {
        let error = format!("{:#}", Settings::parse("log:\n  levle: info\n").unwrap_err());
        assert!(error.contains("levle") && error.contains("level"), "{error}");
        assert!(error.contains('2'), "the line is named: {error}");
    }

    #[test]
    fn written_settings_are_read_back() {
        let settings = Settings { directory: Some("manifests".into()), ..Settings::default() };
        let text = serde_saphyr::to_string(&settings).unwrap();
        assert_eq!(Settings::parse(&text).unwrap(), settings);
    }
}
