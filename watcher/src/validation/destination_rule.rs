//! DestinationRule.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::{
    ClientTls, ConnectionPool, DestinationRule, LoadBalancer, OutlierDetection, TrafficPolicy,
};

impl Validate for DestinationRule {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.host.is_empty() {
            checks.missing("spec", "there is no `host`");
        }
        if let Some(policy) = &self.traffic_policy {
            traffic_policy(&mut checks, "spec.trafficPolicy", policy);
        }
        for (index, subset) in self.subsets.iter().enumerate() {
            let path = format!("spec.subsets[{index}]");
            if subset.name.is_empty() {
                checks.missing(&path, "the subset has no `name`");
            }
            if self.subsets[..index].iter().any(|other| other.name == subset.name) {
                let message = format!("the subset {:?} is defined twice", subset.name);
                checks.invalid(&format!("{path}.name"), message, "give each subset a name of its own");
            }
            if let Some(policy) = &subset.traffic_policy {
                traffic_policy(&mut checks, &format!("{path}.trafficPolicy"), policy);
            }
        }
        checks.problems
    }
}

fn traffic_policy(checks: &mut Checks, path: &str, policy: &TrafficPolicy) {
    let blocks = (&policy.load_balancer, &policy.connection_pool, &policy.outlier_detection, &policy.tls);
    policy_blocks(checks, path, blocks);
    for (index, port) in policy.port_level_settings.iter().enumerate() {
        let path = format!("{path}.portLevelSettings[{index}]");
        checks.port(&format!("{path}.port.number"), port.port.number);
        policy_blocks(
            checks,
            &path,
            (&port.load_balancer, &port.connection_pool, &port.outlier_detection, &port.tls),
        );
    }
    if let Some(tunnel) = &policy.tunnel {
        checks.one_of(&format!("{path}.tunnel.protocol"), tunnel.protocol.as_deref(), &["CONNECT", "POST"]);
        checks.port(&format!("{path}.tunnel.targetPort"), tunnel.target_port);
    }
    if let Some(proxy) = &policy.proxy_protocol {
        checks.one_of(&format!("{path}.proxyProtocol.version"), proxy.version.as_deref(), &["V1", "V2"]);
    }
    if let Some(percent) = policy.retry_budget.as_ref().and_then(|budget| budget.percent) {
        checks.percent(&format!("{path}.retryBudget.percent"), percent);
    }
}

type Blocks<'a> = (
    &'a Option<LoadBalancer>,
    &'a Option<ConnectionPool>,
    &'a Option<OutlierDetection>,
    &'a Option<ClientTls>,
);

fn policy_blocks(checks: &mut Checks, path: &str, (balancer, pool, outlier, tls): Blocks<'_>) {
    if let Some(balancer) = balancer {
        let choices = &["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"];
        checks.one_of(&format!("{path}.loadBalancer.simple"), balancer.simple.as_deref(), choices);
        if let Some(warmup) = &balancer.warmup {
            checks.span(&format!("{path}.loadBalancer.warmup.duration"), warmup.duration);
        }
    }
    if let Some(pool) = pool {
        connection_pool(checks, &format!("{path}.connectionPool"), pool);
    }
    if let Some(outlier) = outlier {
        let path = format!("{path}.outlierDetection");
        checks.span(&format!("{path}.interval"), outlier.interval);
        checks.span(&format!("{path}.baseEjectionTime"), outlier.base_ejection_time);
        checks.range(
            &format!("{path}.maxEjectionPercent"),
            outlier.max_ejection_percent.map(i64::from),
            0..=100,
        );
        checks.range(&format!("{path}.minHealthPercent"), outlier.min_health_percent.map(i64::from), 0..=100);
    }
    if let Some(tls) = tls {
        let choices = &["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"];
        checks.one_of(&format!("{path}.tls.mode"), tls.mode.as_deref(), choices);
    }
}

fn connection_pool(checks: &mut Checks, path: &str, pool: &ConnectionPool) {
    let counts = 0..=i64::from(u32::MAX);
    if let Some(tcp) = &pool.tcp {
        checks.range(&format!("{path}.tcp.maxConnections"), tcp.max_connections, counts.clone());
        checks.span(&format!("{path}.tcp.connectTimeout"), tcp.connect_timeout);
        checks.span(&format!("{path}.tcp.maxConnectionDuration"), tcp.max_connection_duration);
        checks.span_or_off(&format!("{path}.tcp.idleTimeout"), tcp.idle_timeout);
    }
    let Some(http) = &pool.http else { return };
    for (field, count) in [
        ("http1MaxPendingRequests", http.http1_max_pending_requests),
        ("http2MaxRequests", http.http2_max_requests),
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxRetries", http.max_retries),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ] {
        checks.range(&format!("{path}.http.{field}"), count, counts.clone());
    }
    checks.span_or_off(&format!("{path}.http.idleTimeout"), http.idle_timeout);
    let choices = &["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"];
    checks.one_of(&format!("{path}.http.h2UpgradePolicy"), http.h2_upgrade_policy.as_deref(), choices);
    if let Some(alive) = &http.http2_keep_alive {
        checks.span(&format!("{path}.http.http2KeepAlive.interval"), alive.interval);
        checks.span(&format!("{path}.http.http2KeepAlive.timeout"), alive.timeout);
    }
}
