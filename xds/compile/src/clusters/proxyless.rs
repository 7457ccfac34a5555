//! What of a connection pool a gRPC client that speaks xDS itself does not have: of breakers it knows the number of
//! requests alone (A32), and its connections are its own.

use pilotage_watcher::Code;

use crate::policy::Policy;
use crate::report::Report;

/// Tells of every field that has no effect on such a client.
pub(super) fn unknown_limits(policy: &Policy<'_>, report: &mut Report) {
    let of_clients =
        "proxyless gRPC clients limit the number of requests (http2MaxRequests) and nothing else";
    if let Some((pool, place)) = &policy.connection_pool {
        let tcp = pool.tcp.iter().flat_map(|tcp| {
            [
                ("tcp.maxConnections", tcp.max_connections.is_some()),
                ("tcp.connectTimeout", tcp.connect_timeout.is_some()),
                ("tcp.tcpKeepalive", tcp.tcp_keepalive.is_some()),
                ("tcp.maxConnectionDuration", tcp.max_connection_duration.is_some()),
                ("tcp.idleTimeout", tcp.idle_timeout.is_some()),
            ]
        });
        let http = pool.http.iter().flat_map(|http| {
            [
                ("http.http1MaxPendingRequests", http.http1_max_pending_requests.is_some()),
                ("http.maxRequestsPerConnection", http.max_requests_per_connection.is_some()),
                ("http.maxRetries", http.max_retries.is_some()),
                ("http.idleTimeout", http.idle_timeout.is_some()),
                ("http.maxConcurrentStreams", http.max_concurrent_streams.is_some()),
                ("http.http2KeepAlive", http.http2_keep_alive.is_some()),
            ]
        });
        for (field, _) in tcp.chain(http).filter(|(_, is_written)| *is_written) {
            let problem = place.field(field).problem(Code::NotForGrpcClients, of_clients);
            report.add(problem.hint("set it in the channel's own options, or call through a sidecar"));
        }
    }
    if let Some((_, place)) = &policy.retry_budget {
        let message = "proxyless gRPC clients have no budget of retries: they make as many as attempts says";
        report.add(place.problem(Code::NotForGrpcClients, message));
    }
}
