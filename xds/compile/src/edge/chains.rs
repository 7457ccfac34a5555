//! The chains of a socket: of servers of TLS, one for each set of server names; of a server of opaque TCP, its one.
//!
//! Every name is taken once, by the oldest Gateway that can serve it: two chains of one name would make Envoy refuse the
//! listener, and every other server of the port with it.

use std::sync::Arc;

use pilotage_watcher::Code;

use super::server::{Handling, Socket};
use super::{Bound, binding, route_table, suffix, tls};
use crate::blueprint::Blueprint;
use crate::credentials::Credentials;
use crate::ir::{Chain, Service, Transport};
use crate::passage::Taken;
use crate::report::Report;
use crate::routing::{Claim, Routing, Scope, StreamRule, Via, server_name_rules, tcp_rules};

/// The chains of the servers that share a socket.
pub(super) fn chains(
    socket: Socket,
    servers: &[Bound<'_>],
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    credentials: &mut Credentials<'_>,
    blueprint: &mut Blueprint,
) -> Vec<Chain> {
    let mut taken = Taken::default();
    let mut chains = Vec::new();
    for bound in servers {
        let report = &mut blueprint.report;
        match bound.handling {
            Handling::Http => {}
            Handling::Tcp => chains.extend(opaque(socket.0, bound, scope, routing, report)),
            Handling::SealedTls => chains.extend(sealed(socket.0, bound, scope, routing, &mut taken, report)),
            Handling::Https | Handling::EndedTls => {
                chains.extend(ended(socket, bound, scope, routing, credentials, &mut taken, blueprint));
            }
        }
    }
    chains
}

/// A server that ends TLS.
fn ended(
    socket: Socket,
    bound: &Bound<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    credentials: &mut Credentials<'_>,
    taken: &mut Taken,
    blueprint: &mut Blueprint,
) -> Option<Chain> {
    let (port, address) = socket;
    let report = &mut blueprint.report;
    let is_http = bound.handling == Handling::Https;
    let written = bound.server.tls.as_ref()?;
    let tls = tls::tls(written, is_http, &bound.place.field("tls"), credentials, report)?;
    let rule = match is_http {
        true => None,
        false => Some(first_tcp_rule(port, bound, scope, routing, report)?),
    };
    let subnets = rule.as_ref().map(|rule| rule.subnets.clone()).unwrap_or_default();
    let hosts = bound.server.hosts.iter().enumerate();
    let mut names: Vec<String> =
        hosts.filter_map(|(index, host)| Some(binding::server_host(host, bound, index, report)?.1)).collect();
    names.sort();
    names.dedup();
    let (free, conflicting) = taken.take(names, &subnets);
    tell_conflicts(&conflicting, port, bound, report);
    if free.is_empty() {
        return None;
    }
    let service = match rule {
        Some(rule) => opaque_service(bound, port, &rule),
        None => {
            let Bound { source, server, .. } = bound;
            let mut routes =
                format!("https.{port}.{}.{}.{}", server.port.name, source.name, source.namespace);
            routes.push_str(&suffix(address));
            if blueprint.routes.contains_key(routes.as_str()) {
                // Two servers of one Gateway with one name; the path tells them apart.
                routes = format!("{routes}.{}", bound.place.path);
            }
            let routes: Arc<str> = routes.into();
            route_table(routes.clone(), port, std::slice::from_ref(bound), scope, routing, blueprint);
            Service::Http { routes, grpc_web: bound.is_grpc_web() }
        }
    };
    Some(Chain {
        server_names: server_names(free),
        subnets,
        transport: Transport::Ended(Arc::new(tls)),
        service,
        source: bound.source.clone(),
    })
}

/// A server that lets TLS through: a chain for each rule by server name of the VirtualServices that bind to it.
fn sealed(
    port: u16,
    bound: &Bound<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    taken: &mut Taken,
    report: &mut Report,
) -> Vec<Chain> {
    let mut chains = Vec::new();
    let via = Via { port: bound.number(), gateway: Some(&bound.gateway) };
    for claim in claims(bound, routing) {
        for rule in server_name_rules(claim, &via, scope, report) {
            let names = binding::covered(&rule.server_names, claim, bound, report);
            if names.is_empty() {
                continue;
            }
            let (free, unreachable) = taken.take(names, &rule.subnets);
            if !unreachable.is_empty() {
                let message = format!(
                    "connections for {} on port {port} are routed by a rule or server that comes first",
                    unreachable.join(", ")
                );
                report.add(
                    rule.place
                        .problem(Code::UnreachableRule, message)
                        .hint("give each server name one rule; the older object comes first"),
                );
            }
            if !free.is_empty() {
                chains.push(Chain {
                    server_names: server_names(free),
                    transport: Transport::Sealed,
                    service: opaque_service(bound, port, &rule),
                    subnets: rule.subnets,
                    source: claim.source.clone(),
                });
            }
        }
    }
    if chains.is_empty() {
        unrouted(port, "tls", bound, report);
    }
    chains
}

/// A server of opaque TCP.
fn opaque(
    port: u16,
    bound: &Bound<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Option<Chain> {
    let rule = first_tcp_rule(port, bound, scope, routing, report)?;
    Some(Chain {
        server_names: Vec::new(),
        transport: Transport::Plaintext,
        service: opaque_service(bound, port, &rule),
        subnets: rule.subnets,
        source: bound.source.clone(),
    })
}

/// The rule for opaque connections of the oldest VirtualService that has one.
fn first_tcp_rule(
    port: u16,
    bound: &Bound<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Option<StreamRule> {
    let via = Via { port: bound.number(), gateway: Some(&bound.gateway) };
    let mut found: Option<StreamRule> = None;
    for claim in claims(bound, routing) {
        // A host of an opaque server means nothing, but its namespace does.
        if binding::covered_by_claim(claim, bound) {
            match (&found, tcp_rules(claim, &via, scope, report).into_iter().next()) {
                (_, None) => {}
                (None, rule) => found = rule,
                (Some(first), Some(rule)) => {
                    let message = format!(
                        "opaque connections to port {port} are routed by {} already",
                        first.place.object
                    );
                    let problem = rule.place.problem(Code::UnreachableRule, message);
                    report.add(problem.hint("a port without TLS has one rule; use another port"));
                }
            }
        }
    }
    if found.is_none() {
        unrouted(port, "tcp", bound, report);
    }
    found
}

/// The VirtualServices that name a server's Gateway, the oldest first.
fn claims<'a>(bound: &Bound<'_>, routing: &Routing<'a>) -> Vec<&'a Claim> {
    let mut claims: Vec<_> =
        routing.claims().iter().copied().filter(|claim| claim.gateways.contains(&bound.gateway)).collect();
    claims.sort_by_key(|claim| claim.service.precedence());
    claims
}

fn unrouted(port: u16, rules: &str, bound: &Bound<'_>, report: &mut Report) {
    let message =
        format!("no {rules} rule of a VirtualService binds to this server: port {port} is not opened for it");
    report.add(
        bound
            .place
            .problem(Code::NoEffect, message)
            .hint(format!("write a VirtualService with gateways: [{}] and {rules} rules", bound.gateway)),
    );
}

fn tell_conflicts(names: &[String], port: u16, bound: &Bound<'_>, report: &mut Report) {
    if !names.is_empty() {
        let message = format!(
            "TLS for {} on port {port} belongs to a server that comes first: this one is not used for it",
            names.join(", ")
        );
        report.add(
            bound
                .place
                .field("hosts")
                .problem(Code::ConflictingGateways, message)
                .hint("name each host in one server of a port; the older Gateway comes first"),
        );
    }
}

/// As Envoy takes them: a name for all is none.
fn server_names(names: Vec<String>) -> Vec<Arc<str>> {
    if names.iter().any(|name| name == "*") {
        return Vec::new();
    }
    names.into_iter().map(Arc::from).collect()
}

/// The connections of a rule, counted by their server.
fn opaque_service(bound: &Bound<'_>, port: u16, rule: &StreamRule) -> Service {
    let name = format!("{}.{}.{port}", bound.source.name, bound.source.namespace).into();
    Service::Opaque { name, clusters: rule.clusters.clone(), streaming: rule.streaming }
}
