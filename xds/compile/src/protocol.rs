//! Which protocol a port carries, by `appProtocol`, by its name, or by its number.
//!
//! The order is fixed: an `appProtocol` that is present decides alone, even when it is not known; then the prefix of
//! the name; then the ports of protocols in which the server speaks first, which must never be sniffed.

use pilotage_watcher::resources::{ServicePort, Transport};

use crate::UndeclaredPorts;

/// What a port carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    /// HTTP of a version that each connection shows.
    Sniffed,
    Tcp,
    /// TLS from the client to the endpoint, opaque in between.
    Tls,
    /// A datagram transport, which is not proxied.
    Datagram,
}

impl Protocol {
    /// Whether requests are routed one by one.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb | Self::Sniffed)
    }

    /// Whether endpoints are spoken to in HTTP/2 and nothing else.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether the calls are known to be gRPC.
    pub(crate) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// Whether bytes go through unread.
    pub(crate) fn is_opaque(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

/// Something worth telling about how a protocol was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// Neither `appProtocol` nor the name says anything.
    Undeclared,
    /// `appProtocol` or `protocol` holds a word that means nothing.
    Unknown,
    /// The word is another name for a known one.
    Alias,
}

/// A protocol and how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub(crate) protocol: Protocol,
    pub(crate) note: Option<Note>,
}

/// The protocol of a Service's port.
pub(crate) fn of_service_port(port: &ServicePort, undeclared: UndeclaredPorts) -> Declared {
    if port.transport != Transport::Tcp {
        return Declared { protocol: Protocol::Datagram, note: None };
    }
    match &port.app_protocol {
        Some(app_protocol) => {
            let kubernetes = match &**app_protocol {
                "kubernetes.io/h2c" => Some(Protocol::Http2),
                "kubernetes.io/ws" => Some(Protocol::Http),
                "kubernetes.io/wss" => Some(Protocol::Tls),
                _ => None,
            };
            match kubernetes {
                Some(protocol) => Declared { protocol, note: None },
                None => of_text(app_protocol, port.port, undeclared, Note::Unknown),
            }
        }
        None => of_text(&port.name, port.port, undeclared, Note::Undeclared),
    }
}

/// The protocol that a text names: whole words, or a word and a `-` before anything else.
///
/// `otherwise` is the note for a text that names none.
pub(crate) fn of_text(text: &str, port: u16, undeclared: UndeclaredPorts, otherwise: Note) -> Declared {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("grpc-web") {
        return Declared { protocol: Protocol::GrpcWeb, note: None };
    }
    let word = lower.split('-').next().unwrap_or_default();
    let (protocol, note) = match word {
        "http" | "http_proxy" => (Protocol::Http, None),
        "http2" => (Protocol::Http2, None),
        "grpc" => (Protocol::Grpc, None),
        "tcp" | "mongo" | "redis" | "mysql" => (Protocol::Tcp, None),
        "tls" | "https" => (Protocol::Tls, None),
        "udp" => (Protocol::Datagram, None),
        "h2" | "h2c" => (Protocol::Http2, Some(Note::Alias)),
        "ws" => (Protocol::Http, Some(Note::Alias)),
        "wss" => (Protocol::Tls, Some(Note::Alias)),
        // SMTP, DNS, MySQL and MongoDB by their usual ports: in some the server speaks first, so nothing can be sniffed.
        _ if matches!(port, 25 | 53 | 3306 | 27017) => (Protocol::Tcp, None),
        _ => match undeclared {
            UndeclaredPorts::Tcp => (Protocol::Tcp, Some(otherwise)),
            UndeclaredPorts::Sniff => (Protocol::Sniffed, (otherwise == Note::Unknown).then_some(otherwise)),
        },
    };
    Declared { protocol, note }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, app_protocol: Option<&str>, number: u16) -> ServicePort {
        ServicePort {
            name: name.into(),
            port: number,
            app_protocol: app_protocol.map(Into::into),
            ..ServicePort::default()
        }
    }

    fn declared(name: &str, app_protocol: Option<&str>, number: u16) -> (Protocol, Option<Note>) {
        let found = of_service_port(&port(name, app_protocol, number), UndeclaredPorts::Tcp);
        (found.protocol, found.note)
    }

    #[test]
    fn name_prefix_decides_up_to_the_first_dash_and_without_case() {
        assert_eq!(declared("grpc-api", None, 50051), (Protocol::Grpc, None));
        assert_eq!(declared("GRPC", None, 50051), (Protocol::Grpc, None));
        assert_eq!(declared("grpc-web-ui", None, 80), (Protocol::GrpcWeb, None));
        assert_eq!(declared("grpcfoo", None, 50051), (Protocol::Tcp, Some(Note::Undeclared)));
        assert_eq!(declared("https", None, 443), (Protocol::Tls, None));
        assert_eq!(declared("", None, 8080), (Protocol::Tcp, Some(Note::Undeclared)));
    }

    #[test]
    fn app_protocol_wins_over_the_name_even_when_it_is_unknown() {
        assert_eq!(declared("http", Some("grpc"), 80), (Protocol::Grpc, None));
        assert_eq!(declared("grpc", Some("postgres"), 80), (Protocol::Tcp, Some(Note::Unknown)));
        assert_eq!(declared("grpc", Some(""), 80), (Protocol::Tcp, Some(Note::Unknown)));
        assert_eq!(declared("x", Some("kubernetes.io/h2c"), 80), (Protocol::Http2, None));
        assert_eq!(declared("x", Some("Kubernetes.io/h2c"), 80), (Protocol::Tcp, Some(Note::Unknown)));
    }

    #[test]
    fn aliases_are_taken_with_a_note() {
        assert_eq!(declared("x", Some("h2"), 80), (Protocol::Http2, Some(Note::Alias)));
        assert_eq!(declared("h2c-api", None, 80), (Protocol::Http2, Some(Note::Alias)));
        assert_eq!(declared("wss", None, 80), (Protocol::Tls, Some(Note::Alias)));
    }

    #[test]
    fn well_known_ports_are_opaque_without_a_note_and_never_sniffed() {
        assert_eq!(declared("db", None, 3306), (Protocol::Tcp, None));
        let sniffed = of_service_port(&port("db", None, 3306), UndeclaredPorts::Sniff);
        assert_eq!(sniffed.protocol, Protocol::Tcp);
        let sniffed = of_service_port(&port("api", None, 8080), UndeclaredPorts::Sniff);
        assert_eq!(sniffed, Declared { protocol: Protocol::Sniffed, note: None });
    }

    #[test]
    fn datagrams_are_not_proxied_whatever_the_name_says() {
        let udp = ServicePort { transport: Transport::Udp, ..port("grpc", Some("grpc"), 53) };
        assert_eq!(of_service_port(&udp, UndeclaredPorts::Tcp).protocol, Protocol::Datagram);
    }
}
