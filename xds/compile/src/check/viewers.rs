//! Who could look at a world: groups that between them see everything that anyone sees.
//!
//! Most namespaces see the same: of those, one stands for all. A namespace is looked from by itself if something is
//! exported to some namespaces only and it is one of them, or if something in it holds for its own callers alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::Name;
use pilotage_watcher::World;
use pilotage_watcher::resources::{Meta, Pod, WithMeta};

use crate::group::DEFAULT_EGRESS_PORT;
use crate::hosts::expand;
use crate::{Group, Location, ProxyKind, Settings};

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// The groups, each with the names of listeners that its clients ask for; of namespaces that see the same the one in
/// `known` is taken, if any is.
pub(super) fn viewers<'a>(
    world: &World,
    settings: &Settings,
    known: impl Iterator<Item = &'a Group>,
) -> BTreeMap<Group, BTreeSet<Name>> {
    let all = namespaces(world);
    let apart = apart(world, settings);
    let known: BTreeSet<&Arc<str>> = known.map(|group| &group.namespace).collect();
    let alike: BTreeSet<&Arc<str>> = all.iter().filter(|namespace| !apart.contains(&***namespace)).collect();
    let chosen = alike.iter().find(|namespace| known.contains(**namespace)).or(alike.first()).copied();
    let stands_for = |namespace: &Arc<str>| match chosen {
        Some(chosen) if alike.contains(namespace) => chosen.clone(),
        _ => namespace.clone(),
    };
    let namespaces: BTreeSet<Arc<str>> = all.iter().map(stands_for).collect();
    let proxies = sidecars(world, namespaces).into_iter().chain(gateways(world));
    let mut viewers: BTreeMap<Group, BTreeSet<Name>> =
        proxies.map(|group| (group, BTreeSet::new())).collect();
    for (namespace, asked) in targets(world, settings) {
        let namespace = stands_for(&namespace);
        let group = Group { kind: ProxyKind::Grpc, namespace, labels: Labels::new(), location: somewhere() };
        viewers.entry(group).or_default().extend(asked);
    }
    viewers
}

/// Namespaces that may see something else than others do.
fn apart(world: &World, settings: &Settings) -> BTreeSet<String> {
    let mut apart = BTreeSet::from([settings.root_namespace.clone()]);
    let mut exported = |export_to: &[String], meta: &Meta| {
        if export_to.iter().any(|entry| entry != "*") {
            apart.insert(meta.namespace.to_string());
            apart.extend(export_to.iter().cloned());
        }
    };
    for service in world.services() {
        if let Some(list) = service.meta.annotations.get("networking.istio.io/exportTo") {
            let list: Vec<String> = list.split(',').map(|entry| entry.trim().to_owned()).collect();
            exported(&list, &service.meta);
        }
    }
    world.service_entries().for_each(|entry| exported(&entry.spec.export_to, &entry.meta));
    world.virtual_services().for_each(|service| exported(&service.spec.export_to, &service.meta));
    world.destination_rules().for_each(|rule| exported(&rule.spec.export_to, &rule.meta));
    // Of two entries for one host the caller's own comes first.
    let mut hosts: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for entry in world.service_entries() {
        for host in &entry.spec.hosts {
            hosts.entry(host.to_ascii_lowercase()).or_default().insert(&entry.meta.namespace);
        }
    }
    let shared = hosts.into_values().filter(|namespaces| namespaces.len() > 1);
    apart.extend(shared.flatten().map(str::to_owned));
    for service in world.virtual_services() {
        let of_http = service.spec.http.iter().flat_map(|rule| &rule.r#match);
        let of_http = of_http.filter_map(|written| written.source_namespace.clone());
        let of_tls = service.spec.tls.iter().flat_map(|rule| &rule.r#match);
        let of_tcp = service.spec.tcp.iter().flat_map(|rule| &rule.r#match);
        let of_streams = of_tls.chain(of_tcp).filter_map(|written| written.source_namespace.clone());
        apart.extend(of_http.chain(of_streams));
    }
    for rule in world.destination_rules() {
        let namespace = &rule.meta.namespace;
        let host = expand(&rule.spec.host, namespace, &settings.cluster_domain);
        let own = format!(".{namespace}.svc.{}", settings.cluster_domain);
        // One for hosts of elsewhere holds for the callers of its own namespace.
        if !host.ends_with(&own) || rule.spec.workload_selector.is_some() {
            apart.insert(namespace.to_string());
        }
    }
    if world.sidecars().any(|sidecar| *sidecar.meta.namespace == *settings.root_namespace) {
        // It holds for everyone, and what it lists may be of the caller's own namespace.
        apart.extend(namespaces(world).iter().map(ToString::to_string));
    }
    let sidecars = world.sidecars().map(|object| &object.meta);
    let telemetries = world.telemetries().map(|object| &object.meta);
    let resources = world.envoy_resources().map(|object| &object.meta);
    let scoped = sidecars.chain(telemetries).chain(resources);
    apart.extend(scoped.map(|meta| meta.namespace.to_string()));
    apart
}

/// Of namespaces that see the same, `namespaces` has one.
fn sidecars(world: &World, namespaces: BTreeSet<Arc<str>>) -> BTreeSet<Group> {
    let kind = ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress: false };
    let group = |namespace: &Arc<str>, labels| Group {
        kind,
        namespace: namespace.clone(),
        labels,
        location: somewhere(),
    };
    let mut groups: BTreeSet<Group> =
        namespaces.iter().map(|namespace| group(namespace, Labels::new())).collect();
    // One stands for all: of each namespace it would be too many.
    let mut redirected: BTreeSet<Group> = groups.iter().take(1).cloned().collect();
    for service in world.virtual_services() {
        let of_http = service.spec.http.iter().flat_map(|rule| &rule.r#match);
        let of_http = of_http.map(|condition| &condition.source_labels);
        let of_tls = service.spec.tls.iter().flat_map(|rule| &rule.r#match);
        let of_tcp = service.spec.tcp.iter().flat_map(|rule| &rule.r#match);
        let of_streams = of_tls.chain(of_tcp).map(|condition| &condition.source_labels);
        for wanted in of_http.chain(of_streams).filter(|wanted| !wanted.is_empty()) {
            groups.insert(group(&service.meta.namespace, labels(wanted)));
        }
    }
    for rule in world.destination_rules() {
        if let Some(selector) = &rule.spec.workload_selector {
            groups.insert(group(&rule.meta.namespace, labels(&selector.match_labels)));
        }
    }
    for sidecar in world.sidecars() {
        let selected = sidecar.spec.workload_selector.as_ref().map(|selector| labels(&selector.labels));
        let selected = group(&sidecar.meta.namespace, selected.unwrap_or_default());
        redirected.insert(selected.clone());
        groups.insert(selected);
    }
    for telemetry in world.telemetries() {
        let selected = telemetry.spec.selector.as_ref().map(|selector| labels(&selector.match_labels));
        groups.insert(group(&telemetry.meta.namespace, selected.unwrap_or_default()));
    }
    for resources in world.envoy_resources() {
        groups.insert(group(&resources.meta.namespace, labels(&resources.spec.proxies.labels)));
    }
    groups.extend(redirected.into_iter().map(|group| Group { kind: ProxyKind::Intercepted, ..group }));
    groups
}

/// For every Gateway, in each namespace with Pods that it selects, for that is where its Secrets are looked for; where
/// there are none that anyone knows of, in its own.
fn gateways(world: &World) -> BTreeSet<Group> {
    let mut groups = BTreeSet::new();
    for gateway in world.gateways() {
        let selector = &gateway.spec.selector;
        let is_selected = |pod: &WithMeta<Pod>| {
            let has = |(key, value): (&String, &String)| {
                pod.meta.labels.get(key.as_str()).is_some_and(|found| **found == **value)
            };
            !selector.is_empty() && selector.iter().all(has)
        };
        let selected = world.pods().filter(|pod| is_selected(pod)).map(|pod| pod.meta.namespace.clone());
        let mut namespaces: BTreeSet<Arc<str>> = selected.collect();
        if namespaces.is_empty() {
            namespaces.insert(gateway.meta.namespace.clone());
        }
        let group = |namespace| Group {
            kind: ProxyKind::Gateway,
            namespace,
            labels: labels(selector),
            location: somewhere(),
        };
        groups.extend(namespaces.into_iter().map(group));
    }
    groups
}

/// A place like any other, since where a proxy runs is nobody's mistake.
fn somewhere() -> Location {
    Location { region: "region".into(), zone: "zone".into(), subzone: "".into(), node: "node".into() }
}

/// The targets of gRPC clients: every port of a namespace's own hosts.
fn targets(world: &World, settings: &Settings) -> BTreeMap<Arc<str>, BTreeSet<Name>> {
    let mut targets: BTreeMap<Arc<str>, BTreeSet<Name>> = BTreeMap::new();
    for service in world.services() {
        let meta = &service.meta;
        let host = format!("{}.{}.svc.{}", meta.name, meta.namespace, settings.cluster_domain);
        let of_namespace = targets.entry(meta.namespace.clone()).or_default();
        of_namespace
            .extend(service.spec.ports.iter().map(|port| Name::from(format!("{host}:{}", port.port))));
    }
    for entry in world.service_entries() {
        let of_namespace = targets.entry(entry.meta.namespace.clone()).or_default();
        for host in &entry.spec.hosts {
            of_namespace
                .extend(entry.spec.ports.iter().map(|port| Name::from(format!("{host}:{}", port.number))));
        }
    }
    targets
}

fn namespaces(world: &World) -> BTreeSet<Arc<str>> {
    let services = world.services().map(|object| &object.meta);
    let entries = world.service_entries().map(|object| &object.meta);
    let routes = world.virtual_services().map(|object| &object.meta);
    let rules = world.destination_rules().map(|object| &object.meta);
    let all = services.chain(entries).chain(routes).chain(rules);
    all.map(|meta| meta.namespace.clone()).collect()
}

fn labels(written: &BTreeMap<String, String>) -> Labels {
    written.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect()
}
