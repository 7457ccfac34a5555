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
    /// Sidecar: the Service port that the workload is an endpoint of, such as `cart:50051` or `cart.shop.svc.cluster.local:50051`.
    /// Zone-aware load balancing compares its zones with those of what is called
    #[arg(long, value_name = "NAME:PORT", value_parser = own_service)]
    pub own_service: Option<OwnService>,
    /// The folder for the small files through which Envoy reads certificates and tokens anew when they change
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
}

/// A Service port that a workload is an endpoint of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// The name, in full or as it is in the workload's own namespace.
    pub name: String,
    /// The port of the Service.
    pub port: u16,
}

fn own_service(text: &str) -> Result<OwnService, String> {
    let (name, port) = text.rsplit_once(':').ok_or("write a name and a port, such as cart:50051")?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| format!("{port:?} is no port"))?;
    if name.is_empty() {
        return Err("there is no name before the port".to_owned());
    }
    Ok(OwnService { name: name.to_owned(), port })
}

/// The name of the cluster of the workload itself.
const LOCAL_CLUSTER: &str = "local_cluster";

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
    let mut bootstrap = json!({
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
    if let Some(own) = &options.own_service {
        anyhow::ensure!(
            options.kind == Kind::Sidecar,
            "only a sidecar has a Service of its own: remove --own-service"
        );
        bootstrap["cluster_manager"] = json!({"local_cluster_name": LOCAL_CLUSTER});
        if let Some(clusters) = bootstrap["static_resources"]["clusters"].as_array_mut() {
            clusters.push(local_cluster(own, &node.namespace));
        }
    }
    Ok((bootstrap, trust.files))
}

/// The cluster by which Envoy knows in which zones the workload itself runs: the assignment of its Service.
fn local_cluster(own: &OwnService, namespace: &str) -> Value {
    let name = match own.name.contains('.') {
        true => own.name.clone(),
        false => format!("{}.{namespace}.svc.cluster.local", own.name),
    };
    // What nobody knows is not waited for: without it calls go to all zones alike.
    let source = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "1s"});
    json!({
        "name": LOCAL_CLUSTER,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": source, "service_name": format!("outbound|{}||{name}", own.port)},
    })
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
