//! A DestinationRule's connection pool, as Envoy has it and as it works.

use anyhow::{Context, Result, ensure};
use pilotage_tests::{Backend, Dialect, Mesh, Proxy, Traffic, calls, host};
use serde_json::json;

const CLUSTER: &str = "outbound|80||echo.demo.svc.cluster.local";

const POOL: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: demo}
spec:
  host: echo.demo.svc.cluster.local
  trafficPolicy:
    connectionPool:
      tcp:
        maxConnections: 7
        connectTimeout: 3s
        tcpKeepalive: {time: 60s, interval: 10s, probes: 3}
      http:
        http1MaxPendingRequests: 9
        http2MaxRequests: 11
        maxRetries: 5
        maxConcurrentStreams: 13
        maxRequestsPerConnection: 50
        idleTimeout: 90s
";

#[tokio::test]
async fn every_pool_setting_reaches_envoy_and_connections_end_after_their_requests() -> Result<()> {
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], POOL).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let mut client = sidecar.client(&host("echo")).await?;

    let cluster = sidecar.cluster(CLUSTER).await?;
    let threshold = &cluster["circuit_breakers"]["thresholds"][0];
    for (limit, value) in [("max_connections", 7), ("max_pending_requests", 9), ("max_requests", 11)] {
        ensure!(threshold[limit] == value, "{limit}: {threshold}");
    }
    ensure!(threshold["max_retries"] == 5, "{threshold}");
    ensure!(cluster["connect_timeout"] == "3s", "{}", cluster["connect_timeout"]);
    let keepalive = json!({ "keepalive_probes": 3, "keepalive_time": 60, "keepalive_interval": 10 });
    let tcp = &cluster["upstream_connection_options"]["tcp_keepalive"];
    ensure!(*tcp == keepalive, "{tcp}");
    let options = &cluster["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"];
    let common = &options["common_http_protocol_options"];
    ensure!(common["idle_timeout"] == "90s" && common["max_requests_per_connection"] == 50, "{common}");
    let http2 = &options["explicit_http_config"]["http2_protocol_options"];
    ensure!(http2["max_concurrent_streams"] == 13, "{http2}");

    // With the one that `client` made, these fill three connections and begin a fourth.
    calls(&mut client, 150, &[]).await.none_failed()?;
    let stats = sidecar.envoy().stats(&format!("cluster.{CLUSTER}.")).await?;
    let stat = |name: &str| {
        stats
            .get(&format!("cluster.{CLUSTER}.{name}"))
            .copied()
            .with_context(|| format!("no {name}: {stats:?}"))
    };
    ensure!(stat("upstream_cx_http2_total")? == 4, "{} connections", stat("upstream_cx_http2_total")?);
    ensure!(
        stat("upstream_cx_max_requests")? == 3,
        "{} ended by requests",
        stat("upstream_cx_max_requests")?
    );
    ensure!(client.connections() == 1, "the client saw {} connections", client.connections());
    Ok(())
}

/// A limit that is set binds; what is over it is refused at once and counted.
#[tokio::test]
async fn more_requests_at_once_than_allowed_are_refused() -> Result<()> {
    let limit = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: demo}
spec:
  host: echo.demo.svc.cluster.local
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
";
    let mesh = Mesh::echo(vec![Backend::start("one", "v1").await?], limit).await?;
    let mut sidecar = Proxy::sidecar(&mesh, "sidecar", Dialect::Delta).await?;
    let client = sidecar.client(&host("echo")).await?;
    let traffic = Traffic::start(&client);
    traffic.flows(400).await?;
    let outcomes = traffic.stop().await?;
    // Older Envoys count these with the requests that wait for a connection.
    let mut stats = sidecar.envoy().stats(&format!("cluster.{CLUSTER}.upstream_rq_")).await?;
    stats.retain(|name, _| name.ends_with("_active_overflow") || name.ends_with("_pending_overflow"));
    ensure!(outcomes.failed > 0 && stats.values().sum::<u64>() == outcomes.failed, "{stats:?}, {outcomes:?}");
    ensure!(outcomes.server("one") > 0, "{outcomes:?}");
    Ok(())
}
