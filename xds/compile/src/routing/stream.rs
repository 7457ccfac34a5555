//! Rules for connections that no request is read from: by server name where TLS goes through sealed, and for opaque
//! TCP. They apply at gateways, to what is redirected to a sidecar, and to what a workload opens to the ports of
//! 127.0.0.1 that stand for those of Services.

use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{L4Destination, L4Match};

use super::destination::any_target;
use super::rule::{Via, weight};
use super::{Claim, MESH, Scope, gateway_name};
use crate::hosts::{is_domain, wildcard_covers};
use crate::ir::Streaming;
use crate::report::{Place, Report};

/// Where connections of some kind go.
#[derive(Clone, Debug)]
pub(crate) struct StreamRule {
    /// Server names and wildcards; empty for opaque TCP.
    pub(crate) server_names: Vec<String>,
    /// Destination addresses and prefix lengths; empty is any.
    pub(crate) subnets: Vec<(IpAddr, u8)>,
    pub(crate) clusters: Vec<(Arc<str>, u32)>,
    pub(crate) streaming: Streaming,
    pub(crate) place: Place,
}

/// The rules by server name of a VirtualService, for connections that come this way, the first to match first.
pub(crate) fn server_name_rules(
    claim: &Claim,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<StreamRule> {
    let mut found = Vec::new();
    for (index, route) in claim.service.spec.tls.iter().enumerate() {
        let place = Place::new(claim.source.clone(), "spec.tls").index(index);
        if route.r#match.is_empty() {
            report.add(
                place
                    .problem(Code::MissingField, "a rule by server name needs a match; it does nothing")
                    .hint("write match: [{sniHosts: [...]}]"),
            );
            continue;
        }
        for (index, written) in route.r#match.iter().enumerate() {
            let at = place.field("match").index(index);
            if !applies(written, claim, via, scope) {
                continue;
            }
            let server_names = server_names(written, claim, &at, report);
            let subnets = subnets(written, &at, report);
            if let Some(subnets) = subnets.filter(|_| !server_names.is_empty())
                && let Some((clusters, streaming)) = clusters(&route.route, claim, &place, via, scope, report)
            {
                found.push(StreamRule { server_names, subnets, clusters, streaming, place: at });
            }
        }
    }
    found
}

/// The rules for opaque connections that come this way, the first to match first; one for every address is the last.
pub(crate) fn tcp_rules(
    claim: &Claim,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<StreamRule> {
    let mut found = Vec::new();
    for (index, route) in claim.service.spec.tcp.iter().enumerate() {
        let place = Place::new(claim.source.clone(), "spec.tcp").index(index);
        let matched = match route.r#match.is_empty() {
            true => vec![(place.clone(), Vec::new())],
            false => matched(&route.r#match, claim, &place, via, scope, report),
        };
        for (at, subnets) in matched {
            let Some((clusters, streaming)) = clusters(&route.route, claim, &place, via, scope, report)
            else {
                continue;
            };
            let is_last = subnets.is_empty();
            found.push(StreamRule { server_names: Vec::new(), subnets, clusters, streaming, place: at });
            if is_last {
                return found;
            }
        }
    }
    found
}

/// Those of some matches that hold for connections that come this way, each with its addresses.
fn matched(
    written: &[L4Match],
    claim: &Claim,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<(Place, Vec<(IpAddr, u8)>)> {
    let mut found = Vec::new();
    for (index, written) in
        written.iter().enumerate().filter(|(_, written)| applies(written, claim, via, scope))
    {
        let place = place.field("match").index(index);
        if written.source_subnet.is_some() {
            let problem = place.field("sourceSubnet").not_supported("connections from anywhere match");
            report.add(problem.hint("choose clients by sourceLabels or sourceNamespace"));
        }
        if let Some(subnets) = subnets(written, &place, report) {
            found.push((place, subnets));
        }
    }
    found
}

fn applies(written: &L4Match, claim: &Claim, via: &Via<'_>, scope: &Scope<'_>) -> bool {
    if written.port.is_some_and(|port| port != u32::from(via.port)) {
        return false;
    }
    if written.gateways.is_empty() {
        let namespace = written.source_namespace.as_deref().filter(|namespace| !namespace.is_empty());
        return scope.group.has_labels(&written.source_labels)
            && namespace.is_none_or(|namespace| namespace == &*scope.group.namespace);
    }
    let mut named = written.gateways.iter().map(|name| gateway_name(name, &claim.service.meta.namespace));
    named.any(|name| name == via.gateway.unwrap_or(MESH))
}

/// The names of a match, each of which the VirtualService's hosts must cover.
fn server_names(written: &L4Match, claim: &Claim, place: &Place, report: &mut Report) -> Vec<String> {
    let place = place.field("sniHosts");
    if written.sni_hosts.is_empty() {
        report.add(place.problem(Code::MissingField, "a rule by server name needs one; it does nothing"));
    }
    let mut names = Vec::new();
    for (index, host) in written.sni_hosts.iter().enumerate() {
        let name = host.to_ascii_lowercase();
        let covered = claim.hosts.iter().any(|(_, host)| *host == name || wildcard_covers(host, &name));
        if !is_domain(&name) {
            let message = format!("{host:?} is not a host name; it matches nothing");
            report
                .add(place.index(index).problem(Code::InvalidValue, message).hint("write a name, or *.name"));
        } else if !covered {
            let message = format!("the VirtualService's hosts do not cover {name}; it matches nothing");
            report.add(
                place.index(index).problem(Code::InvalidValue, message).hint("add the name to spec.hosts"),
            );
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Addresses and prefix lengths; none where one of them is neither, for a match may not become wider.
fn subnets(written: &L4Match, place: &Place, report: &mut Report) -> Option<Vec<(IpAddr, u8)>> {
    let mut found = Vec::new();
    for (index, text) in written.destination_subnets.iter().enumerate() {
        let (address, length) = text.split_once('/').map_or((text.as_str(), None), |(a, l)| (a, Some(l)));
        let address: Option<IpAddr> = address.parse().ok();
        let widest = address.map_or(0, |address| if address.is_ipv4() { 32 } else { 128 });
        let length =
            length.map_or(Some(widest), |length| length.parse().ok()).filter(|length| *length <= widest);
        let Some(subnet) = address.zip(length) else {
            let message = format!("{text:?} is not a subnet; the rule does nothing");
            let place = place.field("destinationSubnets").index(index);
            report.add(place.problem(Code::InvalidValue, message).hint("write one such as 10.1.0.0/16"));
            return None;
        };
        if !found.contains(&subnet) {
            found.push(subnet);
        }
    }
    Some(found)
}

/// Clusters with the shares of connections that go to each, and how those are kept.
type Divided = (Vec<(Arc<str>, u32)>, Streaming);

fn clusters(
    written: &[L4Destination],
    claim: &Claim,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Divided> {
    let mut found = Vec::new();
    let mut kept: Option<Streaming> = None;
    let mut total = 0u64;
    for (index, destination) in written.iter().enumerate() {
        let place = place.field("route").index(index);
        let weight = weight(destination.weight, written.len() == 1, &place.field("weight"), report);
        let at = place.field("destination");
        let namespace = &claim.service.meta.namespace;
        let target = any_target(&destination.destination, namespace, &at, via, scope, report);
        if weight > 0 {
            total += u64::from(weight);
            let (own, at) = target.streaming(scope.group.kind);
            match (kept, at) {
                // Which destination a connection goes to is decided after how it is kept.
                (Some(first), Some(at)) if first != own => {
                    let message = "connections that are divided between destinations are kept as the rule of the \
                                   first of them says: this is not used for them";
                    let problem = at.problem(Code::NoEffect, message);
                    report.add(problem.hint(
                        "give every destination of a route the same idleTimeout, \
                                             maxConnectionDuration and hash",
                    ));
                }
                _ => {}
            }
            kept.get_or_insert(own);
            found.push((target.cluster, weight));
        }
    }
    if found.is_empty() || total > u64::from(u32::MAX) {
        let message = "the weights add up to nothing, or to more than 4294967295; connections are closed";
        let place = place.field("route");
        report.add(place.problem(Code::InvalidValue, message).hint("write weights such as 90 and 10"));
        return None;
    }
    Some((found, kept.unwrap_or_default()))
}
