//! What the workload beside a proxy serves: the ports that its Services lead to.
//!
//! A workload is known by its namespace and labels, so that its replicas share a snapshot; nothing here depends on the
//! address of one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_watcher::resources::{TargetPort, Transport};
use pilotage_watcher::{Code, ObjectKey, World};

use crate::Group;
use crate::hosts::{Host, Hosts, Members, Port};
use crate::protocol::Protocol;
use crate::report::{Place, Report};

/// A port of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) protocol: Protocol,
    /// The host and the port by which others know it.
    pub(crate) host: Arc<str>,
    pub(crate) port: u16,
    pub(crate) source: ObjectKey,
}

/// The ports of a group's workload, by the number that the workload listens on.
pub(crate) fn served(
    world: &World,
    hosts: &Hosts,
    group: &Group,
    report: &mut Report,
) -> BTreeMap<u16, Served> {
    let mut own: Vec<&Host> = hosts
        .iter()
        .filter(|host| host.namespace == group.namespace && is_behind(world, host, group))
        .collect();
    own.sort_by_key(|host| (host.created, &host.name));
    let mut served: BTreeMap<u16, Served> = BTreeMap::new();
    for host in own {
        for port in &host.ports {
            for target in targets(world, host, port) {
                if target == 0 {
                    let message =
                        format!("port {} leads to port 0 of the workload, which is none", port.number);
                    let place = Place::new(host.source.clone(), "spec.ports");
                    let problem = place.problem(Code::InvalidValue, message);
                    report.add(problem.hint("name the port that the workload listens on"));
                    continue;
                }
                let Some(first) = served.get(&target) else {
                    let found = Served {
                        protocol: port.protocol,
                        host: host.name.clone(),
                        port: port.number,
                        source: host.source.clone(),
                    };
                    served.insert(target, found);
                    continue;
                };
                if first.protocol != port.protocol {
                    let message = format!(
                        "port {} leads to port {target} of the workload, which {} declares to carry another \
                         protocol: that one is taken",
                        port.number, first.source
                    );
                    let place = Place::new(host.source.clone(), "spec.ports");
                    let problem = place.problem(Code::ConflictingPorts, message);
                    report.add(
                        problem.hint("declare one protocol for a port in every Service of the workload"),
                    );
                }
            }
        }
    }
    served
}

/// Whether the workload is among the endpoints of a host.
fn is_behind(world: &World, host: &Host, group: &Group) -> bool {
    match &host.members {
        Members::Slices { service, .. } => world.service(&host.namespace, service).is_some_and(|service| {
            let selector = &service.spec.selector;
            let has = |(key, value): (&Arc<str>, &Arc<str>)| group.labels.get(key) == Some(value);
            !selector.is_empty() && selector.iter().all(has)
        }),
        Members::Selected { labels, .. } => !labels.is_empty() && group.has_labels(&**labels),
        Members::Listed { .. } | Members::Dns { .. } | Members::Destination => false,
    }
}

/// The ports of the workload that a port of a host leads to: one, but for a named one that differs between Pods.
fn targets(world: &World, host: &Host, port: &Port) -> BTreeSet<u16> {
    let service = match &host.members {
        Members::Slices { service, .. } => service,
        Members::Selected { targets, .. } => {
            return BTreeSet::from([targets.get(&port.number).copied().unwrap_or(port.number)]);
        }
        Members::Listed { .. } | Members::Dns { .. } | Members::Destination => return BTreeSet::new(),
    };
    let written = world.service(&host.namespace, service);
    let written = written.and_then(|service| {
        service.spec.ports.iter().find(|own| own.port == port.number && own.transport == Transport::Tcp)
    });
    match written.map(|own| &own.target) {
        Some(TargetPort::Number(number)) => BTreeSet::from([*number]),
        Some(TargetPort::Name(_)) => world
            .slices_of(&host.namespace, service)
            .into_iter()
            .flat_map(|slice| &slice.spec.ports)
            .filter(|own| own.name == port.name && own.transport == Transport::Tcp && own.port != 0)
            .map(|own| own.port)
            .collect(),
        Some(TargetPort::Same) | None => BTreeSet::from([port.number]),
    }
}
