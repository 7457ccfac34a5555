//! Clusters: one per Service port and subset, with the policy that applies to it.
//!
//! A policy that cannot be kept without weakening what was asked for (TLS to the endpoints) leaves the cluster out:
//! its calls fail loudly rather than go out in plaintext.

mod balancer;
mod pool;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use pilotage_watcher::Code;

use crate::credentials::Credentials;
use crate::hosts::{Host, Members, Port};
use crate::ir::{Cluster, Discovery, HashBy, Outliers, Upstream};
use crate::policy::{Policy, effective};
use crate::protocol::Protocol;
use crate::report::Report;
use crate::rules::HostRule;
use crate::{Group, ProxyKind};

pub(crate) use balancer::balancer;

/// Where nothing says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The cluster of a host's port, and of a subset where one is named; none where it cannot be served as written.
pub(crate) fn cluster(
    host: &Host,
    port: &Port,
    subset: &str,
    rule: Option<&HostRule<'_>>,
    group: &Group,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Option<Cluster> {
    let policy = rule.map(|rule| effective(rule, port.number, subset)).unwrap_or_default();
    for place in &policy.unserved {
        report.add(place.not_supported("connections are made without it"));
    }
    let discovery = match &host.members {
        Members::Slices { .. } | Members::Listed { .. } => Discovery::Assigned,
        Members::Dns(names) if group.kind == ProxyKind::Grpc => {
            report.add(crate::report::Place::new(host.source.clone(), "").problem(
                Code::NotForGrpcClients,
                format!("{} is found by DNS, which proxyless gRPC clients are not told of yet", host.name),
            ));
            let _ = names;
            return None;
        }
        Members::Dns(names) => Discovery::Dns(names.get(&port.number).cloned().unwrap_or_default()),
    };
    let (balancer, _) = balancer(&policy, group.kind, report);
    let pool = pool::pool(&policy, port.protocol, report);
    let upstream = match port.protocol {
        protocol if protocol.is_http2() => Upstream::Http2,
        Protocol::Sniffed => Upstream::AsClient,
        Protocol::Http => pool.upstream,
        _ => Upstream::Opaque,
    };
    let tls = tls::tls(&policy, upstream, group.kind, credentials, report).ok()?;
    Some(Cluster {
        name: host.cluster_name(port.number, subset).into(),
        discovery,
        upstream,
        balancer,
        connect_timeout: pool.connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        limits: pool.limits,
        connections: pool.connections,
        tls,
        outliers: outliers(&policy, group, report),
        source: host.source.clone(),
        rule: rule.and_then(|rule| rule.sources.first().cloned()),
        subset: Arc::from(subset),
    })
}

/// What requests to a cluster are hashed by; empty where its balancer does not hash.
pub(crate) fn hash_by(
    port: &Port,
    subset: &str,
    rule: Option<&HostRule<'_>>,
    kind: ProxyKind,
) -> Vec<HashBy> {
    let policy = rule.map(|rule| effective(rule, port.number, subset)).unwrap_or_default();
    balancer(&policy, kind, &mut Report::default()).1
}

fn outliers(policy: &Policy<'_>, group: &Group, report: &mut Report) -> Option<Outliers> {
    let (outliers, place) = policy.outlier_detection.as_ref()?;
    if outliers.consecutive_errors.is_some() {
        report.add(
            place
                .field("consecutiveErrors")
                .problem(Code::NoEffect, "consecutiveErrors was removed from the API and does nothing")
                .hint("use consecutive5xxErrors or consecutiveGatewayErrors"),
        );
    }
    if !outliers.outlier_detection_http_error_codes.is_empty() {
        report.add(
            place.field("outlierDetectionHttpErrorCodes").not_supported("the usual statuses count as errors"),
        );
    }
    if group.kind == ProxyKind::Grpc {
        report.add(place.problem(
            Code::NotForGrpcClients,
            "proxyless gRPC clients know no ejection by consecutive errors: they are not told of it",
        ));
        return None;
    }
    let percent = |field: &str, value: Option<i32>, report: &mut Report| {
        let value = value?;
        let clamped = u32::try_from(value.clamp(0, 100)).ok();
        if !(0..=100).contains(&value) {
            let message = format!("{value} is not a percentage and is taken as {}", value.clamp(0, 100));
            report.add(place.field(field).problem(Code::InvalidValue, message).hint("use 0 to 100"));
        }
        clamped
    };
    Some(Outliers {
        consecutive_5xx: outliers.consecutive_5xx_errors,
        consecutive_gateway_errors: outliers.consecutive_gateway_errors,
        consecutive_local_failures: outliers.consecutive_local_origin_failures,
        split_local_errors: outliers.split_external_local_origin_errors.unwrap_or(false),
        interval: pool::positive(outliers.interval, &place.field("interval"), report),
        base_ejection: pool::positive(outliers.base_ejection_time, &place.field("baseEjectionTime"), report),
        max_ejection_percent: percent("maxEjectionPercent", outliers.max_ejection_percent, report),
        min_health_percent: percent("minHealthPercent", outliers.min_health_percent, report).unwrap_or(0),
    })
}
