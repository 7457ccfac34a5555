//! gRPC clients that speak xDS themselves: a listener for every name that one asks for, and what it leads to.
//!
//! A listener is named exactly as it is asked for, since the client waits for that name alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_protocol::Name;

use crate::blueprint::Blueprint;
use crate::hosts::{Host, Port, cluster_name};
use crate::ir::{Entry, Listener, RouteTable, VirtualHost};
use crate::routing::{Authority, DomainTable, Routing, Scope, Via, domains, rules, service_host};

/// Listeners and routes for the names that are asked for; a name that means nothing has none.
pub(crate) fn listeners(
    asked: &BTreeSet<Name>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) {
    for name in asked {
        let Some(table) = routes(name, scope, routing, blueprint) else { continue };
        let entry = Entry::Client { routes: table.name.clone() };
        blueprint.listeners.insert(name.clone(), Listener { name: name.clone(), entry, source: None });
        blueprint.routes.insert(table.name.clone(), table);
    }
}

fn routes(
    name: &str,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) -> Option<RouteTable> {
    let (authority, number) = split(name);
    let report = &mut blueprint.report;
    if let Some(host) = find(authority, scope) {
        let port = match number {
            Some(number) => host.port(u32::from(number)),
            None => usual_port(host),
        }?;
        let routes: Arc<str> = host.cluster_name(port.number, "").into();
        let mut virtual_host = service_host(host, port, routing.owner(&host.name), scope, report);
        let (full, short) = domains(host, port.number, Authority::WithOrWithoutPort, scope);
        // The client looks for its target as it is written.
        let own = [name.to_owned(), authority.to_owned()];
        virtual_host.domains = DomainTable::default().take(own.into_iter().chain(full).chain(short));
        return Some(RouteTable { name: routes, hosts: vec![Arc::new(virtual_host)], ignore_port: false });
    }
    // A host that is only routed: a VirtualService's own, or what one of its wildcards covers.
    let host = authority.to_ascii_lowercase();
    let claim = routing.owner(&host)?;
    let port = number.unwrap_or(80);
    let virtual_host = VirtualHost {
        name: format!("{host}:{port}").into(),
        domains: DomainTable::default().take([
            name.to_owned(),
            authority.to_owned(),
            format!("{host}:{port}"),
        ]),
        rules: rules(claim, &Via { port, gateway: None }, scope, report),
        require_tls: false,
        source: Some(claim.source.clone()),
    };
    let routes = cluster_name(&host, u32::from(port), "").into();
    Some(RouteTable { name: routes, hosts: vec![Arc::new(virtual_host)], ignore_port: false })
}

/// The host and the port of a target.
fn split(name: &str) -> (&str, Option<u16>) {
    match name.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (name, None),
        },
        None => (name, None),
    }
}

/// The host that a target means: by its full name, or shortened from the right as far as DNS lets it be.
fn find<'a>(authority: &str, scope: &Scope<'a>) -> Option<&'a Host> {
    let name = authority.trim_end_matches('.').to_ascii_lowercase();
    let domain = &scope.settings.cluster_domain;
    let namespace = &scope.group.namespace;
    let forms = [
        name.clone(),
        format!("{name}.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{namespace}.svc.{domain}"),
    ];
    forms.iter().find_map(|form| scope.hosts.get(form))
}

/// The port of a target without one: the only one, else the one that requests without a port mean.
fn usual_port(host: &Host) -> Option<&Port> {
    match &host.ports[..] {
        [only] => Some(only),
        _ => host.default_http_port(),
    }
}
