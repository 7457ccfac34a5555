//! What a Gateway's server is, by its protocol and its TLS mode, and on which socket.
//!
//! A server that asks for TLS is never opened in plaintext: one whose TLS cannot be served is not opened at all.

use std::net::{IpAddr, Ipv4Addr};

use pilotage_watcher::resources::{Server, ServerTls};
use pilotage_watcher::{Code, Severity};

use crate::report::{Place, Report};

/// A socket that servers share.
pub(super) type Socket = (u16, IpAddr);

/// What is done with the connections of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handling {
    /// Requests in plaintext.
    Http,
    /// Opaque bytes in plaintext.
    Tcp,
    /// Requests in TLS that ends here.
    Https,
    /// Opaque bytes in TLS that ends here.
    EndedTls,
    /// TLS that goes through sealed.
    SealedTls,
}

impl Handling {
    /// Whether servers of the two can share a socket.
    pub(super) fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Http, Self::Http) => true,
            (Self::Http | Self::Tcp, _) | (_, Self::Http | Self::Tcp) => false,
            _ => true,
        }
    }
}

/// The socket of a server and what it does; none where it cannot be opened, which is a problem.
pub(super) fn handling(server: &Server, place: &Place, report: &mut Report) -> Option<(Socket, Handling)> {
    let number = place.field("port.number");
    let Some(port) = u16::try_from(server.port.number).ok().filter(|port| *port != 0) else {
        let message = format!("{} is not a port; the server is not opened", server.port.number);
        report.add(number.problem(Code::InvalidValue, message).hint("use 1 to 65535"));
        return None;
    };
    if server.port.target_port.is_some() {
        let problem =
            place.field("port.targetPort").not_supported("the port that is listened on is its number");
        report.add(problem.hint("write the port in number; other implementations refuse targetPort"));
    }
    if server.default_endpoint.is_some() {
        let problem = place.field("defaultEndpoint").not_supported("nothing is sent there");
        report.add(problem.hint("write a VirtualService for the server's hosts"));
    }
    let address = match server.bind.as_deref().filter(|bind| !bind.is_empty()) {
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Some(bind) => match bind.parse() {
            Ok(address) => address,
            Err(_) => {
                let message = format!("{bind:?} is not an IP address; the server is not opened");
                report
                    .add(place.field("bind").problem(Code::NotSupported, message).hint("use an IP address"));
                return None;
            }
        },
    };
    let protocol = server.port.protocol.to_ascii_uppercase();
    let mode = tls_mode(server.tls.as_ref(), place, report)?;
    let handling = match (protocol.as_str(), mode) {
        ("HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB", Mode::None | Mode::Sealed) => Handling::Http,
        ("HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB", Mode::Ended) => {
            let message = format!(
                "protocol {protocol} is plaintext, and the server has TLS settings: it is taken as HTTPS; other \
                 implementations refuse it"
            );
            let place = place.field("port.protocol");
            report.add(
                place
                    .problem(Code::TlsOnPlaintext, message)
                    .hint("did you mean protocol: HTTPS? It carries gRPC as well"),
            );
            Handling::Https
        }
        ("HTTPS", Mode::Ended) => Handling::Https,
        ("TLS", Mode::Ended) => Handling::EndedTls,
        ("HTTPS" | "TLS", Mode::Sealed) => Handling::SealedTls,
        ("HTTPS" | "TLS", Mode::None) => {
            let message = format!("protocol {protocol} needs TLS settings; port {port} is not opened");
            let place = place.field("tls");
            report.add(
                place
                    .problem(Code::MissingField, message)
                    .hint("write tls: {mode: SIMPLE, credentialName: ...}, or mode: PASSTHROUGH"),
            );
            return None;
        }
        ("TCP" | "MONGO" | "REDIS" | "MYSQL", Mode::None | Mode::Sealed) => Handling::Tcp,
        ("TCP" | "MONGO" | "REDIS" | "MYSQL", Mode::Ended) => {
            let message = format!(
                "protocol {protocol} is plaintext, and the server has TLS settings: it is taken as TLS; other \
                 implementations refuse it"
            );
            let place = place.field("port.protocol");
            report.add(place.problem(Code::TlsOnPlaintext, message).hint("did you mean protocol: TLS?"));
            Handling::EndedTls
        }
        (other, _) => {
            let message = format!("{other:?} is not a protocol of a server; port {port} is not opened");
            report.add(
                place
                    .field("port.protocol")
                    .problem(Code::InvalidValue, message)
                    .hint("use HTTP, HTTP2, GRPC, HTTPS, TLS or TCP"),
            );
            return None;
        }
    };
    let redirects = server.tls.as_ref().and_then(|tls| tls.https_redirect) == Some(true);
    if redirects && handling != Handling::Http {
        let message = "only plaintext HTTP can be redirected to https; it does nothing here";
        report.add(
            place
                .field("tls.httpsRedirect")
                .problem(Code::NoEffect, message)
                .hint("put it on the server of port 80"),
        );
    }
    Some(((port, address), handling))
}

/// What becomes of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    None,
    Ended,
    Sealed,
}

fn tls_mode(tls: Option<&ServerTls>, place: &Place, report: &mut Report) -> Option<Mode> {
    let Some(tls) = tls else { return Some(Mode::None) };
    let has_certificate = tls.credential_name.is_some()
        || !tls.credential_names.is_empty()
        || tls.server_certificate.is_some()
        || !tls.tls_certificates.is_empty();
    let place = place.field("tls.mode");
    match tls.mode.as_deref() {
        None if !has_certificate && tls.https_redirect.is_some() => Some(Mode::None),
        Some("SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL") => Some(Mode::Ended),
        None | Some("PASSTHROUGH") if !has_certificate => Some(Mode::Sealed),
        None | Some("PASSTHROUGH") => {
            let message = "TLS that goes through sealed has no use for a certificate, so it is not clear what is \
                           meant; the server is not opened";
            report.add(
                place
                    .problem(Code::ConflictingFields, message)
                    .hint("set mode: SIMPLE to end TLS here, or remove the certificate"),
            );
            None
        }
        Some(mode @ ("ISTIO_MUTUAL" | "AUTO_PASSTHROUGH")) => {
            let message = format!("TLS mode {mode} is not supported; the server is not opened");
            let hint = match mode {
                "ISTIO_MUTUAL" => "use mode MUTUAL with a certificate of your own",
                _ => "use mode PASSTHROUGH and a VirtualService with tls rules",
            };
            report.add(place.problem(Code::NotSupported, message).severity(Severity::Error).hint(hint));
            None
        }
        Some(mode) => {
            let message = format!("{mode:?} is not a TLS mode; the server is not opened");
            report.add(
                place
                    .problem(Code::InvalidValue, message)
                    .hint("use SIMPLE, MUTUAL, OPTIONAL_MUTUAL or PASSTHROUGH"),
            );
            None
        }
    }
}
