//! Gateways: the listeners of a proxy at the edge, and the hosts that VirtualServices bind to them.
//!
//! A server that asks for TLS is never opened in plaintext. Plaintext servers on one port share a route table; a host
//! in it is the more specific of what the server and the VirtualService name, and VirtualServices of one host follow
//! one another.

mod binding;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pilotage_watcher::resources::{Gateway, Server, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity, World};

use crate::blueprint::Blueprint;
use crate::ir::{Edge, Entry, Listener, RouteTable, VirtualHost};
use crate::report::{Place, Report};
use crate::routing::{Routing, Scope};

pub(crate) use binding::check;

/// A socket that servers share.
type Socket = (u16, IpAddr);

/// A server of a Gateway that selects the proxy.
pub(crate) struct Bound<'w> {
    pub(crate) server: &'w Server,
    /// `namespace/name` of its Gateway.
    pub(crate) gateway: String,
    pub(crate) source: ObjectKey,
    pub(crate) place: Place,
}

/// Listeners and routes of the Gateways that select the group.
pub(crate) fn listeners(world: &World, scope: &Scope<'_>, routing: &Routing<'_>, blueprint: &mut Blueprint) {
    let mut selected: Vec<_> =
        world.gateways().filter(|gateway| scope.group.has_labels(&gateway.spec.selector)).collect();
    selected.sort_by_key(|gateway| gateway.precedence());
    let mut sockets: BTreeMap<Socket, Vec<Bound<'_>>> = BTreeMap::new();
    for gateway in selected {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let bound = bound(gateway, index, server);
            if let Some(socket) = plaintext(&bound, &mut blueprint.report) {
                sockets.entry(socket).or_default().push(bound);
            }
        }
    }
    for ((port, address), servers) in sockets {
        let everywhere = address == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let routes: Arc<str> = match everywhere {
            true => format!("http.{port}").into(),
            false => format!("http.{port}.{address}").into(),
        };
        let mut hosts = binding::hosts(port, &servers, scope, routing, &mut blueprint.report);
        if hosts.is_empty() {
            hosts.push(nothing(port));
        }
        let hosts = hosts.into_iter().map(Arc::new).collect();
        let table = RouteTable { name: routes.clone(), hosts, ignore_port: true };
        let name: Arc<str> = format!("{address}_{port}").into();
        let grpc_web =
            servers.iter().any(|bound| bound.server.port.protocol.eq_ignore_ascii_case("GRPC-WEB"));
        let entry = Entry::Http { address, port, routes: routes.clone(), edge: Edge::Outside, grpc_web };
        let source = servers.first().map(|server| server.source.clone());
        blueprint.routes.insert(routes, table);
        blueprint.listeners.insert(name.clone(), Listener { name, entry, source });
    }
}

fn bound<'w>(gateway: &'w WithMeta<Gateway>, index: usize, server: &'w Server) -> Bound<'w> {
    let meta = &gateway.meta;
    let source = ObjectKey::new(Kind::Gateway, meta.namespace.clone(), meta.name.clone());
    Bound {
        server,
        gateway: format!("{}/{}", meta.namespace, meta.name),
        place: Place::new(source.clone(), "spec.servers").index(index),
        source,
    }
}

/// The socket of a server that takes plaintext HTTP; none for any other, which is a problem.
fn plaintext(bound: &Bound<'_>, report: &mut Report) -> Option<Socket> {
    let Bound { server, place, .. } = bound;
    let protocol = server.port.protocol.to_ascii_uppercase();
    let number = place.field("port.number");
    let Some(port) = u16::try_from(server.port.number).ok().filter(|port| *port != 0) else {
        let message = format!("{} is not a port; the server is not opened", server.port.number);
        report.add(number.problem(Code::InvalidValue, message).hint("use 1 to 65535"));
        return None;
    };
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
    let tls = server.tls.as_ref();
    match protocol.as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => {
            let terminates = tls.is_some_and(|tls| {
                tls.mode.as_deref().is_some_and(|mode| mode != "PASSTHROUGH")
                    || tls.credential_name.is_some()
                    || !tls.credential_names.is_empty()
                    || tls.server_certificate.is_some()
                    || !tls.tls_certificates.is_empty()
            });
            if terminates {
                let message = format!(
                    "protocol {protocol} is plaintext, and the server has TLS settings: it is not opened, since \
                     plaintext is not what is meant"
                );
                report.add(
                    place
                        .field("tls")
                        .problem(Code::TlsOnPlaintext, message)
                        .severity(Severity::Error)
                        .hint("set protocol: HTTPS, which carries gRPC as well"),
                );
                return None;
            }
            Some((port, address))
        }
        "HTTPS" | "TLS" | "TCP" | "MONGO" | "REDIS" | "MYSQL" => {
            let message =
                format!("servers of protocol {protocol} are not supported yet: port {port} is not opened");
            report.add(
                place.field("port.protocol").problem(Code::NotSupported, message).severity(Severity::Error),
            );
            None
        }
        other => {
            let message = format!("{other:?} is not a protocol of a server; port {port} is not opened");
            report.add(
                place
                    .field("port.protocol")
                    .problem(Code::InvalidValue, message)
                    .hint("use HTTP, HTTP2, GRPC or HTTPS"),
            );
            None
        }
    }
}

/// What a port answers to that no VirtualService binds to: 404, by having no rule.
fn nothing(port: u16) -> VirtualHost {
    VirtualHost {
        name: format!("blackhole:{port}").into(),
        domains: vec!["*".into()],
        rules: Vec::new(),
        require_tls: false,
        source: None,
    }
}
