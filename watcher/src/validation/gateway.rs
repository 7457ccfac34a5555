//! Gateway.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::Gateway;

/// The protocols of a server's port.
pub(crate) const PROTOCOLS: &[&str] =
    &["HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB", "TCP", "TLS", "MONGO", "REDIS", "MYSQL"];

/// The versions of TLS, as a server's bounds name them.
pub(crate) const TLS_VERSIONS: &[&str] = &["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"];

impl Validate for Gateway {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.servers.is_empty() {
            checks.missing("spec", "there are no `servers`");
        }
        for (index, server) in self.servers.iter().enumerate() {
            let path = format!("spec.servers[{index}]");
            checks.port(&format!("{path}.port.number"), server.port.number);
            // Protocol names are read without regard to case.
            let protocol = server.port.protocol.to_ascii_uppercase();
            if protocol.is_empty() {
                checks.missing(&format!("{path}.port"), "the port has no `protocol`");
            } else {
                checks.one_of(&format!("{path}.port.protocol"), Some(&protocol), PROTOCOLS);
            }
            if server.hosts.is_empty() {
                checks.missing(&path, "the server has no `hosts`");
            }
            let Some(tls) = &server.tls else { continue };
            let modes =
                &["PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"];
            checks.one_of(&format!("{path}.tls.mode"), tls.mode.as_deref(), modes);
            for (field, version) in [
                ("minProtocolVersion", &tls.min_protocol_version),
                ("maxProtocolVersion", &tls.max_protocol_version),
            ] {
                checks.one_of(&format!("{path}.tls.{field}"), version.as_deref(), TLS_VERSIONS);
            }
        }
        checks.problems
    }
}
