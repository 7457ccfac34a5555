//! Which VirtualServices bind to a port of a gateway, and for which hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_watcher::{Code, ObjectKey};

use super::Bound;
use crate::hosts::{is_domain, wildcard_covers};
use crate::ir::{Rule, VirtualHost};
use crate::report::{Place, Report};
use crate::routing::{Claim, MESH, Routing, Scope, Via, rules};

/// A host of a port, as it is put together.
#[derive(Default)]
struct Binding {
    rules: Vec<Rule>,
    require_tls: bool,
    source: Option<ObjectKey>,
    /// The VirtualServices and Gateways that have given their rules.
    given: BTreeSet<(ObjectKey, String)>,
}

/// The virtual hosts of a port.
pub(super) fn hosts(
    servers: &[Bound<'_>],
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Vec<VirtualHost> {
    let mut claims: Vec<&Claim> = routing.claims().to_vec();
    claims.sort_by_key(|claim| claim.service.precedence());
    let mut bindings: BTreeMap<String, Binding> = BTreeMap::new();
    for bound in servers {
        let redirect = bound.server.tls.as_ref().and_then(|tls| tls.https_redirect).unwrap_or(false);
        for (index, written) in bound.server.hosts.iter().enumerate() {
            let Some((namespace, wanted)) = server_host(written, bound, index, report) else { continue };
            for claim in claims.iter().filter(|claim| claim.gateways.contains(&bound.gateway)) {
                if namespace.is_some_and(|namespace| *namespace != *claim.service.meta.namespace) {
                    continue;
                }
                for host in claim.hosts.iter().filter_map(|(_, host)| narrower(&wanted, host)) {
                    bind(bindings.entry(host.to_owned()).or_default(), claim, bound, redirect, scope, report);
                }
            }
            if redirect && !wanted.is_empty() {
                // A redirect needs no rule: plaintext is answered before any is looked at.
                let binding = bindings.entry(wanted).or_default();
                binding.require_tls = true;
                binding.source.get_or_insert_with(|| bound.source.clone());
            }
        }
    }
    let port = servers.first().map_or(0, Bound::number);
    bindings
        .into_iter()
        .map(|(host, mut binding)| {
            // One that matches everything must not hide what other VirtualServices say of the same host.
            binding.rules.sort_by_key(|rule| rule.condition.is_always());
            VirtualHost {
                name: format!("{host}:{port}").into(),
                domains: vec![Arc::from(host)],
                rules: binding.rules,
                require_tls: binding.require_tls,
                source: binding.source,
            }
        })
        .collect()
}

fn bind(
    binding: &mut Binding,
    claim: &Claim,
    bound: &Bound<'_>,
    redirect: bool,
    scope: &Scope<'_>,
    report: &mut Report,
) {
    binding.require_tls |= redirect;
    binding.source.get_or_insert_with(|| claim.source.clone());
    if binding.given.insert((claim.source.clone(), bound.gateway.clone())) {
        let via = Via { port: bound.number(), gateway: Some(&bound.gateway) };
        for rule in rules(claim, &via, scope, report) {
            // Two Gateways on one port may bring the same rules twice.
            if !binding.rules.contains(&rule) {
                binding.rules.push(rule);
            }
        }
    }
}

/// The namespace that a server's host is limited to, and the host.
pub(super) fn server_host<'a>(
    written: &'a str,
    bound: &'a Bound<'_>,
    index: usize,
    report: &mut Report,
) -> Option<(Option<&'a str>, String)> {
    let (namespace, host) = match written.split_once('/') {
        None | Some(("*", _)) => (None, written.rsplit('/').next().unwrap_or(written)),
        Some((".", host)) => (Some(&*bound.source.namespace), host),
        Some((namespace, host)) => (Some(namespace), host),
    };
    let host = host.to_ascii_lowercase();
    if !is_domain(&host) {
        let message = format!("{written:?} is not a host name");
        report.add(
            bound
                .place
                .field("hosts")
                .index(index)
                .problem(Code::InvalidValue, message)
                .hint("write a name, a wildcard such as *.example.com, or one of them behind namespace/"),
        );
        return None;
    }
    Some((namespace, host))
}

/// Those of some names that a server covers for a VirtualService: the narrower of each and a host of the server.
pub(super) fn covered(
    names: &[String],
    claim: &Claim,
    bound: &Bound<'_>,
    report: &mut Report,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for (index, written) in bound.server.hosts.iter().enumerate() {
        let Some((namespace, wanted)) = server_host(written, bound, index, report) else { continue };
        if namespace.is_some_and(|namespace| *namespace != *claim.service.meta.namespace) {
            continue;
        }
        for name in names.iter().filter_map(|name| narrower(&wanted, name)) {
            if !found.iter().any(|found| found == name) {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Whether a host of a VirtualService meets one of a server.
pub(super) fn covered_by_claim(claim: &Claim, bound: &Bound<'_>) -> bool {
    let hosts: Vec<String> = claim.hosts.iter().map(|(_, host)| host.clone()).collect();
    // What is wrong with the hosts of a server is told where its names are taken.
    !covered(&hosts, claim, bound, &mut Report::default()).is_empty()
}

/// The narrower of two hosts of which one covers the other.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if one == other || wildcard_covers(other, one) {
        Some(one)
    } else if wildcard_covers(one, other) {
        Some(other)
    } else {
        None
    }
}

/// What is wrong with how a VirtualService names its gateways and hosts, whichever proxy asks.
pub(crate) fn check(claim: &Claim, world: &pilotage_watcher::World, report: &mut Report) {
    let spec = Place::new(claim.source.clone(), "spec");
    let mut servers = Vec::new();
    let mut all_known = true;
    for (index, gateway) in claim.gateways.iter().enumerate().filter(|(_, gateway)| *gateway != MESH) {
        let found = gateway.split_once('/').and_then(|(namespace, name)| world.gateway(namespace, name));
        let Some(found) = found else {
            all_known = false;
            let names: Vec<String> = world
                .gateways()
                .map(|gateway| format!("{}/{}", gateway.meta.namespace, gateway.meta.name))
                .collect();
            let problem = spec
                .field("gateways")
                .index(index)
                .problem(Code::UnknownGateway, format!("there is no Gateway {gateway}"));
            report.add(match crate::hosts::nearest(gateway, names.iter().map(String::as_str)) {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => {
                    problem.hint("create the Gateway, or correct the name: namespace/name from elsewhere")
                }
            });
            continue;
        };
        servers.extend(found.spec.servers.iter().flat_map(|server| &server.hosts));
    }
    let on_mesh = claim.gateways.iter().any(|gateway| gateway == MESH);
    if on_mesh || !all_known {
        return;
    }
    for (index, host) in &claim.hosts {
        let bound = servers.iter().any(|server| {
            let server = server.rsplit('/').next().unwrap_or(server).to_ascii_lowercase();
            narrower(&server, host).is_some()
        });
        if !bound {
            let message = format!("no server of {} has the host {host}", claim.gateways.join(", "));
            report.add(
                spec.field("hosts")
                    .index(*index)
                    .problem(Code::HostNotOnGateway, message)
                    .hint("add the host to the Gateway's server, or correct it"),
            );
        }
    }
}
