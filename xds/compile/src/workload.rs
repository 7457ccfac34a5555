//! What the workload beside a proxy serves: the ports that its Services lead to.
//!
//! A workload is known by its namespace and labels, so that its replicas share a snapshot; nothing here depends on the
//! address of one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_watcher::resources::{Service, TargetPort, Transport, WithMeta};
use pilotage_watcher::{Code, ObjectKey, Problem, World};

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
                    report.add(conflict(&host.source, port.number, &target.to_string(), &first.source));
                }
            }
        }
    }
    served
}

/// The problem of a port that leads where another object's leads, under another protocol.
pub(crate) fn conflict(source: &ObjectKey, port: u16, target: &str, first: &ObjectKey) -> Problem {
    let message = format!(
        "port {port} leads to port {target} of the workload, which {first} declares to carry another protocol: that \
         one is taken"
    );
    let problem = Place::new(source.clone(), "spec.ports").problem(Code::ConflictingPorts, message);
    problem.hint("declare one protocol for a port in every Service of the workload")
}

/// Ports of Services, each with those of the workload that it leads to.
pub(crate) type Doors = BTreeMap<u16, BTreeSet<u16>>;

/// The ports of the Services that lead to a group's workload.
pub(crate) fn doors(world: &World, group: &Group) -> Doors {
    let mut doors = Doors::new();
    for service in world.services_in(&group.namespace).filter(|service| selects(service, group)) {
        for port in service.spec.ports.iter().filter(|port| port.transport == Transport::Tcp) {
            let name = &service.meta.name;
            let targets = match &port.target {
                TargetPort::Number(number) => BTreeSet::from([*number]),
                TargetPort::Name(_) => named(world, &group.namespace, name, &port.name),
                TargetPort::Same => BTreeSet::from([port.port]),
            };
            doors.entry(port.port).or_default().extend(targets);
        }
    }
    doors
}

fn selects(service: &WithMeta<Service>, group: &Group) -> bool {
    let selector = &service.spec.selector;
    let has = |(key, value): (&Arc<str>, &Arc<str>)| group.labels.get(key) == Some(value);
    !selector.is_empty() && selector.iter().all(has)
}

/// The numbers that a port of a Service leads to by the name of a container's port: one, but where Pods differ.
fn named(world: &World, namespace: &str, service: &str, port: &str) -> BTreeSet<u16> {
    let slices = world.slices_of(namespace, service).into_iter();
    slices
        .flat_map(|slice| &slice.spec.ports)
        .filter(|own| *own.name == *port && own.transport == Transport::Tcp && own.port != 0)
        .map(|own| own.port)
        .collect()
}

/// Whether the workload is among the endpoints of a host.
fn is_behind(world: &World, host: &Host, group: &Group) -> bool {
    match &host.members {
        Members::Slices { service, .. } => {
            world.service(&host.namespace, service).is_some_and(|service| selects(service, group))
        }
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
        Some(TargetPort::Name(_)) => named(world, &host.namespace, service, &port.name),
        Some(TargetPort::Same) | None => BTreeSet::from([port.number]),
    }
}
