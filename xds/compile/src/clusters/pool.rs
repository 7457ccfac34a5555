//! Connection pools: breakers, timeouts, keepalive, and which HTTP is spoken where the port leaves a choice.

use std::time::Duration;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpPool, Span, TcpPool};

use crate::ir::{Connections, Limits, Retries, Streaming, TcpKeepalive, Upstream};
use crate::policy::Policy;
use crate::protocol::Protocol;
use crate::report::{Place, Report};
use crate::{H2UpgradePolicy, Settings};

/// Pings on HTTP/2 connections where nothing says otherwise, by which a peer that is gone is found out.
const HTTP2_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// What a policy says of connections.
pub(super) struct Pool {
    pub(super) connect_timeout: Option<Duration>,
    pub(super) limits: Limits,
    pub(super) connections: Connections,
    /// For ports that are HTTP/1.1 unless upgraded.
    pub(super) upstream: Upstream,
}

pub(super) fn pool(
    policy: &Policy<'_>,
    protocol: Protocol,
    settings: &Settings,
    report: &mut Report,
) -> Pool {
    let usual = match settings.h2_upgrade_policy {
        H2UpgradePolicy::DoNotUpgrade => Upstream::Http1,
        H2UpgradePolicy::Upgrade => Upstream::Http2,
    };
    let mut pool = Pool {
        connect_timeout: None,
        limits: Limits::default(),
        connections: Connections::default(),
        upstream: usual,
    };
    if let Some((written, place)) = &policy.connection_pool {
        if let Some(tcp) = &written.tcp {
            of_tcp(&mut pool, tcp, &place.field("tcp"), report);
        }
        if let Some(http) = &written.http {
            of_http(&mut pool, http, protocol, &place.field("http"), report);
        }
    }
    if let Some(usual) = settings.tcp_keepalive.filter(|_| pool.connections.tcp_keepalive.is_none()) {
        let span =
            |span: Option<Span>| span.map(|span| span.0).filter(|span| *span >= Duration::from_secs(1));
        pool.connections.tcp_keepalive = Some(TcpKeepalive {
            probes: usual.probes.filter(|probes| *probes > 0),
            time: span(usual.time),
            interval: span(usual.interval),
        });
    }
    if protocol.is_http2() || pool.upstream == Upstream::Http2 || protocol == Protocol::Sniffed {
        pool.connections.http2_keepalive.get_or_insert(HTTP2_KEEPALIVE);
    }
    if let Some((budget, place)) = &policy.retry_budget {
        let percent = budget.percent.unwrap_or(20.0);
        if !(0.0..=100.0).contains(&percent) {
            let message = format!("{percent} is not a percentage; the nearest is used");
            report.add(place.field("percent").problem(Code::InvalidValue, message).hint("use 0 to 100"));
        }
        pool.limits.retries = Retries::Budget {
            // A float to an integer saturates, so that no value can do harm.
            millipercent: (percent.clamp(0.0, 100.0) * 1000.0).round() as u32,
            minimum: budget.min_retry_concurrency.unwrap_or(3),
            interval: positive(budget.budget_interval, &place.field("budgetInterval"), report),
        };
    }
    pool
}

fn of_tcp(pool: &mut Pool, tcp: &TcpPool, place: &Place, report: &mut Report) {
    pool.limits.connections = count(tcp.max_connections, &place.field("maxConnections"), report);
    pool.connect_timeout = positive(tcp.connect_timeout, &place.field("connectTimeout"), report);
    pool.connections.max_age =
        positive(tcp.max_connection_duration, &place.field("maxConnectionDuration"), report);
    // Zero is meant here: a connection that is never closed for being idle.
    pool.connections.idle_timeout = tcp.idle_timeout.map(|span| span.0);
    pool.connections.tcp_keepalive = tcp.tcp_keepalive.as_ref().map(|keepalive| TcpKeepalive {
        probes: keepalive.probes.filter(|probes| *probes > 0),
        time: positive(keepalive.time, &place.field("tcpKeepalive.time"), report),
        interval: positive(keepalive.interval, &place.field("tcpKeepalive.interval"), report),
    });
}

/// How opaque connections are kept, which it is the listener that counts time for.
pub(super) fn streaming(tcp: &TcpPool) -> Streaming {
    let at_least = |span: &Span| span.0 >= Duration::from_millis(1);
    Streaming {
        // Zero is meant here: a connection that is never closed for being idle.
        idle_timeout: tcp.idle_timeout.map(|span| span.0),
        max_age: tcp.max_connection_duration.filter(at_least).map(|span| span.0),
        by_source: false,
    }
}

fn of_http(pool: &mut Pool, http: &HttpPool, protocol: Protocol, place: &Place, report: &mut Report) {
    pool.limits.pending_requests =
        count(http.http1_max_pending_requests, &place.field("http1MaxPendingRequests"), report);
    pool.limits.requests = count(http.http2_max_requests, &place.field("http2MaxRequests"), report);
    if let Some(retries) = count(http.max_retries, &place.field("maxRetries"), report) {
        pool.limits.retries = Retries::Limit(retries);
    }
    let requests = place.field("maxRequestsPerConnection");
    pool.connections.requests_each = count(http.max_requests_per_connection, &requests, report);
    if pool.connections.requests_each == Some(1) && protocol.is_grpc() {
        report.add(
            requests
                .problem(
                    Code::HarmfulForGrpc,
                    "one request per connection makes every gRPC call open a connection, and calls fail while \
                     connections close",
                )
                .hint("leave it out: gRPC calls are balanced one by one on shared connections"),
        );
    }
    if let Some(idle) = http.idle_timeout {
        pool.connections.idle_timeout = Some(idle.0);
    }
    pool.upstream = upstream(http, pool.upstream, protocol, place, report);
    let streams = place.field("maxConcurrentStreams");
    pool.connections.streams_each = count(http.max_concurrent_streams, &streams, report);
    let is_http2 = protocol.is_http2() || (protocol == Protocol::Http && pool.upstream == Upstream::Http2);
    if pool.connections.streams_each.is_some() && !is_http2 {
        report.add(
            streams
                .problem(Code::NoEffect, "the port is not HTTP/2, so there are no streams to limit")
                .hint("declare the port grpc or http2, or set h2UpgradePolicy: UPGRADE"),
        );
        pool.connections.streams_each = None;
    }
    if let Some(keepalive) = &http.http2_keep_alive {
        let place = place.field("http2KeepAlive");
        match (keepalive.interval, keepalive.timeout) {
            (Some(interval), Some(timeout)) => {
                let interval = positive(Some(interval), &place.field("interval"), report);
                let timeout = positive(Some(timeout), &place.field("timeout"), report);
                pool.connections.http2_keepalive = interval.zip(timeout);
            }
            _ => report.add(
                place
                    .problem(
                        Code::MissingField,
                        "interval and timeout are both needed; the usual pings are sent",
                    )
                    .hint("set both"),
            ),
        }
    }
}

/// Which HTTP a port that is declared `http` is spoken to in.
fn upstream(
    http: &HttpPool,
    usual: Upstream,
    protocol: Protocol,
    place: &Place,
    report: &mut Report,
) -> Upstream {
    let client = http.use_client_protocol == Some(true);
    let written = http.h2_upgrade_policy.as_deref().filter(|policy| *policy != "DEFAULT");
    let upgrade = match written {
        None => usual == Upstream::Http2,
        Some("DO_NOT_UPGRADE") => false,
        Some("UPGRADE") => true,
        Some(other) => {
            let message = format!("{other:?} is not an upgrade policy; connections are not upgraded");
            report.add(
                place
                    .field("h2UpgradePolicy")
                    .problem(Code::InvalidValue, message)
                    .hint("use DEFAULT, UPGRADE or DO_NOT_UPGRADE"),
            );
            false
        }
    };
    if protocol.is_http2() && written.is_some() {
        report.add(
            place
                .field("h2UpgradePolicy")
                .problem(Code::NoEffect, "the port is HTTP/2 by its declaration, whatever this says")
                .severity(pilotage_watcher::Severity::Info),
        );
    }
    if client && written == Some("UPGRADE") {
        report.add(place.field("h2UpgradePolicy").problem(
            Code::ConflictingFields,
            "useClientProtocol excludes UPGRADE; the client's protocol is used",
        ));
    }
    match (client, upgrade) {
        (true, _) => Upstream::AsClient,
        (false, true) => Upstream::Http2,
        (false, false) => Upstream::Http1,
    }
}

/// A limit; 0 and unset are none.
fn count(value: Option<i64>, place: &Place, report: &mut Report) -> Option<u32> {
    let value = value?;
    if value < 0 || value > i64::from(u32::MAX) {
        let message = format!("{value} is not a limit; none is set");
        report
            .add(place.problem(Code::InvalidValue, message).hint("use 0 for no limit, or up to 4294967295"));
        return None;
    }
    u32::try_from(value).ok().filter(|value| *value > 0)
}

/// A duration that must not be zero; unset where it is.
pub(super) fn positive(value: Option<Span>, place: &Place, report: &mut Report) -> Option<Duration> {
    let value = value?.0;
    if value < Duration::from_millis(1) {
        let message = "the duration is below 1 ms; the default is used";
        report.add(place.problem(Code::InvalidValue, message).hint("write 1ms or more"));
        return None;
    }
    Some(value)
}
