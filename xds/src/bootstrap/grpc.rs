//! The bootstrap of a proxyless gRPC client (gRFC A27), read by every gRPC language from `GRPC_XDS_BOOTSTRAP`.

use serde_json::{Value, json};

use super::Node;

/// The bootstrap, as JSON.
///
/// # Errors
/// Certificates that do not go together.
pub fn grpc(node: &Node) -> anyhow::Result<Value> {
    let trust = node.trust.of_grpc()?;
    let mut identity = json!({"id": node.id, "cluster": node.namespace, "metadata": node.metadata("grpc")});
    if let Some(locality) = node.locality() {
        identity["locality"] = locality;
    }
    // Brackets around a literal IPv6 address: the URI is a gRPC target.
    let host = if node.server.host.contains(':') {
        format!("[{}]", node.server.host)
    } else {
        node.server.host.clone()
    };
    let mut server = json!({
        "server_uri": format!("{host}:{}", node.server.port),
        "channel_creds": [trust.channel],
        // Clients of today speak v3 only; older ones ask for the feature by name.
        "server_features": ["xds_v3"],
    });
    if let Some(call) = trust.call {
        server["call_creds"] = json!([call]);
    }
    Ok(json!({"xds_servers": [server], "node": identity}))
}
