//! The virtual hosts of sidecars by the name that they are for, and who is given which domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_protocol::Name;

use crate::egress;
use crate::hosts::{Changes, HostTable};
use crate::ir::VirtualHost;
use crate::parts::{Part, Parts};
use crate::report::Report;
use crate::routing::domains::{self, Domains, Given};
use crate::routing::{Naming, Reach, Routing, Scope, mesh_hosts};
use crate::sidecar::Sidecar;

/// The virtual hosts of one name.
#[derive(Clone, Debug)]
pub(crate) struct Mesh {
    given: Box<[Given]>,
}

/// Makes anew what a change reaches; `made` are the virtual hosts that came of it, and those that are gone.
pub(super) fn follow(
    parts: &mut Parts<Mesh>,
    changes: &Changes,
    hosts: &HostTable,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    made: &mut BTreeMap<Name, Option<VirtualHost>>,
) {
    let mut stale = parts.stale(changes);
    let is_quiet =
        !changes.everything && stale.iter().all(|name| is_uncontested(parts.get(name), name, scope, routing));
    let given = match is_quiet {
        true => None,
        false => {
            let given = domains::give_out(all(hosts, scope, routing).iter());
            let has_moved = |host: &Given| {
                given.get(&host.name).is_some_and(|domains| domains::hash_of(domains) != host.has)
            };
            let moved = parts.named().filter(|(_, part)| part.outcome.given.iter().any(has_moved));
            stale.extend(moved.map(|(name, _)| name.clone()));
            Some(given)
        }
    };
    for name in stale {
        let gone = parts.get(&name).into_iter().flat_map(|part| part.outcome.given.iter());
        made.extend(gone.map(|given| (given.name.clone(), None)));
        let part = part(&name, given.as_ref(), scope, routing, made);
        parts.set(&name, part);
    }
}

/// The virtual host that answers what no other does.
pub(super) fn last(scope: &Scope<'_>, sidecar: &Sidecar<'_>, report: &mut Report) -> Option<VirtualHost> {
    let crate::ProxyKind::Sidecar { egress_port, .. } = scope.group.kind else { return None };
    Some(egress::unknown_authority(egress_port, None, scope, sidecar, report))
}

fn is_uncontested(
    part: Option<&Part<Mesh>>,
    name: &Arc<str>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
) -> bool {
    let now = namings(name, scope, routing);
    let given = part.map(|part| &part.outcome.given[..]).unwrap_or_default();
    given.len() == now.len() && given.iter().zip(&now).all(|(given, now)| given.is_uncontested(now))
}

/// All virtual hosts in the order of precedence: those of Services by name, then those that are only routed.
fn all(hosts: &HostTable, scope: &Scope<'_>, routing: &Routing<'_>) -> Vec<Naming> {
    let of_hosts = hosts.names().flat_map(|name| namings(name, scope, routing));
    let routed = routing.names().filter(|name| scope.hosts.get(name).is_none());
    of_hosts.chain(routed.flat_map(|name| namings(name, scope, routing))).collect()
}

fn part(
    name: &Arc<str>,
    given: Option<&Domains>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    made: &mut BTreeMap<Name, Option<VirtualHost>>,
) -> Option<Part<Mesh>> {
    let mut report = Report::default();
    scope.hosts.begin(name);
    let namings = namings(name, scope, routing);
    let virtual_hosts = mesh_hosts(name, &namings, scope, routing, &mut report);
    let reads = scope.hosts.reads();
    let mut kept = Vec::with_capacity(namings.len());
    for (mut virtual_host, naming) in virtual_hosts.into_iter().zip(&namings) {
        let domains = match given {
            Some(given) => given.get(&naming.name).cloned().unwrap_or_default(),
            None => domains::all(naming),
        };
        kept.push(Given::new(naming, &domains));
        // One that nothing leads to would be refused.
        if !domains.is_empty() {
            virtual_host.domains = domains;
            made.insert(virtual_host.name.clone(), Some(virtual_host));
        }
    }
    let part = Part { outcome: Mesh { given: kept.into() }, problems: report.into_problems().into(), reads };
    (!namings.is_empty()).then_some(part)
}

fn namings(name: &Arc<str>, scope: &Scope<'_>, routing: &Routing<'_>) -> Vec<Naming> {
    crate::routing::namings(name, &Reach::ALL, scope, routing)
}
