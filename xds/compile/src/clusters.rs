//! Clusters: one per Service port and subset, with the policy that applies to it.
//!
//! A policy that cannot be kept without weakening what was asked for (TLS to the endpoints) leaves the cluster out:
//! its calls fail loudly rather than go out in plaintext.

mod balancer;
mod locality;
mod outliers;
mod pool;
mod proxyless;
mod tls;
mod warmup;

use std::sync::Arc;

use pilotage_watcher::resources::ConnectionPool;
use pilotage_watcher::{Code, Severity};

use crate::credentials::Credentials;
use crate::endpoints::Spread;
use crate::hosts::{Host, Members, Port, Resolve, tell_of_pipe};
use crate::ir::{Cluster, Discovery, DnsEndpoint, HashBy, ProxyVersion, Streaming, Upstream};
use crate::policy::{Policy, effective};
use crate::protocol::Protocol;
use crate::report::{Place, Report};
use crate::rules::HostRule;
use crate::{Group, ProxyKind, Settings};

pub(crate) use balancer::balancer;

/// The cluster of a host's port, and of a subset where one is named; none where it cannot be served as written.
pub(crate) fn cluster(
    host: &Host,
    port: &Port,
    subset: &str,
    rule: Option<&HostRule>,
    (group, settings): (&Group, &Settings),
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Option<(Cluster, Spread)> {
    let policy = rule.map(|rule| effective(rule, port.number, subset)).unwrap_or_default();
    for place in &policy.unserved {
        report.add(place.not_supported("connections are made without it"));
    }
    let discovery = match &host.members {
        Members::Destination => Discovery::Original { port: None },
        Members::Slices { headless: true, .. } if group.kind == ProxyKind::Intercepted => {
            Discovery::Original { port: None }
        }
        Members::Slices { .. } | Members::Listed { .. } | Members::Selected { .. } => Discovery::Assigned,
        Members::Dns { names, resolve } => {
            by_name(host, names.get(&port.number), *resolve, group.kind, report)?
        }
    };
    let (balancer, keys) = balancer(host, &policy, group.kind, report);
    let discovery = match passes_through(&policy) && group.kind == ProxyKind::Intercepted {
        true => Discovery::Original { port: None },
        false => discovery,
    };
    tell_unused(port, &policy, &discovery, &keys, report);
    let (spread, localities) = locality::spread(host, &policy, balancer, (group, settings), report);
    let pool = pool::pool(&policy, port.protocol, settings, report);
    if group.kind == ProxyKind::Grpc {
        proxyless::unknown_limits(&policy, report);
    }
    if let Members::Listed { entries, .. } = &host.members {
        for (index, entry) in entries.iter().enumerate() {
            let place = Place::new(host.source.clone(), "spec.endpoints").index(index);
            tell_of_pipe(entry, group.kind, &place, report);
        }
    }
    let upstream = match port.protocol {
        protocol if protocol.is_http2() => Upstream::Http2,
        Protocol::Sniffed => Upstream::AsClient,
        Protocol::Http => pool.upstream,
        _ => Upstream::Opaque,
    };
    let tls = tls::tls(&policy, host, upstream, group.kind, credentials, report).ok()?;
    if tls.is_none() && !host.certificate_names.is_empty() {
        let message = "without TLS there is no certificate that the names could be compared with";
        let place = Place::new(host.source.clone(), "spec.subjectAltNames");
        let problem = place.problem(Code::NoEffect, message);
        report.add(problem.hint("set tls: {mode: SIMPLE} in a DestinationRule for the host"));
    }
    let cluster = Cluster {
        name: host.cluster_name(port.number, subset).into(),
        discovery,
        upstream,
        warmup: warmup::warmup(&policy, balancer, group.kind, report),
        balancer,
        localities,
        proxy_protocol: proxy_protocol(&policy, group.kind, report),
        connect_timeout: pool.connect_timeout.unwrap_or(settings.connect_timeout.0),
        limits: pool.limits,
        connections: pool.connections,
        tls,
        outliers: outliers::outliers(&policy, group, report),
        from: None,
        source: Some(host.source.clone()),
        rule: rule.and_then(|rule| rule.sources.first().cloned()),
        subset: Arc::from(subset),
    };
    Some((cluster, spread))
}

/// A cluster with the limits of a connection pool that stands by itself.
pub(crate) fn pool_of(
    cluster: Cluster,
    written: &ConnectionPool,
    place: &Place,
    protocol: Protocol,
    report: &mut Report,
) -> Cluster {
    let policy = Policy { connection_pool: Some((written, place.clone())), ..Policy::default() };
    let pool = pool::pool(&policy, protocol, &Settings::default(), report);
    Cluster {
        connect_timeout: pool.connect_timeout.unwrap_or(cluster.connect_timeout),
        limits: pool.limits,
        connections: pool.connections,
        ..cluster
    }
}

/// The version of the PROXY protocol that connections begin with.
fn proxy_protocol(policy: &Policy<'_>, kind: ProxyKind, report: &mut Report) -> Option<ProxyVersion> {
    let (written, place) = policy.proxy_protocol.as_ref()?;
    if kind == ProxyKind::Grpc {
        let message = "gRPC clients do not speak the PROXY protocol: they connect without it";
        report.add(place.problem(Code::NotForGrpcClients, message));
        return None;
    }
    match written.version.as_deref() {
        None | Some("V1") => Some(ProxyVersion::V1),
        Some("V2") => Some(ProxyVersion::V2),
        Some(other) => {
            let message = format!("{other:?} is not a version of the PROXY protocol; V1 is used");
            let problem = place.field("version").problem(Code::InvalidValue, message);
            report.add(problem.hint("use V1 or V2"));
            Some(ProxyVersion::V1)
        }
    }
}

/// How names are resolved; none where the client cannot.
fn by_name(
    host: &Host,
    names: Option<&Vec<DnsEndpoint>>,
    resolve: Resolve,
    kind: ProxyKind,
    report: &mut Report,
) -> Option<Discovery> {
    let names = names.map(Vec::as_slice).unwrap_or_default();
    match (kind, resolve, names) {
        (ProxyKind::Grpc, _, [only]) | (_, Resolve::FirstAddress, [only, ..]) => {
            Some(Discovery::LatestName(only.clone()))
        }
        (ProxyKind::Grpc, _, _) => {
            let message = format!(
                "{} is found by {} names, and proxyless gRPC clients resolve exactly one",
                host.name,
                names.len()
            );
            report.add(Place::new(host.source.clone(), "").problem(Code::NotForGrpcClients, message));
            None
        }
        (_, _, names) => Some(Discovery::Dns(names.to_vec())),
    }
}

/// What requests to a cluster are hashed by; empty where its balancer does not hash.
pub(crate) fn hash_by(
    host: &Host,
    port: &Port,
    subset: &str,
    rule: Option<&HostRule>,
    kind: ProxyKind,
) -> Vec<HashBy> {
    let policy = rule.map(|rule| effective(rule, port.number, subset)).unwrap_or_default();
    balancer(host, &policy, kind, &mut Report::default()).1
}

/// How connections to a cluster are kept from which no request is read, and where that is written.
pub(crate) fn streaming(
    host: &Host,
    port: &Port,
    subset: &str,
    rule: Option<&HostRule>,
    kind: ProxyKind,
) -> (Streaming, Option<Place>) {
    let policy = rule.map(|rule| effective(rule, port.number, subset)).unwrap_or_default();
    let (_, keys) = balancer(host, &policy, kind, &mut Report::default());
    let of_pool = policy.connection_pool.as_ref().map(|(pool, _)| streaming_of(pool)).unwrap_or_default();
    let place = match of_pool == Streaming::default() {
        true => policy.load_balancer.map(|(_, place)| place.field("consistentHash")),
        false => policy.connection_pool.map(|(_, place)| place.field("tcp")),
    };
    (Streaming { by_source: keys.contains(&HashBy::SourceAddress), ..of_pool }, place)
}

/// How a pool that stands by itself keeps connections from which no request is read.
pub(crate) fn streaming_of(pool: &ConnectionPool) -> Streaming {
    pool.tcp.as_ref().map(pool::streaming).unwrap_or_default()
}

/// Whether connections are to go where they were going.
fn passes_through(policy: &Policy<'_>) -> bool {
    policy.load_balancer.as_ref().is_some_and(|(written, _)| written.simple.as_deref() == Some("PASSTHROUGH"))
}

/// Says what of a balancer does nothing for how a port's endpoints are found, or for what it carries.
fn tell_unused(
    port: &Port,
    policy: &Policy<'_>,
    discovery: &Discovery,
    keys: &[HashBy],
    report: &mut Report,
) {
    let Some((_, place)) = policy.load_balancer.as_ref() else { return };
    if matches!(discovery, Discovery::Original { .. }) && !passes_through(policy) {
        let message = "redirected connections to a host without an address of its own go where they were going: no \
                       endpoint is chosen";
        let problem = place.problem(Code::NoEffect, message).severity(Severity::Info);
        report.add(problem.hint("give the Service a cluster IP"));
    } else if port.protocol.is_opaque() && keys.iter().any(|key| *key != HashBy::SourceAddress) {
        let message = format!(
            "port {} is opaque TCP, from which no request is read: connections are hashed by nothing, and \
             endpoints are random",
            port.number
        );
        let problem = place.field("consistentHash").problem(Code::NoEffect, message);
        report.add(problem.hint("set useSourceIp, or declare the port's protocol: grpc, http2 or http"));
    }
}
