//! gRPC clients that speak xDS themselves: a listener for every name that one asks for, and what it leads to.
//!
//! A listener is named exactly as it is asked for, since the client waits for that name alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_protocol::Name;

use crate::blueprint::Blueprint;
use crate::hosts::{Host, Port, cluster_name};
use crate::ir::{Entry, Listener, RouteTable, VirtualHost};
use crate::routing::{Authority, Routing, Scope, Via, domains, rules, service_host};

/// Listeners and routes for the names that are asked for; a name that means nothing has none.
pub(crate) fn listeners(
    asked: &BTreeSet<Name>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) {
    for name in asked {
        let Some((routes, mut virtual_host)) = routes(name, scope, routing, blueprint) else { continue };
        // The client looks for its target as it is written, and several ways to write it share one table.
        let (authority, _) = split(name);
        let known = blueprint.routes.get(&routes).and_then(|table| table.hosts.first());
        let known = known.into_iter().flat_map(|host| &host.domains).cloned().collect::<Vec<_>>();
        let own = [name.clone(), authority.into()];
        let domains = virtual_host.domains.into_iter().chain(known).chain(own);
        virtual_host.domains = domains.collect::<BTreeSet<_>>().into_iter().collect();
        let entry = Entry::Client { routes: routes.clone() };
        blueprint
            .listeners
            .insert(name.clone(), Listener { name: name.clone(), entry, log: None, source: None });
        let hosts = vec![Arc::new(virtual_host)];
        blueprint.routes.insert(routes.clone(), RouteTable { name: routes, hosts, ignore_port: false });
    }
}

/// The name of the route table of a target, and its one virtual host.
fn routes(
    name: &str,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) -> Option<(Arc<str>, VirtualHost)> {
    let (authority, number) = split(name);
    let report = &mut blueprint.report;
    if let Some(host) = find(authority, scope) {
        let port = match number {
            Some(number) => host.port(u32::from(number)),
            None => usual_port(host),
        }?;
        // Another name with rules of its own goes by those.
        let forms = full_forms(authority, scope);
        let own = host.aliases.iter().find_map(|alias| {
            let claim = routing.owner_of_name(&alias.name)?;
            forms.iter().any(|form| **form == *alias.name).then_some((alias, claim))
        });
        let claim = own.map_or_else(|| routing.owner(&host.name), |(_, claim)| Some(claim));
        let routes = own.map_or(&host.name, |(alias, _)| &alias.name);
        let routes: Arc<str> = cluster_name(routes, u32::from(port.number), "").into();
        let mut virtual_host = service_host(host, port, claim, scope, report);
        let (full, short) = domains(host, port.number, Authority::WithOrWithoutPort, scope);
        virtual_host.domains = full.into_iter().chain(short).map(Arc::from).collect();
        return Some((routes, virtual_host));
    }
    // A host that is only routed: a VirtualService's own, or what one of its wildcards covers.
    let host = authority.to_ascii_lowercase();
    let claim = routing.owner(&host)?;
    let port = number.unwrap_or(80);
    let virtual_host = VirtualHost {
        name: format!("{host}:{port}").into(),
        domains: vec![format!("{host}:{port}").into()],
        rules: rules(claim, &Via { port, gateway: None }, scope, report),
        require_tls: false,
        source: Some(claim.source.clone()),
    };
    Some((cluster_name(&host, u32::from(port), "").into(), virtual_host))
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
    full_forms(authority, scope).iter().find_map(|form| scope.hosts.get(form))
}

fn full_forms(authority: &str, scope: &Scope<'_>) -> [String; 4] {
    let name = authority.trim_end_matches('.').to_ascii_lowercase();
    let domain = &scope.settings.cluster_domain;
    let namespace = &scope.group.namespace;
    [
        name.clone(),
        format!("{name}.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{namespace}.svc.{domain}"),
    ]
}

/// The port of a target without one: the only one, else the one that requests without a port mean.
fn usual_port(host: &Host) -> Option<&Port> {
    match &host.ports[..] {
        [only] => Some(only),
        _ => host.default_http_port(),
    }
}
