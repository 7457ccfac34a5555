//! Listeners as `Listener`: on a socket, or an `ApiListener` inside a gRPC client.

use std::time::Duration;

use pilotage_protos::envoy::core::{Http2ProtocolOptions, TrafficDirection};
use pilotage_protos::envoy::extensions::filters::http::grpc_web::v3::GrpcWeb;
use pilotage_protos::envoy::extensions::filters::http::router::v3::Router;
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    CodecType, RouteSpecifier, UpgradeConfig,
};
use pilotage_protos::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use pilotage_protos::envoy::extensions::filters::network::tcp_proxy::v3::{TcpProxy, tcp_proxy};
use pilotage_protos::envoy::listener::{ApiListener, Filter, FilterChain, Listener as Message, filter};
use pilotage_protos::envoy::{pack_any, protobuf};

use super::{ads, boolean, duration, metadata, socket};
use crate::ir::{Edge, Entry, Listener};

pub(crate) fn listener(listener: &Listener) -> Message {
    let message = Message {
        name: listener.name.to_string(),
        metadata: listener.source.as_ref().map(metadata::of_source),
        ..Message::default()
    };
    match &listener.entry {
        Entry::Http { address, port, routes, edge, grpc_web } => Message {
            address: Some(socket(&address.to_string(), *port)),
            traffic_direction: TrafficDirection::Outbound as i32,
            filter_chains: vec![chain(
                "envoy.filters.network.http_connection_manager",
                pack_any(HttpConnectionManager {
                    http_filters: grpc_web.then(grpc_web_filter).into_iter().chain([router()]).collect(),
                    ..connection_manager(&listener.name, routes, *edge)
                }),
            )],
            ..message
        },
        Entry::Tcp { address, port, cluster } => Message {
            address: Some(socket(&address.to_string(), *port)),
            traffic_direction: TrafficDirection::Outbound as i32,
            filter_chains: vec![chain(
                "envoy.filters.network.tcp_proxy",
                pack_any(TcpProxy {
                    stat_prefix: cluster.to_string(),
                    cluster_specifier: Some(tcp_proxy::ClusterSpecifier::Cluster(cluster.to_string())),
                    ..TcpProxy::default()
                }),
            )],
            ..message
        },
        Entry::Client { routes } => Message {
            api_listener: Some(ApiListener {
                api_listener: Some(pack_any(HttpConnectionManager {
                    http_filters: vec![router()],
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

fn rds(routes: &str) -> RouteSpecifier {
    RouteSpecifier::Rds(Rds { config_source: Some(ads()), route_config_name: routes.to_owned() })
}

fn grpc_web_filter() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.grpc_web".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(GrpcWeb::default()))),
        ..HttpFilter::default()
    }
}

fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(Router::default()))),
        ..HttpFilter::default()
    }
}

fn chain(name: &str, config: protobuf::Any) -> FilterChain {
    FilterChain {
        filters: vec![Filter {
            name: name.to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(config)),
        }],
        ..FilterChain::default()
    }
}
