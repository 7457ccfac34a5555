//! A control plane by hand, with `pilotage-server` alone: one cluster behind one listener with TLS, in five types.
//!
//! Everything that an Envoy of this plane does needs every type once: a call goes by the listener's certificate, its
//! routes, a cluster and the endpoints of that.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use pilotage::tools::{Envoy, EnvoyProgram, Launch};
use pilotage_protos::json::any_from_json;
use pilotage_server::protocol::{Reference, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Cache, Observer, ServeConfig, serve};
use pilotage_tests::{Backend, Issued};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How an Envoy speaks to its control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// `GRPC` or `DELTA_GRPC`.
    pub(crate) api_type: &'static str,
    pub(crate) services: Services,
}

/// Which services it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Services {
    /// The aggregated one, for all types.
    Aggregated,
    /// One for each type, each subscription on a stream of its own.
    Single,
}

impl Way {
    /// The place that a resource is had from, as Envoy's `ConfigSource`.
    pub(crate) fn source(self) -> Value {
        let mut source = json!({"resource_api_version": "V3", "initial_fetch_timeout": "0s"});
        match self.services {
            Services::Aggregated => source["ads"] = json!({}),
            Services::Single => source["api_config_source"] = self.api(),
        }
        source
    }

    fn api(self) -> Value {
        json!({
            "api_type": self.api_type,
            "transport_api_version": "V3",
            "set_node_on_first_message_only": true,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
        })
    }

    /// Starts an Envoy that asks `server` in this way.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn envoy(self, server: SocketAddr, folder: &Path) -> Result<Envoy> {
        let mut dynamic = json!({"cds_config": self.source(), "lds_config": self.source()});
        if self.services == Services::Aggregated {
            dynamic["ads_config"] = self.api();
        }
        let bootstrap = json!({
            "node": {"id": "matrix", "cluster": "matrix"},
            "admin": {"address": socket("127.0.0.1".to_owned(), 0)},
            "dynamic_resources": dynamic,
            "static_resources": {"clusters": [{
                "name": "xds",
                "type": "STATIC",
                "connect_timeout": "1s",
                "typed_extension_protocol_options": http2(),
                "load_assignment": assignment("xds", [server]),
            }]},
        });
        let launch = Launch { name: "matrix", bootstrap: &bootstrap.to_string(), folder, workers: 1 };
        Ok(Envoy::start(&EnvoyProgram::find(None).await?, &launch).await?)
    }
}

/// The server, and what it was last told.
pub(crate) struct Plane {
    pub(crate) ads: Ads<()>,
    pub(crate) address: SocketAddr,
    cache: Cache<()>,
    state: Snapshot,
    shutdown: CancellationToken,
}

impl Plane {
    /// Starts a server that has nothing to say yet.
    ///
    /// # Errors
    /// No port can be listened on.
    pub(crate) async fn start(observer: impl Observer<()>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cache, shutdown) = (Cache::new(), CancellationToken::new());
        let config = AdsConfig::default();
        let (ads, _) = Ads::observed(cache.clone(), |_| (), observer, config, shutdown.clone());
        tokio::spawn(serve(listener, ads.routes(), shutdown.clone(), ServeConfig::default()));
        Ok(Self { ads, address, cache, state: Snapshot::default(), shutdown })
    }

    /// Puts these resources in the place of those of the same names, takes others away, and publishes the result.
    pub(crate) fn publish(&mut self, changed: Vec<(ResourceType, Resource)>, gone: &[(ResourceType, &str)]) {
        self.state = self.state.clone().at(Revision(self.state.revision().0 + 1));
        for resource_type in ResourceType::KNOWN {
            let of_type =
                |(of, resource): &(ResourceType, Resource)| (*of == resource_type).then(|| resource.clone());
            let changed: Vec<_> = changed.iter().filter_map(of_type).collect();
            let gone: Vec<_> =
                gone.iter().filter(|(of, _)| *of == resource_type).map(|(_, name)| (*name).into()).collect();
            if !changed.is_empty() || !gone.is_empty() {
                let former = self.state.collection(&resource_type).cloned().unwrap_or_default();
                let collection = Arc::new(former.with_changes(changed, gone));
                self.state = self.state.clone().with(resource_type, collection);
            }
        }
        self.cache.publish(&(), self.state.clone());
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A cluster with endpoints of its own, and those.
pub(crate) fn cluster(way: Way, name: &str, backends: &[&Backend]) -> Result<Vec<(ResourceType, Resource)>> {
    let cluster = json!({
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "eds_cluster_config": {"eds_config": way.source()},
        "typed_extension_protocol_options": http2(),
    });
    let assignment = assignment(name, backends.iter().map(|backend| backend.address()));
    Ok(vec![
        resource(ResourceType::Cluster, name, &cluster, &[(ResourceType::Endpoint, name)])?,
        resource(ResourceType::Endpoint, name, &assignment, &[])?,
    ])
}

/// The listener `edge` on `port`, with its certificate.
pub(crate) fn listener(way: Way, port: u16, issued: &Issued) -> Result<Vec<(ResourceType, Resource)>> {
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [{"name": "certificate", "sds_config": way.source()}],
        },
    });
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "edge",
        "rds": {"route_config_name": "routes", "config_source": way.source()},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
    });
    let listener = json!({
        "name": "edge",
        "address": socket("127.0.0.1".to_owned(), port),
        "filter_chains": [{
            "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        }],
    });
    let refers = [(ResourceType::Route, "routes"), (ResourceType::Secret, "certificate")];
    Ok(vec![resource(ResourceType::Listener, "edge", &listener, &refers)?, certificate(issued)?])
}

/// The certificate of the listener.
pub(crate) fn certificate(issued: &Issued) -> Result<(ResourceType, Resource)> {
    let pair = json!({
        "certificate_chain": {"inline_string": issued.certificate},
        "private_key": {"inline_string": issued.key},
    });
    let secret = json!({"name": "certificate", "tls_certificate": pair});
    resource(ResourceType::Secret, "certificate", &secret, &[])
}

/// A virtual host that leads everything to a cluster; `mark` comes back in the header `x-route`.
pub(crate) fn virtual_host(name: &str, domain: &str, cluster: &str, mark: &str) -> Value {
    json!({
        "name": name,
        "domains": [domain],
        "routes": [{
            "match": {"prefix": "/"},
            "route": {"cluster": cluster},
            "response_headers_to_add": [{"header": {"key": "x-route", "value": mark}}],
        }],
    })
}

/// The route configuration of the listener, with these virtual hosts in it.
pub(crate) fn routes(hosts: &[Value], clusters: &[&str]) -> Result<(ResourceType, Resource)> {
    let refers: Vec<_> = clusters.iter().map(|&cluster| (ResourceType::Cluster, cluster)).collect();
    resource(ResourceType::Route, "routes", &json!({"name": "routes", "virtual_hosts": hosts}), &refers)
}

/// A resource that says this and refers to those.
pub(crate) fn resource(
    resource_type: ResourceType,
    name: &str,
    content: &Value,
    refers: &[(ResourceType, &str)],
) -> Result<(ResourceType, Resource)> {
    let body = any_from_json(resource_type.type_url(), content)?;
    let references = refers.iter().map(|(to, name)| Reference::new(to.clone(), *name));
    Ok((resource_type, Resource::new(name, body).with_references(references)))
}

fn http2() -> Value {
    const OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({OPTIONS: {
        "@type": format!("type.googleapis.com/{OPTIONS}"),
        "explicit_http_config": {"http2_protocol_options": {}},
    }})
}

fn assignment(cluster: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Value {
    let endpoint = |at: SocketAddr| json!({"endpoint": {"address": socket(at.ip().to_string(), at.port())}});
    let endpoints: Vec<Value> = addresses.into_iter().map(endpoint).collect();
    json!({"cluster_name": cluster, "endpoints": [{"lb_endpoints": endpoints}]})
}

fn socket(address: String, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}
