//! What is wrong with a world whoever looks at it: every kind of proxy that could, each in every namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::Name;
use pilotage_watcher::resources::{Pod, WithMeta};
use pilotage_watcher::{Code, Problem, Severity, World};

use crate::blueprint::blueprint;
use crate::compiled::subset_problem;
use crate::endpoints::select;
use crate::group::DEFAULT_EGRESS_PORT;
use crate::report::Report;
use crate::{Group, Location, ProxyKind, Settings};

type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Translates for everyone who could ask, and tells what is wrong, each thing once, sorted by object and field.
///
/// Everyone is: a sidecar in every namespace, and one with every set of labels that a rule looks at; a gateway for
/// every selector; a gRPC client of every Service port. What only gRPC clients cannot do is told as information,
/// since nothing here says that there are any; and so is what only a sidecar can do to which connections are redirected,
/// since nothing says that there are others.
pub fn check(world: &World, settings: &Settings) -> Vec<Problem> {
    let mut report = Report::default();
    for group in sidecars(world).into_iter().chain(gateways(world)) {
        collect(world, &group, settings, &BTreeSet::new(), &mut report);
    }
    let mut of_clients = Report::default();
    for (namespace, asked) in targets(world, settings) {
        let group = Group { kind: ProxyKind::Grpc, namespace, labels: Labels::new(), location: somewhere() };
        collect(world, &group, settings, &asked, &mut of_clients);
    }
    report.extend(of_clients.into_problems().into_iter().map(|problem| match problem.code {
        Code::NotForGrpcClients => problem.severity(Severity::Info),
        _ => problem,
    }));
    let unless_redirected = |problem: Problem| match problem.code {
        Code::NeedsInterception => problem.severity(Severity::Info),
        _ => problem,
    };
    report.into_problems().into_iter().map(unless_redirected).collect()
}

fn collect(world: &World, group: &Group, settings: &Settings, asked: &BTreeSet<Name>, report: &mut Report) {
    let blueprint = blueprint(world, group, settings, asked);
    for plan in blueprint.assignments.values().filter(|plan| plan.subset.is_some()) {
        report.extend(subset_problem(plan, &select(world, &plan.members, &plan.selection)));
    }
    report.extend(blueprint.report.into_problems());
}

fn sidecars(world: &World) -> BTreeSet<Group> {
    let kind = ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress: false };
    let group = |namespace: &Arc<str>, labels| Group {
        kind,
        namespace: namespace.clone(),
        labels,
        location: somewhere(),
    };
    let mut groups: BTreeSet<Group> =
        namespaces(world).iter().map(|namespace| group(namespace, Labels::new())).collect();
    for service in world.virtual_services() {
        let matches = service.spec.http.iter().flat_map(|rule| &rule.r#match);
        for condition in matches.filter(|condition| !condition.source_labels.is_empty()) {
            groups.insert(group(&service.meta.namespace, labels(&condition.source_labels)));
        }
    }
    for rule in world.destination_rules() {
        if let Some(selector) = &rule.spec.workload_selector {
            groups.insert(group(&rule.meta.namespace, labels(&selector.match_labels)));
        }
    }
    for sidecar in world.sidecars() {
        let selected = sidecar.spec.workload_selector.as_ref().map(|selector| labels(&selector.labels));
        groups.insert(group(&sidecar.meta.namespace, selected.unwrap_or_default()));
    }
    for telemetry in world.telemetries() {
        let selected = telemetry.spec.selector.as_ref().map(|selector| labels(&selector.match_labels));
        groups.insert(group(&telemetry.meta.namespace, selected.unwrap_or_default()));
    }
    for resources in world.envoy_resources() {
        groups.insert(group(&resources.meta.namespace, labels(&resources.spec.proxies.labels)));
    }
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
