//! Clusters as `Cluster`, with `HttpProtocolOptions` where requests are routed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use pilotage_protos::envoy::cluster::circuit_breakers::{Thresholds, thresholds};
use pilotage_protos::envoy::cluster::cluster::common_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig, ZoneAwareLbConfig,
};
use pilotage_protos::envoy::cluster::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbConfig,
    LbPolicy, LeastRequestLbConfig, MaglevLbConfig, OriginalDstLbConfig, RingHashLbConfig,
    RoundRobinLbConfig, SlowStartConfig,
};
use pilotage_protos::envoy::cluster::{
    CircuitBreakers, Cluster as Message, OutlierDetection, UpstreamConnectionOptions,
};
use pilotage_protos::envoy::core::proxy_protocol_config::Version;
use pilotage_protos::envoy::core::transport_socket::ConfigType;
use pilotage_protos::envoy::core::{
    BindConfig, Http1ProtocolOptions, Http2ProtocolOptions, HttpProtocolOptions as Common, KeepaliveSettings,
    ProxyProtocolConfig, RuntimeDouble, TcpKeepalive as Keepalive, TransportSocket,
    UpstreamHttpProtocolOptions,
};
use pilotage_protos::envoy::extensions::transport_sockets::proxy_protocol::v3::ProxyProtocolUpstreamTransport;
use pilotage_protos::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use pilotage_protos::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use pilotage_protos::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use pilotage_protos::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    ExplicitHttpConfig, OutlierDetection as ErrorMatcher, UpstreamProtocolOptions, UseDownstreamHttpConfig,
};
use pilotage_protos::envoy::matcher::match_predicate::{MatchSet, Rule};
use pilotage_protos::envoy::matcher::{HttpHeadersMatch, MatchPredicate};
use pilotage_protos::envoy::route::HeaderMatcher;
use pilotage_protos::envoy::route::header_matcher::HeaderMatchSpecifier;
use pilotage_protos::envoy::types::matcher::v3::StringMatcher;
use pilotage_protos::envoy::types::matcher::v3::string_matcher::MatchPattern;
use pilotage_protos::envoy::{UInt64Value, pack_any};

use super::endpoint::{dns, fixed};
use super::{ads, duration, metadata, percent, socket_address, tls, uint};
use crate::ir::{
    Balancer, Cluster, Connections, Discovery, Limits, Localities, Outliers, ProxyVersion, Retries,
    ServerName, TcpKeepalive, Upstream, Warmup,
};

/// How often names are resolved where their records do not say.
const DNS_REFRESH: Duration = Duration::from_secs(60);

/// The extension that holds a cluster's HTTP options.
const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

pub(crate) fn cluster(cluster: &Cluster) -> Message {
    let (lb_policy, lb_config) = balancer(cluster.balancer, cluster.warmup.as_ref());
    let mut message = Message {
        name: cluster.name.to_string(),
        connect_timeout: Some(duration(cluster.connect_timeout)),
        lb_policy: lb_policy as i32,
        lb_config,
        circuit_breakers: Some(breakers(&cluster.limits)),
        transport_socket: cluster.tls.as_ref().map(|tls| tls::upstream(tls, cluster.upstream)),
        outlier_detection: cluster.outliers.as_ref().map(outliers),
        // With few healthy endpoints left, those are used, and not the ones that are known to be bad.
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(percent(
                cluster.outliers.as_ref().map_or(0.0, |outliers| f64::from(outliers.min_health_percent)),
            )),
            locality_config_specifier: localities(cluster.localities),
            ..CommonLbConfig::default()
        }),
        upstream_connection_options: cluster.connections.tcp_keepalive.map(|keepalive| {
            UpstreamConnectionOptions {
                tcp_keepalive: Some(tcp_keepalive(keepalive)),
                ..UpstreamConnectionOptions::default()
            }
        }),
        metadata: cluster
            .source
            .as_ref()
            .map(|source| metadata::of_cluster(source, cluster.rule.as_ref(), &cluster.subset)),
        upstream_bind_config: cluster.from.map(bind),
        typed_extension_protocol_options: http_options(cluster)
            .map(|options| HashMap::from([(HTTP_OPTIONS.to_owned(), pack_any(options))]))
            .unwrap_or_default(),
        ..Message::default()
    };
    if let Some(version) = cluster.proxy_protocol {
        message.transport_socket = Some(with_proxy_protocol(version, message.transport_socket.take()));
    }
    match &cluster.discovery {
        Discovery::Original { port } => {
            message.cluster_discovery_type =
                Some(ClusterDiscoveryType::Type(DiscoveryType::OriginalDst as i32));
            message.lb_policy = LbPolicy::ClusterProvided as i32;
            message.lb_config = port.map(|port| {
                LbConfig::OriginalDstLbConfig(OriginalDstLbConfig {
                    upstream_port_override: Some(uint(u32::from(port))),
                    ..OriginalDstLbConfig::default()
                })
            });
        }
        Discovery::Fixed(address) => {
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Static as i32));
            message.load_assignment = address.as_ref().map(|address| fixed(&cluster.name, address));
        }
        Discovery::Assigned => {
            message.cluster_discovery_type = Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32));
            message.eds_cluster_config =
                Some(EdsClusterConfig { eds_config: Some(ads()), service_name: cluster.name.to_string() });
        }
        Discovery::Dns(names) => {
            message.cluster_discovery_type =
                Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns as i32));
            message.load_assignment = Some(dns(&cluster.name, names));
            message.dns_lookup_family = DnsLookupFamily::All as i32;
            resolve_often(&mut message);
        }
        Discovery::LatestName(name) => {
            message.cluster_discovery_type =
                Some(ClusterDiscoveryType::Type(DiscoveryType::LogicalDns as i32));
            message.load_assignment = Some(dns(&cluster.name, std::slice::from_ref(name)));
            message.dns_lookup_family = DnsLookupFamily::V4Preferred as i32;
            resolve_often(&mut message);
        }
    }
    message
}

/// Connections from this address and any port.
fn bind(address: IpAddr) -> BindConfig {
    BindConfig { source_address: Some(socket_address(&address.to_string(), 0)), ..BindConfig::default() }
}

#[expect(deprecated, reason = "what replaces these fields is not in every Envoy that is still maintained")]
fn resolve_often(message: &mut Message) {
    message.dns_refresh_rate = Some(duration(DNS_REFRESH));
    message.respect_dns_ttl = true;
}

fn localities(localities: Localities) -> Option<LocalityConfigSpecifier> {
    let zones = |config| Some(LocalityConfigSpecifier::ZoneAwareLbConfig(config));
    match localities {
        Localities::Alike => None,
        Localities::Weighted => {
            Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {}))
        }
        Localities::ZoneAware { minimum } => zones(ZoneAwareLbConfig {
            min_cluster_size: Some(UInt64Value { value: u64::from(minimum) }),
            ..ZoneAwareLbConfig::default()
        }),
        Localities::ZoneBlind => {
            zones(ZoneAwareLbConfig { routing_enabled: Some(percent(0.0)), ..ZoneAwareLbConfig::default() })
        }
    }
}

fn balancer(balancer: Balancer, warmup: Option<&Warmup>) -> (LbPolicy, Option<LbConfig>) {
    let slow_start_config = warmup.map(slow_start);
    match balancer {
        Balancer::LeastRequest => (
            LbPolicy::LeastRequest,
            slow_start_config.map(|config| {
                LbConfig::LeastRequestLbConfig(LeastRequestLbConfig {
                    slow_start_config: Some(config),
                    ..LeastRequestLbConfig::default()
                })
            }),
        ),
        Balancer::RoundRobin => (
            LbPolicy::RoundRobin,
            slow_start_config.map(|config| {
                LbConfig::RoundRobinLbConfig(RoundRobinLbConfig { slow_start_config: Some(config) })
            }),
        ),
        Balancer::Random => (LbPolicy::Random, None),
        Balancer::RingHash { minimum_size } => (
            LbPolicy::RingHash,
            Some(LbConfig::RingHashLbConfig(RingHashLbConfig {
                minimum_ring_size: Some(UInt64Value { value: minimum_size }),
                ..RingHashLbConfig::default()
            })),
        ),
        Balancer::Maglev { table_size } => (
            LbPolicy::Maglev,
            Some(LbConfig::MaglevLbConfig(MaglevLbConfig {
                table_size: Some(UInt64Value { value: table_size }),
            })),
        ),
    }
}

fn slow_start(warmup: &Warmup) -> SlowStartConfig {
    SlowStartConfig {
        slow_start_window: Some(duration(warmup.duration)),
        aggression: Some(RuntimeDouble {
            default_value: f64::from(warmup.aggression_thousandths) / 1000.0,
            // Envoy wants a key, though nobody sets it.
            runtime_key: "pilotage.slow_start.aggression".to_owned(),
        }),
        min_weight_percent: Some(percent(f64::from(warmup.minimum_millipercent) / 1000.0)),
    }
}

/// Connections that begin with who they are from, whatever goes through them.
fn with_proxy_protocol(version: ProxyVersion, inner: Option<TransportSocket>) -> TransportSocket {
    let plaintext = || TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(RawBuffer::default()))),
    };
    let version = match version {
        ProxyVersion::V1 => Version::V1,
        ProxyVersion::V2 => Version::V2,
    };
    let config = ProxyProtocolUpstreamTransport {
        config: Some(ProxyProtocolConfig { version: version as i32, ..ProxyProtocolConfig::default() }),
        transport_socket: Some(inner.unwrap_or_else(plaintext)),
        ..ProxyProtocolUpstreamTransport::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.upstream_proxy_protocol".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(config))),
    }
}

/// Every threshold is always there: Envoy's own defaults (1024 requests) bind without a word.
fn breakers(limits: &Limits) -> CircuitBreakers {
    let or_none = |limit: Option<u32>| Some(uint(limit.unwrap_or(u32::MAX)));
    let mut breakers = Thresholds {
        max_connections: or_none(limits.connections),
        max_pending_requests: or_none(limits.pending_requests),
        max_requests: or_none(limits.requests),
        track_remaining: true,
        ..Thresholds::default()
    };
    match limits.retries {
        Retries::Limit(limit) => breakers.max_retries = Some(uint(limit)),
        Retries::Budget { millipercent, minimum, interval } => {
            breakers.max_retries = Some(uint(u32::MAX));
            breakers.retry_budget = Some(thresholds::RetryBudget {
                budget_percent: Some(percent(f64::from(millipercent) / 1000.0)),
                budget_interval: interval.map(duration),
                min_retry_concurrency: Some(uint(minimum)),
            });
        }
    }
    CircuitBreakers { thresholds: vec![breakers], ..CircuitBreakers::default() }
}

fn http_options(cluster: &Cluster) -> Option<HttpProtocolOptions> {
    let connections = &cluster.connections;
    let http2 = || http2_options(connections);
    let protocol = match cluster.upstream {
        // What goes through unread has no HTTP options, but routes may lead here all the same: HTTP/1.1, the default.
        Upstream::Opaque => return None,
        Upstream::Http1 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::HttpProtocolOptions(Http1ProtocolOptions::default())),
        }),
        Upstream::Http2 => UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig {
            protocol_config: Some(ProtocolConfig::Http2ProtocolOptions(http2())),
        }),
        Upstream::AsClient => UpstreamProtocolOptions::UseDownstreamProtocolConfig(UseDownstreamHttpConfig {
            http_protocol_options: Some(Http1ProtocolOptions::default()),
            http2_protocol_options: Some(http2()),
            ..UseDownstreamHttpConfig::default()
        }),
    };
    let common = Common {
        idle_timeout: connections.idle_timeout.map(duration),
        max_connection_duration: connections.max_age.map(duration),
        max_requests_per_connection: connections.requests_each.map(uint),
        ..Common::default()
    };
    Some(HttpProtocolOptions {
        upstream_http_protocol_options: match cluster.tls.as_ref().map(|tls| &tls.server_name) {
            Some(ServerName::OfRequest { checked }) => Some(UpstreamHttpProtocolOptions {
                auto_sni: true,
                auto_san_validation: *checked,
                ..UpstreamHttpProtocolOptions::default()
            }),
            Some(ServerName::Fixed(_) | ServerName::None) | None => None,
        },
        common_http_protocol_options: (common != Common::default()).then_some(common),
        upstream_protocol_options: Some(protocol),
        outlier_detection: cluster.outliers.as_ref().and_then(error_matcher),
        ..HttpProtocolOptions::default()
    })
}

/// The answers that count as errors, where the operator says which.
fn error_matcher(outliers: &Outliers) -> Option<ErrorMatcher> {
    let matches = |status: &u32| MatchPredicate {
        rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch {
            headers: vec![HeaderMatcher {
                name: ":status".to_owned(),
                header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
                    match_pattern: Some(MatchPattern::Exact(status.to_string())),
                    ..StringMatcher::default()
                })),
                ..HeaderMatcher::default()
            }],
        })),
    };
    let mut rules: Vec<_> = outliers.statuses.iter().map(matches).collect();
    let error_matcher = match rules.len() {
        0 => return None,
        1 => rules.pop(),
        _ => Some(MatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) }),
    };
    Some(ErrorMatcher { error_matcher })
}

fn http2_options(connections: &Connections) -> Http2ProtocolOptions {
    Http2ProtocolOptions {
        // Envoy refuses more than 2^31 - 1, which is what the protocol allows.
        max_concurrent_streams: connections.streams_each.map(|streams| uint(streams.min(i32::MAX as u32))),
        connection_keepalive: connections.http2_keepalive.map(|(interval, timeout)| KeepaliveSettings {
            interval: Some(duration(interval)),
            timeout: Some(duration(timeout)),
            ..KeepaliveSettings::default()
        }),
        ..Http2ProtocolOptions::default()
    }
}

fn tcp_keepalive(keepalive: TcpKeepalive) -> Keepalive {
    // The system counts in whole seconds, and 0 would be no valid value.
    let seconds = |time: Duration| uint(u32::try_from(time.as_secs()).unwrap_or(u32::MAX).clamp(1, 32_767));
    Keepalive {
        keepalive_probes: keepalive.probes.map(uint),
        keepalive_time: keepalive.time.map(seconds),
        keepalive_interval: keepalive.interval.map(seconds),
    }
}

fn outliers(outliers: &Outliers) -> OutlierDetection {
    let enforced = |count: Option<u32>| count.map(|count| uint(if count == 0 { 0 } else { 100 }));
    // A count of 0 turns the check off by its enforcement, and must itself be positive.
    let counted = |count: Option<u32>| count.filter(|count| *count > 0).map(uint);
    OutlierDetection {
        consecutive_5xx: counted(outliers.consecutive_5xx),
        enforcing_consecutive_5xx: enforced(outliers.consecutive_5xx),
        consecutive_gateway_failure: counted(outliers.consecutive_gateway_errors),
        enforcing_consecutive_gateway_failure: enforced(outliers.consecutive_gateway_errors),
        split_external_local_origin_errors: outliers.split_local_errors,
        consecutive_local_origin_failure: counted(outliers.consecutive_local_failures),
        enforcing_consecutive_local_origin_failure: enforced(outliers.consecutive_local_failures),
        enforcing_local_origin_success_rate: outliers.split_local_errors.then(|| uint(0)),
        enforcing_success_rate: Some(uint(0)),
        interval: outliers.interval.map(duration),
        base_ejection_time: outliers.base_ejection.map(duration),
        max_ejection_percent: outliers.max_ejection_percent.map(uint),
        ..OutlierDetection::default()
    }
}
