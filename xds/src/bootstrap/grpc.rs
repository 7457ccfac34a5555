//! The bootstrap of a proxyless gRPC client (gRFC A27), read by every gRPC language from `GRPC_XDS_BOOTSTRAP`.

use serde_json::{Value, json};

use super::Node;

/// The bootstrap, as JSON.
pub fn grpc(node: &Node) -> Value {
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
    json!({
        "xds_servers": [{
            "server_uri": format!("{host}:{}", node.server.port),
            "channel_creds": [{"type": "insecure"}],
            // Clients of today speak v3 only; older ones ask for the feature by name.
            "server_features": ["xds_v3"],
        }],
        "node": identity,
    })
}
