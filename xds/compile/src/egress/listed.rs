//! Egress listeners of a Sidecar object that have a socket of their own: a port or a Unix socket for some hosts.

use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::Code;

use super::{LOOPBACK, unknown_authority};
use crate::blueprint::Blueprint;
use crate::hosts::{Host, Port};
use crate::interception::insert;
use crate::ir::{Address, Branch, Capture, Intake, RouteTable, Service, Side, Speaks};
use crate::passage::{Passage, passage};
use crate::protocol::{Note, of_text};
use crate::report::Report;
use crate::routing::{Authority, Reach, Routing, Scope, mesh_table, usual};
use crate::sidecar::{Egress, Sidecar};

/// Adds the listeners.
pub(crate) fn listed(
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    sidecar: &Sidecar<'_>,
    blueprint: &mut Blueprint,
) {
    for egress in sidecar.own_sockets(scope.group.kind) {
        let Some((address, name)) = address(egress, &mut blueprint.report) else { continue };
        if blueprint.listeners.contains_key(&name) {
            let message = format!("{name} is taken: this listener is not opened");
            let problem = egress.place.field("port").problem(Code::ConflictingFields, message);
            blueprint.report.add(problem.hint("give each listener a port of its own"));
            continue;
        }
        let Some(port) = &egress.written.port else { continue };
        let word = port.protocol.as_deref().unwrap_or_default();
        let number = u16::try_from(port.number).unwrap_or(0);
        let protocol = of_text(word, number, scope.settings.undeclared_ports, Note::Unknown).protocol;
        let passage = match protocol.is_http() {
            true => Some(Passage {
                branches: Vec::new(),
                otherwise: routed(egress, &name, number, scope, routing, sidecar, blueprint),
            }),
            false => passed_on(egress, number, scope, routing, &mut blueprint.report),
        };
        let Some(Passage { mut branches, otherwise }) = passage else { continue };
        branches.push(Branch {
            port: None,
            subnets: Vec::new(),
            speaks: Speaks::Anything,
            tls: None,
            service: otherwise,
            source: Some(egress.place.object.clone()),
        });
        let capture =
            Capture { address, intake: Intake::Own, side: Side::Outbound, branches, otherwise: None };
        insert(name, capture, blueprint);
    }
}

/// Where a listener listens, and its name.
fn address(egress: &Egress<'_>, report: &mut Report) -> Option<(Address, Arc<str>)> {
    let bind = egress.written.bind.as_deref().filter(|bind| !bind.is_empty());
    if let Some(path) = bind.and_then(|bind| bind.strip_prefix("unix://")) {
        let found = Address::pipe(path).map(|pipe| (pipe, Arc::from(path)));
        if found.is_none() {
            let message = format!("{path:?} cannot be a Unix socket: the listener is not opened");
            let problem = egress.place.field("bind").problem(Code::InvalidValue, message);
            report.add(problem.hint("write unix:///path/of/socket or unix://@name, of at most 107 bytes"));
        }
        return found;
    }
    let number = egress.written.port.as_ref().map(|port| port.number).unwrap_or_default();
    let Some(number) = u16::try_from(number).ok().filter(|number| *number != 0) else {
        let message = format!("{number} is no port that can be listened on");
        let problem = egress.place.field("port.number").problem(Code::InvalidValue, message);
        report.add(problem.hint("use 1 to 65535"));
        return None;
    };
    let address = match bind.map(str::parse::<IpAddr>) {
        None => LOOPBACK,
        Some(Ok(address)) => address,
        Some(Err(_)) => {
            let message =
                format!("{:?} is not an address: the listener is not opened", bind.unwrap_or_default());
            let problem = egress.place.field("bind").problem(Code::InvalidValue, message);
            report.add(problem.hint("write an address of the machine, or unix:///path/of/socket"));
            return None;
        }
    };
    Some((Address::Socket(address, number), format!("{address}_{number}").into()))
}

/// Requests, routed by whom they say that they are for.
fn routed(
    egress: &Egress<'_>,
    name: &Arc<str>,
    number: u16,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    sidecar: &Sidecar<'_>,
    blueprint: &mut Blueprint,
) -> Service {
    let listed = |host: &Host, port: &Port| {
        let way = usual(host, port).filter(|_| egress.lists(host, scope.group));
        // A host alone means the listener's own port, where the host has that.
        match host.port(u32::from(number)).filter(|own| own.protocol.is_http()) {
            Some(own) if own.number == port.number => way.map(|_| Authority::WithOrWithoutPort),
            Some(_) => way.map(|_| Authority::WithPort),
            None => way,
        }
    };
    let reach = Reach { ports: &listed, routed: &|_| false };
    let mut hosts = mesh_table(&reach, scope, routing, &mut blueprint.report);
    hosts.push(Arc::new(unknown_authority(number, None, scope, sidecar, &mut blueprint.report)));
    let routes: Arc<str> = format!("egress|{name}").into();
    let table = RouteTable { name: routes.clone(), hosts, ignore_port: false };
    blueprint.routes.insert(routes.clone(), table);
    Service::Http { routes, grpc_web: false }
}

/// Connections, to the one host that has the port.
fn passed_on(
    egress: &Egress<'_>,
    number: u16,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Option<Passage> {
    let mut hosts: Vec<&Host> = scope.hosts.iter().filter(|host| egress.lists(host, scope.group)).collect();
    hosts.retain(|host| host.port(u32::from(number)).is_some());
    hosts.sort_by_key(|host| (host.created, &host.namespace, &host.name));
    let Some(first) = hosts.first() else {
        let message = format!("none of the hosts has port {number}: the listener is not opened");
        let problem = egress.place.field("hosts").problem(Code::NoEffect, message);
        report.add(problem.hint("list a host with this port"));
        return None;
    };
    if hosts.len() > 1 {
        let message = format!(
            "several of the hosts have port {number}, and opaque connections do not say whom they are for: they go \
             to {}",
            first.name
        );
        let problem = egress.place.field("hosts").problem(Code::NoEffect, message);
        report.add(problem.hint("list one host, or declare an HTTP protocol for the port"));
    }
    scope.hosts.note(&first.name);
    first.port(u32::from(number)).map(|port| passage(first, port, scope, routing, report))
}
