//! Ports from which no request is read: told apart by the address that a connection was meant for, or by the server
//! name that it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::Code;

use super::PortPlan;
use crate::blueprint::Blueprint;
use crate::hosts::{Host, Members, Port};
use crate::ir::{Address, Branch, Capture, Entry, Intake, Listener, Service, Side, Speaks};
use crate::passage::{Passage, by_name, passage};
use crate::protocol::Protocol;
use crate::report::Place;
use crate::routing::{Routing, Scope};

/// What is done with connections to an opaque port of a host.
pub(super) fn streams(
    host: &Host,
    port: &Port,
    plan: &mut PortPlan,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    blueprint: &mut Blueprint,
) {
    let Passage { mut branches, otherwise: service } =
        passage(host, port, scope, routing, &mut blueprint.report);
    if host.addresses.is_empty() {
        if port.protocol == Protocol::Tls {
            branches.extend(by_name(host, service.clone(), &branches));
        }
        plan.take(host, port, branches, &mut blueprint.report);
    } else {
        at_addresses(host, port.number, &branches, &service, blueprint);
    }
    let (ranges, known): (Vec<_>, Vec<_>) =
        host.ranges.iter().copied().partition(|range| plan.taken.has_free_range(*range));
    if !known.is_empty() {
        let message = format!(
            "{} is of a host that comes first: connections to port {} go there",
            list(&known),
            port.number
        );
        let place = Place::new(host.source.clone(), "spec.addresses");
        let problem = place.problem(Code::DuplicateHost, message);
        blueprint.report.add(problem.hint("give each host a range of its own"));
    }
    if !ranges.is_empty() {
        plan.branches.push(Branch {
            port: None,
            subnets: ranges,
            speaks: Speaks::Anything,
            tls: None,
            service: service.clone(),
            source: Some(host.source.clone()),
        });
    }
    if !host.addresses.is_empty() || port.protocol == Protocol::Tls {
        return;
    }
    if host.ranges.is_empty() && goes_where_it_was_going(host) {
        match &plan.otherwise {
            None => plan.otherwise = Some((service, host.name.clone())),
            Some((_, first)) => {
                let message = format!(
                    "opaque connections to port {} cannot be told from those to {first}, which comes first: they \
                     reach their address under its policy",
                    port.number
                );
                let place = Place::new(host.source.clone(), "spec.ports");
                let hint = "give the host another port or an address, or declare the port's protocol";
                blueprint.report.add(place.problem(Code::NoEffect, message).hint(hint));
            }
        }
    } else if host.ranges.is_empty() {
        let message = format!(
            "{} has no address, and opaque connections to port {} do not say whom they are for: they are taken for \
             ones to a host that nobody knows",
            host.name, port.number
        );
        let problem = Place::new(host.source.clone(), "spec").problem(Code::NoEffect, message);
        blueprint.report.add(problem.hint("give the host an address, or declare the port tls or http"));
    }
}

fn list(ranges: &[(IpAddr, u8)]) -> String {
    let texts: Vec<String> = ranges.iter().map(|(address, length)| format!("{address}/{length}")).collect();
    texts.join(", ")
}

/// Whether the endpoints of a host are wherever its clients connect to.
fn goes_where_it_was_going(host: &Host) -> bool {
    matches!(host.members, Members::Destination | Members::Slices { headless: true, .. })
}

/// A listener at every address of a host.
pub(super) fn at_addresses(
    host: &Host,
    port: u16,
    branches: &[Branch],
    otherwise: &Service,
    blueprint: &mut Blueprint,
) {
    for text in &host.addresses {
        let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() else { continue };
        let name: Arc<str> = format!("{address}_{port}").into();
        if let Some(first) = blueprint.listeners.get(&name) {
            let first = first.source.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = format!("{first} has {address}:{port} and comes first: connections to it go there");
            let place = Place::new(host.source.clone(), "spec.addresses");
            let problem = place.problem(Code::DuplicateHost, message);
            blueprint.report.add(problem.hint("give each host an address of its own"));
            continue;
        }
        let capture = Capture {
            address: Address::Socket(address, port),
            intake: Intake::Handed,
            side: Side::Outbound,
            branches: branches.to_vec(),
            otherwise: Some(otherwise.clone()),
        };
        let entry = Entry::Captured(capture);
        let source = Some(host.source.clone());
        blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source });
    }
}
