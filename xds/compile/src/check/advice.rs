//! What is wrong with objects that each do what they say: that no translation meets, since it is only together, or for
//! want of workloads, that they do not do what was meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::resources::{Gateway, Labels, Meta, Pod, Service, TargetPort, Transport, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, World};

use crate::Settings;
use crate::hosts::expand;
use crate::protocol;
use crate::report::{Place, Report};
use crate::routing::{MESH, gateway_name};
use crate::workload;

/// What follows from what is configured.
pub(super) fn of_config(world: &World, settings: &Settings, report: &mut Report) {
    shared_certificates(world, report);
    bypassed_rules(world, settings, report);
    shared_ports(world, settings, report);
}

/// Gateways of one proxy with one certificate: a client that has a connection for a host of one may send requests for a
/// host of the other on it, and the listener of the first answers 404.
fn shared_certificates(world: &World, report: &mut Report) {
    let mut gateways: Vec<_> = world.gateways().collect();
    gateways.sort_by_key(|gateway| gateway.precedence());
    let mut first: BTreeMap<(&BTreeMap<String, String>, &str), &WithMeta<Gateway>> = BTreeMap::new();
    for gateway in gateways {
        for (index, server) in gateway.spec.servers.iter().enumerate() {
            let Some(tls) = &server.tls else { continue };
            let is_http = !matches!(server.port.protocol.to_ascii_uppercase().as_str(), "TLS" | "TCP");
            for name in tls.credential_name.iter().chain(&tls.credential_names).filter(|_| is_http) {
                let first = *first.entry((&gateway.spec.selector, name)).or_insert(gateway);
                if (&first.meta.namespace, &first.meta.name) == (&gateway.meta.namespace, &gateway.meta.name)
                {
                    continue;
                }
                let message = format!(
                    "{} has the certificate {name} too: browsers send requests for hosts of both on one connection, \
                     and those for the other are answered with 404",
                    key(Kind::Gateway, &first.meta)
                );
                let place = Place::new(key(Kind::Gateway, &gateway.meta), "spec.servers").index(index);
                let problem = place.field("tls").problem(Code::SharedCertificate, message);
                report.add(problem.hint("put the hosts of one certificate into one server"));
            }
        }
    }
}

/// Routes of Gateways to a host as a whole that the mesh divides into subsets: calls from outside are not divided.
fn bypassed_rules(world: &World, settings: &Settings, report: &mut Report) {
    let is_at_gateway = |gateways: &[String]| gateways.iter().any(|gateway| gateway != MESH);
    let mut dividing: BTreeMap<String, &Meta> = BTreeMap::new();
    for service in world.virtual_services().filter(|service| !is_at_gateway(&service.spec.gateways)) {
        let routes = service.spec.http.iter().flat_map(|rule| &rule.route);
        if routes.into_iter().any(|route| route.destination.subset.is_some()) {
            for host in &service.spec.hosts {
                let host = expand(host, &service.meta.namespace, &settings.cluster_domain);
                dividing.entry(host).or_insert(&service.meta);
            }
        }
    }
    for service in world.virtual_services().filter(|service| is_at_gateway(&service.spec.gateways)) {
        for (index, rule) in service.spec.http.iter().enumerate() {
            for (at, route) in rule.route.iter().enumerate() {
                let to = expand(&route.destination.host, &service.meta.namespace, &settings.cluster_domain);
                let Some(other) = dividing.get(&to).filter(|_| route.destination.subset.is_none()) else {
                    continue;
                };
                let message = format!(
                    "{} divides {to} into subsets on the mesh alone: calls that come by a Gateway go to all of it",
                    key(Kind::VirtualService, other)
                );
                let place = Place::new(key(Kind::VirtualService, &service.meta), "spec.http").index(index);
                let place = place.field("route").index(at).field("destination");
                let problem = place.problem(Code::BypassedRules, message);
                report.add(problem.hint(format!(
                    "name the subsets here as well, or add {} to the gateways of that one",
                    gateways(&service.spec.gateways, &service.meta)
                )));
            }
        }
    }
}

fn gateways(written: &[String], meta: &Meta) -> String {
    let named = written.iter().filter(|name| *name != MESH).map(|name| gateway_name(name, &meta.namespace));
    named.collect::<Vec<_>>().join(", ")
}

/// Services of the same workloads that declare different protocols for one of their ports.
fn shared_ports(world: &World, settings: &Settings, report: &mut Report) {
    let mut together: BTreeMap<(&Arc<str>, &Labels), Vec<&WithMeta<Service>>> = BTreeMap::new();
    for service in world.services().filter(|service| !service.spec.selector.is_empty()) {
        together.entry((&service.meta.namespace, &service.spec.selector)).or_default().push(service);
    }
    for mut services in together.into_values().filter(|services| services.len() > 1) {
        services.sort_by_key(|service| (service.meta.created.unwrap_or(0), &service.meta.name));
        let mut known = BTreeMap::new();
        for service in services {
            let source = key(Kind::Service, &service.meta);
            for port in service.spec.ports.iter().filter(|port| port.transport == Transport::Tcp) {
                let protocol = protocol::of_service_port(port, settings.undeclared_ports).protocol;
                // What a name stands for is the same in all of them.
                let target = match &port.target {
                    TargetPort::Same => port.port.to_string(),
                    TargetPort::Number(number) => number.to_string(),
                    TargetPort::Name(name) => name.to_string(),
                };
                let (first, declared) = known.entry(target.clone()).or_insert((source.clone(), protocol));
                if *declared != protocol {
                    report.add(workload::conflict(&source, port.port, &target, first));
                }
            }
        }
    }
}

/// Selectors that no workload has the labels of, where workloads are known.
pub(super) fn unmatched_selectors(world: &World, report: &mut Report) {
    let mut tell = |kind, meta: &Meta, field: &str, wanted: &BTreeMap<String, String>, everywhere: bool| {
        if wanted.is_empty() {
            return;
        }
        let mut any = false;
        let mut is_behind = |pod: &Arc<WithMeta<Pod>>| {
            any = true;
            wanted
                .iter()
                .all(|(key, value)| pod.meta.labels.get(key.as_str()).is_some_and(|own| **own == **value))
        };
        let found = match everywhere {
            true => world.pods().any(&mut is_behind),
            false => world.pods_in(&meta.namespace).any(&mut is_behind),
        };
        if !found && any {
            let labels: Vec<String> = wanted.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let place = if everywhere { String::new() } else { format!(" of namespace {}", meta.namespace) };
            let message =
                format!("no Pod{place} has the labels {}: the object is for nobody", labels.join(","));
            let problem = Place::new(key(kind, meta), field).problem(Code::UnmatchedSelector, message);
            report.add(problem.hint("correct the labels; names and values must be equal"));
        }
    };
    for gateway in world.gateways() {
        tell(Kind::Gateway, &gateway.meta, "spec.selector", &gateway.spec.selector, true);
    }
    for sidecar in world.sidecars() {
        if let Some(selector) = &sidecar.spec.workload_selector {
            tell(Kind::Sidecar, &sidecar.meta, "spec.workloadSelector", &selector.labels, false);
        }
    }
    for rule in world.destination_rules() {
        if let Some(selector) = &rule.spec.workload_selector {
            tell(Kind::DestinationRule, &rule.meta, "spec.workloadSelector", &selector.match_labels, false);
        }
    }
    for telemetry in world.telemetries() {
        if let Some(selector) = &telemetry.spec.selector {
            tell(Kind::Telemetry, &telemetry.meta, "spec.selector", &selector.match_labels, false);
        }
    }
}

fn key(kind: Kind, meta: &Meta) -> ObjectKey {
    ObjectKey::new(kind, meta.namespace.clone(), meta.name.clone())
}
