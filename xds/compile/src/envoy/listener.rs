//! Listeners as `Listener`: on a socket, or an `ApiListener` inside a gRPC client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotage_protos::envoy::core::{CidrRange, Http2ProtocolOptions, TrafficDirection};
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier, UpgradeConfig,
};
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, Rds,
};
use pilotage_protos::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use pilotage_protos::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use pilotage_protos::envoy::listener::{
    ApiListener, Filter, FilterChain, FilterChainMatch, Listener as Message, ListenerFilter,
    filter::ConfigType, listener_filter,
};
use pilotage_protos::envoy::types::v3::HashPolicy;
use pilotage_protos::envoy::types::v3::hash_policy::{PolicySpecifier, SourceIp};
use pilotage_protos::envoy::{pack_any, protobuf};

use super::access_log::access_logs;
use super::{ads, boolean, capture, duration, filter, metadata, socket, tls, uint};
use crate::ir::{AccessLog, Chain, Edge, Entry, Listener, Service, Streaming, Transport};

/// How long a TLS handshake with a client may take.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) fn listener(listener: &Listener) -> Message {
    let message = Message {
        name: listener.name.to_string(),
        metadata: listener.source.as_ref().map(metadata::of_source),
        ..Message::default()
    };
    let log = listener.log.as_ref();
    match &listener.entry {
        Entry::Http { address, port, routes, edge, grpc_web } => Message {
            address: Some(socket(&address.to_string(), *port)),
            traffic_direction: TrafficDirection::Outbound as i32,
            filter_chains: vec![http_chain(&listener.name, routes, *edge, *grpc_web, log)],
            ..message
        },
        Entry::Chains { address, port, chains } => Message {
            address: Some(socket(&address.to_string(), *port)),
            traffic_direction: TrafficDirection::Outbound as i32,
            listener_filters: {
                let is_tls = chains.iter().any(|chain| chain.transport != Transport::Plaintext);
                is_tls.then(tls_inspector).into_iter().collect()
            },
            filter_chains: chains.iter().map(|chain| filter_chain(&listener.name, chain, log)).collect(),
            ..message
        },
        Entry::Captured(captured) => capture::listener(captured, message, log),
        Entry::Client { routes } => Message {
            api_listener: Some(ApiListener {
                api_listener: Some(pack_any(HttpConnectionManager {
                    http_filters: filter::of_client(),
                    route_specifier: Some(rds(routes)),
                    ..HttpConnectionManager::default()
                })),
            }),
            // gRPC clients read nothing but the connection manager.
            metadata: None,
            ..message
        },
    }
}

fn connection_manager(name: &str, routes: &str, edge: Edge) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: name.to_owned(),
        codec_type: CodecType::Auto as i32,
        route_specifier: Some(rds(routes)),
        // A stream may be silent for hours and still be wanted: gRPC's own pings do not pass through a proxy.
        stream_idle_timeout: Some(duration(Duration::ZERO)),
        use_remote_address: Some(boolean(edge == Edge::Outside)),
        normalize_path: Some(boolean(true)),
        http2_protocol_options: Some(Http2ProtocolOptions::default()),
        upgrade_configs: vec![UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..UpgradeConfig::default()
        }],
        ..HttpConnectionManager::default()
    }
}

pub(super) fn http_chain(
    name: &str,
    routes: &str,
    edge: Edge,
    grpc_web: bool,
    log: Option<&AccessLog>,
) -> FilterChain {
    chain(
        "envoy.filters.network.http_connection_manager",
        pack_any(HttpConnectionManager {
            http_filters: filter::of_proxy(grpc_web),
            access_log: access_logs(log),
            ..connection_manager(name, routes, edge)
        }),
    )
}

pub(super) fn opaque_chain(
    name: &str,
    clusters: &[(Arc<str>, u32)],
    streaming: &Streaming,
    log: Option<&AccessLog>,
) -> FilterChain {
    let specifier = match clusters {
        [(cluster, _)] => tcp_proxy::ClusterSpecifier::Cluster(cluster.to_string()),
        clusters => tcp_proxy::ClusterSpecifier::WeightedClusters(tcp_proxy::WeightedCluster {
            clusters: clusters
                .iter()
                .map(|(cluster, weight)| tcp_proxy::weighted_cluster::ClusterWeight {
                    name: cluster.to_string(),
                    weight: *weight,
                    ..Default::default()
                })
                .collect(),
        }),
    };
    chain(
        "envoy.filters.network.tcp_proxy",
        pack_any(TcpProxy {
            stat_prefix: name.to_owned(),
            access_log: access_logs(log),
            cluster_specifier: Some(specifier),
            idle_timeout: streaming.idle_timeout.map(duration),
            max_downstream_connection_duration: streaming.max_age.map(duration),
            hash_policy: streaming.by_source.then(by_source).into_iter().collect(),
            ..TcpProxy::default()
        }),
    )
}

fn by_source() -> HashPolicy {
    HashPolicy { policy_specifier: Some(PolicySpecifier::SourceIp(SourceIp {})) }
}

fn filter_chain(listener: &str, chain: &Chain, log: Option<&AccessLog>) -> FilterChain {
    let message = match &chain.service {
        Service::Http { routes, grpc_web } => http_chain(listener, routes, Edge::Outside, *grpc_web, log),
        Service::Opaque { name, clusters, streaming } => opaque_chain(name, clusters, streaming, log),
    };
    let filter_chain_match = FilterChainMatch {
        server_names: chain.server_names.iter().map(ToString::to_string).collect(),
        prefix_ranges: chain.subnets.iter().map(range).collect(),
        // A chain for any name still takes TLS alone.
        transport_protocol: match chain.transport {
            Transport::Plaintext => String::new(),
            Transport::Ended(_) | Transport::Sealed => "tls".to_owned(),
        },
        ..FilterChainMatch::default()
    };
    let tls = match &chain.transport {
        Transport::Ended(tls) => Some(tls),
        Transport::Plaintext | Transport::Sealed => None,
    };
    FilterChain {
        filter_chain_match: (filter_chain_match != FilterChainMatch::default()).then_some(filter_chain_match),
        transport_socket: tls.map(|tls| tls::downstream(tls)),
        // A client that connects and then says nothing holds a place for no longer than this.
        transport_socket_connect_timeout: tls.is_some().then(|| duration(HANDSHAKE_TIMEOUT)),
        metadata: Some(metadata::of_source(&chain.source)),
        ..message
    }
}

/// An address and its prefix length.
pub(super) fn range((address, length): &(IpAddr, u8)) -> CidrRange {
    CidrRange { address_prefix: address.to_string(), prefix_len: Some(uint(u32::from(*length))) }
}

pub(super) fn tls_inspector() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack_any(TlsInspector::default()))),
        ..ListenerFilter::default()
    }
}

fn rds(routes: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: routes.to_owned() })
}

fn chain(name: &str, config: protobuf::Any) -> FilterChain {
    FilterChain {
        filters: vec![Filter { name: name.to_owned(), config_type: Some(ConfigType::TypedConfig(config)) }],
        ..FilterChain::default()
    }
}
