//! The examples of `pilotage-server`, against a real Envoy, in both dialects.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use pilotage::tools::{Envoy, EnvoyProgram, Launch};
use pilotage_tests::eventually;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[allow(unreachable_pub)]
#[path = "../../xds/server/examples/channel.rs"]
mod channel;
#[allow(unreachable_pub)]
#[path = "../../xds/server/examples/embedded.rs"]
mod embedded;
#[allow(unreachable_pub)]
#[path = "../../xds/server/examples/static.rs"]
mod fixed;

const DIALECTS: [&str; 2] = ["DELTA_GRPC", "GRPC"];

async fn envoy(server: SocketAddr, dialect: &str, folder: &std::path::Path) -> Result<Envoy> {
    envoy_with(server, dialect, folder, "none").await
}

/// An Envoy that shows a token.
async fn envoy_with(
    server: SocketAddr,
    dialect: &str,
    folder: &std::path::Path,
    token: &str,
) -> Result<Envoy> {
    let port = server.port();
    let bootstrap = format!(
        r#"
node: {{id: "library", cluster: "library"}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
dynamic_resources:
  ads_config:
    api_type: {dialect}
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
    - envoy_grpc: {{cluster_name: xds}}
      initial_metadata: [{{key: authorization, value: "Bearer {token}"}}]
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}
"#
    );
    let program = EnvoyProgram::find(None).await?;
    let launch = Launch { name: "library", bootstrap: &bootstrap, folder, workers: 1 };
    Ok(Envoy::start(&program, &launch).await?)
}

/// Waits until an Envoy has these dynamic clusters, and no others.
async fn has_clusters(envoy: &Envoy, wanted: &[&str]) -> Result<()> {
    let wanted: BTreeSet<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    eventually(&format!("the clusters {wanted:?}"), async || {
        let dump = envoy.admin_json("/config_dump?resource=dynamic_active_clusters").await.ok()?;
        let clusters = dump["configs"].as_array().cloned().unwrap_or_default();
        let names = clusters.iter().filter_map(|one| Some(one["cluster"]["name"].as_str()?.to_owned()));
        (names.collect::<BTreeSet<_>>() == wanted).then_some(())
    })
    .await
}

#[tokio::test]
async fn the_static_example_serves_a_real_envoy() -> Result<()> {
    for dialect in DIALECTS {
        let (folder, shutdown) = (tempfile::tempdir()?, CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(fixed::serve_static(listener, shutdown.clone()));
        let envoy = envoy(address, dialect, folder.path()).await?;
        has_clusters(&envoy, &["blue", "red"]).await?;
        envoy.kill().await;
        shutdown.cancel();
        server.await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_channel_example_follows_its_channel() -> Result<()> {
    for dialect in DIALECTS {
        let folder = tempfile::tempdir()?;
        let (states, received) = mpsc::channel(1);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(channel::serve_channel(listener, received));
        let envoy = envoy(address, dialect, folder.path()).await?;
        states.send(vec!["one".to_owned()]).await?;
        has_clusters(&envoy, &["one"]).await?;
        states.send(vec!["one".to_owned(), "two".to_owned()]).await?;
        has_clusters(&envoy, &["one", "two"]).await?;
        states.send(vec!["two".to_owned()]).await?;
        has_clusters(&envoy, &["two"]).await?;
        envoy.kill().await;
        drop(states);
        server.await?;
    }
    Ok(())
}

/// In a server of the embedder's own, behind an interceptor: who has the token is served, who has another is not.
#[tokio::test]
async fn the_embedded_example_serves_who_has_the_token() -> Result<()> {
    for dialect in DIALECTS {
        let (known, stranger) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(embedded::serve_embedded(listener, shutdown.clone()));
        let known = envoy_with(address, dialect, known.path(), "token").await?;
        has_clusters(&known, &["green"]).await?;
        let stranger = envoy_with(address, dialect, stranger.path(), "other").await?;
        let refused = async || {
            let stats = stranger.stats("cluster_manager.cds.").await.ok()?;
            (*stats.get("cluster_manager.cds.update_failure")? > 0).then_some(stats)
        };
        let stats = eventually("a refusal", refused).await?;
        ensure!(stats["cluster_manager.cds.update_success"] == 0, "{stats:?}");
        known.kill().await;
        stranger.kill().await;
        shutdown.cancel();
        server.await??;
    }
    Ok(())
}
