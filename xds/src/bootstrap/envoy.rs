//! The bootstrap of an Envoy, as a sidecar or a gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{Dialect, Node, SecretFile};

/// The name of the static cluster through which Envoy reaches the server.
const XDS_CLUSTER: &str = "pilotage-xds";

const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// What an Envoy's bootstrap needs beyond its node.
#[derive(Clone, Debug, clap::Args)]
pub struct EnvoyOptions {
    /// What the Envoy stands in front of
    #[arg(long, value_enum, default_value_t)]
    pub kind: Kind,
    /// The dialect of its stream
    #[arg(long, value_enum, default_value_t)]
    pub dialect: Dialect,
    /// Where Envoy's admin listens; port 0 lets it choose
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,
    /// Sidecar: the port on 127.0.0.1 that applications send their calls to
    #[arg(long, value_name = "PORT", default_value_t = 15001)]
    pub egress_port: u16,
    /// Sidecar: also listen on 127.0.0.1 at the port of every Service port that is opaque TCP
    #[arg(long)]
    pub tcp_egress: bool,
    /// Sidecar: iptables redirect the workload's connections to it, the outgoing to 15001 and the incoming to 15006
    #[arg(long, conflicts_with_all = ["egress_port", "tcp_egress"])]
    pub intercepted: bool,
    /// The folder for the small files through which Envoy reads certificates and tokens anew when they change
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

/// What an Envoy stands in front of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// An application's outgoing calls.
    #[default]
    Sidecar,
    /// The edge: the listeners of the Gateways that select it.
    Gateway,
}

/// The bootstrap, as Envoy's `Bootstrap` message in JSON, and the files that it refers to, which are to be written into
/// [`EnvoyOptions::secrets_dir`].
///
/// # Errors
/// The node has certificates or a token, and there is no folder for those files; or they do not go together.
pub fn envoy(node: &Node, options: &EnvoyOptions) -> anyhow::Result<(Value, Vec<SecretFile>)> {
    let trust = node.trust.of_envoy(&node.server, options.secrets_dir.as_deref())?;
    let mut metadata = match options.kind {
        Kind::Sidecar => node.metadata("sidecar"),
        Kind::Gateway => node.metadata("gateway"),
    };
    if options.kind == Kind::Sidecar && options.intercepted {
        metadata.insert("INTERCEPTION_MODE".into(), json!("REDIRECT"));
    } else if options.kind == Kind::Sidecar {
        metadata.insert("EGRESS_PORT".into(), json!(options.egress_port.to_string()));
        if options.tcp_egress {
            metadata.insert("TCP_EGRESS".into(), json!("true"));
        }
    }
    let mut identity = json!({"id": node.id, "cluster": node.namespace, "metadata": metadata});
    if let Some(locality) = node.locality() {
        identity["locality"] = locality;
    }
    let api_type = match options.dialect {
        Dialect::Delta => "DELTA_GRPC",
        Dialect::Sotw => "GRPC",
    };
    // No fetch timeout: warming waits for the answer, however long a server is away (R39, E2).
    let source = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"});
    let mut cluster = xds_cluster(node);
    if let Some(socket) = trust.transport_socket {
        cluster["transport_socket"] = socket;
    }
    if let Some(filters) = trust.http_filters {
        cluster["typed_extension_protocol_options"][PROTOCOL_OPTIONS]["http_filters"] = filters;
    }
    let bootstrap = json!({
        "node": identity,
        "admin": {"address": address(options.admin)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": api_type,
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER}}],
            },
            "cds_config": source,
            "lds_config": source,
        },
        "static_resources": {"clusters": [cluster]},
        // Envoy refuses a whole route configuration over one large regular expression; the default limit is 100.
        "layered_runtime": {"layers": [{
            "name": "pilotage",
            "static_layer": {"re2": {"max_program_size": {"error_level": 32768}}},
        }]},
    });
    Ok((bootstrap, trust.files))
}

fn xds_cluster(node: &Node) -> Value {
    let host = json!({"socket_address": {"address": node.server.host, "port_value": node.server.port}});
    let is_literal = node.server.host.parse::<std::net::IpAddr>().is_ok();
    json!({
        "name": XDS_CLUSTER,
        "type": if is_literal { "STATIC" } else { "STRICT_DNS" },
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": host}}]}],
        },
        "typed_extension_protocol_options": {
            PROTOCOL_OPTIONS: {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                // A half-open connection would otherwise hold a dead stream for ever (E11).
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": "30s", "timeout": "5s"}},
                },
            },
        },
    })
}

fn address(of: SocketAddr) -> Value {
    json!({"socket_address": {"address": of.ip().to_string(), "port_value": of.port()}})
}
