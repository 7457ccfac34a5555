//! Gateways: the listeners of a proxy at the edge, and the hosts that VirtualServices bind to them.
//!
//! Plaintext servers on one port share a route table; a host in it is the more specific of what the server and the
//! VirtualService name, and VirtualServices of one host follow one another. Servers of TLS on one port are told apart
//! by the name that a client asks for ([`chains`]); a server that asks for TLS is never opened in plaintext.

mod binding;
mod chains;
mod server;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pilotage_watcher::resources::{Gateway, Server, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Problem, World};

use crate::blueprint::Blueprint;
use crate::credentials::Credentials;
use crate::ir::{Edge, Entry, Listener, RouteTable, VirtualHost};
use crate::report::{Place, Report};
use crate::routing::{Routing, Scope};
use crate::workload::Doors;

pub(crate) use binding::check;
use server::{Handling, Socket, handling};
pub(crate) use tls::tls as server_tls;

/// A server of a Gateway that selects the proxy.
#[derive(Clone)]
pub(crate) struct Bound<'w> {
    pub(crate) server: &'w Server,
    /// `namespace/name` of its Gateway.
    pub(crate) gateway: String,
    pub(crate) source: ObjectKey,
    pub(crate) place: Place,
    handling: Handling,
}

impl Bound<'_> {
    /// The port that the server is written for, which is not the one that is listened on where a Service leads there.
    fn number(&self) -> u16 {
        u16::try_from(self.server.port.number).unwrap_or(0)
    }

    fn is_grpc_web(&self) -> bool {
        self.server.port.protocol.eq_ignore_ascii_case("GRPC-WEB")
    }
}

/// Listeners and routes of the Gateways that select the group.
///
/// The port of a server is that of a Service in front of the gateway: what is listened on is where that leads. A port
/// that no such Service has is listened on as it is.
pub(crate) fn listeners(
    world: &World,
    doors: &Doors,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    credentials: &mut Credentials<'_>,
    blueprint: &mut Blueprint,
) {
    let mut selected: Vec<_> =
        world.gateways().filter(|gateway| scope.group.has_labels(&gateway.spec.selector)).collect();
    selected.sort_by_key(|gateway| gateway.precedence());
    let mut sockets: BTreeMap<Socket, Vec<Bound<'_>>> = BTreeMap::new();
    for gateway in selected {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let place = place(gateway, index);
            let Some((socket, handling)) = handling(server, &place, &mut blueprint.report) else { continue };
            let bound = bound(gateway, server, place, handling);
            let (number, address) = socket;
            for port in behind(number, doors, &bound, &mut blueprint.report) {
                let servers = sockets.entry((port, address)).or_default();
                match servers.first().filter(|first| !first.handling.goes_with(handling)) {
                    None => servers.push(bound.clone()),
                    Some(first) => blueprint.report.add(conflict(&bound, port, first)),
                }
            }
        }
    }
    for (socket, servers) in sockets {
        let Some(first) = servers.first() else { continue };
        let entry = match first.handling {
            Handling::Http => Some(plaintext(socket, &servers, scope, routing, blueprint)),
            Handling::Tcp | Handling::Https | Handling::EndedTls | Handling::SealedTls => {
                let chains = chains::chains(socket, &servers, scope, routing, credentials, blueprint);
                // A socket without a chain would take connections only to close them.
                let (port, address) = socket;
                (!chains.is_empty()).then_some(Entry::Chains { address, port, chains })
            }
        };
        if let Some(entry) = entry {
            let name: Arc<str> = format!("{}_{}", socket.1, socket.0).into();
            let source = Some(first.source.clone());
            blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source });
        }
    }
}

/// The ports that are listened on for a server of this one.
fn behind(number: u16, doors: &Doors, bound: &Bound<'_>, report: &mut Report) -> BTreeSet<u16> {
    if let Some(targets) = doors.get(&number).filter(|targets| !targets.is_empty()) {
        return targets.clone();
    }
    // A Gateway may name the port of the proxy itself.
    if !doors.is_empty() && !doors.contains_key(&number) && !doors.values().any(|own| own.contains(&number)) {
        let ports: Vec<String> = doors.keys().map(ToString::to_string).collect();
        let message = format!(
            "no Service in front of the gateway has port {number}: nobody who calls a Service gets there; its ports \
             are {}",
            ports.join(", ")
        );
        let problem = bound.place.field("port.number").problem(Code::UnexposedPort, message);
        report.add(problem.hint("add the port to the Service, or write one that it has"));
    }
    BTreeSet::from([number])
}

fn place(gateway: &WithMeta<Gateway>, index: usize) -> Place {
    let meta = &gateway.meta;
    let source = ObjectKey::new(Kind::Gateway, meta.namespace.clone(), meta.name.clone());
    Place::new(source, "spec.servers").index(index)
}

fn bound<'w>(gateway: &WithMeta<Gateway>, server: &'w Server, place: Place, handling: Handling) -> Bound<'w> {
    let gateway = format!("{}/{}", gateway.meta.namespace, gateway.meta.name);
    Bound { server, gateway, source: place.object.clone(), place, handling }
}

/// The problem of a server that cannot share its port.
fn conflict(bound: &Bound<'_>, port: u16, first: &Bound<'_>) -> Problem {
    let message = format!(
        "port {port} is taken by {} ({}) with protocol {}, which protocol {} cannot share: the server is not opened",
        first.source, first.place.path, first.server.port.protocol, bound.server.port.protocol
    );
    bound
        .place
        .field("port")
        .problem(Code::ConflictingGateways, message)
        .hint("use another port; only plaintext HTTP goes with plaintext HTTP, and TLS with TLS")
}

/// One route table for all servers of plaintext HTTP of a socket.
fn plaintext(
    (port, address): Socket,
    servers: &[Bound<'_>],
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) -> Entry {
    let routes: Arc<str> = format!("http.{port}{}", suffix(address)).into();
    let grpc_web = servers.iter().any(Bound::is_grpc_web);
    route_table(routes.clone(), port, servers, scope, routing, blueprint);
    Entry::Http { address, port, routes, edge: Edge::Outside, grpc_web }
}

/// Adds the route table of these servers.
fn route_table(
    name: Arc<str>,
    port: u16,
    servers: &[Bound<'_>],
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) {
    let mut hosts = binding::hosts(servers, scope, routing, &mut blueprint.report);
    if hosts.is_empty() {
        hosts.push(nothing(port));
    }
    let hosts = hosts.into_iter().map(Arc::new).collect();
    blueprint.routes.insert(name.clone(), RouteTable { name, hosts, ignore_port: true });
}

/// What is added to the names of resources for a socket of one address.
fn suffix(address: IpAddr) -> String {
    match address == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        true => String::new(),
        false => format!(".{address}"),
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
