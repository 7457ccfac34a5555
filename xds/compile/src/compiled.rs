//! The outcome of a translation, and how the next one is made from it: a resource is encoded once per content.
//!
//! [`compile`] reads everything and is the oracle; [`compile_endpoints`] reads the slices of the Services that were
//! touched and leaves all else as it is, pointer for pointer. Both come to the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;
use pilotage_protocol::{Name, Reference, Resource, ResourceType, Revision, Snapshot, Version};
use pilotage_watcher::{Code, NamespacedName, ObjectKey, Problem, World};
use prost::Message;

use crate::blueprint::{AssignmentPlan, blueprint};
use crate::credentials::{self, SecretPlan};
use crate::endpoints::{Selected, select};
use crate::hosts::Members;
use crate::ir::{Assignment, Cluster, Discovery, Listener, RouteTable, Secret, VirtualHost};
use crate::raw::{Operation, Raw, RawResources};
use crate::report::Place;
use crate::table::{Table, Told, version, written};
use crate::{Group, Settings, envoy, ir};

/// The objects that a resource was made from: the origin of every resource, by which a rejection names its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources(pub Vec<ObjectKey>);

/// Everything that one group is told, what is wrong with it, and what the next translation can keep.
#[derive(Clone, Default)]
pub struct Compiled {
    snapshot: Snapshot,
    clusters: Table<Told<Cluster>>,
    assignments: Table<Told<Assigned>>,
    listeners: Table<Told<Listener>>,
    routes: Table<Told<RouteTable>>,
    /// Of types that translation does not make.
    others: BTreeMap<ResourceType, Table<Raw>>,
    secrets: Table<Secret>,
    fragments: Arc<HashMap<Arc<VirtualHost>, Fragment>>,
    plans: OrdMap<Name, Arc<AssignmentPlan>>,
    secret_plans: Arc<BTreeMap<Name, SecretPlan>>,
    /// The assignments of each Service.
    of_service: Arc<BTreeMap<NamespacedName, Vec<Name>>>,
    problems: Arc<[Problem]>,
    endpoint_problems: OrdMap<Name, Problem>,
}

/// An assignment under the version of its cluster.
///
/// A cluster that changed warms until it is sent its endpoints, though they be the same (R58): they are another
/// version then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Assigned {
    assignment: Assignment,
    parent: Version,
    source: ObjectKey,
}

/// A virtual host as it is encoded.
#[derive(Clone)]
struct Fragment {
    body: Bytes,
    version: Version,
}

impl Compiled {
    /// The resources, at revision 0: the caller knows of which event they are the consequence.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is wrong with the objects that this group sees, by object and field; of endpoints last.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().chain(self.endpoint_problems.values())
    }

    fn finish(mut self) -> Self {
        self.snapshot = Snapshot::new(Revision::default())
            .with(ResourceType::Cluster, self.clusters.collection().clone())
            .with(ResourceType::Endpoint, self.assignments.collection().clone())
            .with(ResourceType::Listener, self.listeners.collection().clone())
            .with(ResourceType::Route, self.routes.collection().clone())
            .with(ResourceType::Secret, self.secrets.collection().clone());
        for (resource_type, table) in &self.others {
            self.snapshot = self.snapshot.with(resource_type.clone(), table.collection().clone());
        }
        self
    }
}

/// Translates the world for a group of proxies.
///
/// `asked` are the names of listeners that proxyless clients ask for; other kinds are told everything that concerns
/// them. With the `previous` outcome of the same group, resources that did not change keep their bytes, and
/// collections that did not change keep their pointers.
pub fn compile(
    world: &World,
    group: &Group,
    settings: &Settings,
    asked: &BTreeSet<Name>,
    previous: Option<&Compiled>,
) -> Compiled {
    let none = Compiled::default();
    let previous = previous.unwrap_or(&none);
    let mut blueprint = blueprint(world, group, settings, asked);
    let fragments = fragments(blueprint.routes.values(), previous);
    let raw = &mut blueprint.raw;
    let of_clusters = told(blueprint.clusters, raw.remove(&ResourceType::Cluster));
    let clusters = previous.clusters.replaced(of_clusters, |name, told| told.encoded(name, encode_cluster));
    let of_listeners = told(blueprint.listeners, raw.remove(&ResourceType::Listener));
    let listeners =
        previous.listeners.replaced(of_listeners, |name, told| told.encoded(name, encode_listener));
    let of_routes = told(blueprint.routes, raw.remove(&ResourceType::Route));
    let routes = previous
        .routes
        .replaced(of_routes, |name, told| told.encoded(name, |table| encode_routes(table, &fragments)));
    let of_endpoints = raw.remove(&ResourceType::Endpoint);
    let others = others(std::mem::take(raw), previous);
    let mut of_service: BTreeMap<NamespacedName, Vec<Name>> = BTreeMap::new();
    let mut endpoint_problems = OrdMap::new();
    let mut assigned = BTreeMap::new();
    for (name, plan) in &blueprint.assignments {
        if let Members::Slices { service, .. } = &plan.members {
            let service = (plan.selection.namespace.clone(), service.clone());
            of_service.entry(service).or_default().push(name.clone());
        }
        let (assignment, problem) = assign(world, plan, &clusters);
        assigned.insert(name.clone(), assignment);
        endpoint_problems.extend(problem.map(|problem| (name.clone(), problem)));
    }
    let secrets = secrets(world, &blueprint.secrets, &clusters, &listeners);
    Compiled {
        snapshot: Snapshot::default(),
        secrets: previous.secrets.replaced(secrets, |_, secret| encode_secret(secret)),
        secret_plans: Arc::new(blueprint.secrets),
        assignments: previous
            .assignments
            .replaced(told(assigned, of_endpoints), |name, told| told.encoded(name, encode_assignment)),
        others,
        clusters,
        listeners,
        routes,
        fragments: Arc::new(fragments),
        plans: blueprint.assignments.into_iter().map(|(name, plan)| (name, Arc::new(plan))).collect(),
        of_service: Arc::new(of_service),
        problems: blueprint.report.into_problems().into(),
        endpoint_problems,
    }
    .finish()
}

/// Translates what changed of endpoints alone: `touched` are the Services of `Touched::endpoints`.
///
/// The collections of all other types are those of `previous`, and so is that of endpoints if they came out the same.
pub fn compile_endpoints(world: &World, previous: &Compiled, touched: &BTreeSet<NamespacedName>) -> Compiled {
    let mut next = previous.clone();
    let mut assigned = BTreeMap::new();
    for name in touched.iter().filter_map(|service| previous.of_service.get(service)).flatten() {
        let Some(plan) = previous.plans.get(name) else { continue };
        let (assignment, problem) = assign(world, plan, &previous.clusters);
        assigned.insert(name.clone(), assignment);
        match problem {
            Some(problem) => next.endpoint_problems.insert(name.clone(), problem),
            None => next.endpoint_problems.remove(name),
        };
    }
    let assigned = told(assigned, None);
    next.assignments =
        previous.assignments.updated(assigned, |name, told| told.encoded(name, encode_assignment));
    next.finish()
}

type WrittenByName = BTreeMap<Name, (Raw, Operation, Place)>;

fn told<T>(meant: BTreeMap<Name, T>, written: Option<WrittenByName>) -> BTreeMap<Name, Told<T>> {
    let meant = meant.into_iter().map(|(name, data)| (name, Told::Meant(data)));
    let written = written.into_iter().flatten().map(|(name, (raw, _, _))| (name, Told::Written(raw)));
    meant.chain(written).collect()
}

fn others(raw: RawResources, previous: &Compiled) -> BTreeMap<ResourceType, Table<Raw>> {
    let mut data: BTreeMap<ResourceType, BTreeMap<Name, Raw>> = BTreeMap::new();
    // A type that is gone still has a collection, in which what was there is taken back.
    data.extend(previous.others.keys().map(|known| (known.clone(), BTreeMap::new())));
    for (resource_type, resources) in raw {
        let resources = resources.into_iter().map(|(name, (raw, _, _))| (name, raw));
        data.entry(resource_type).or_default().extend(resources);
    }
    let none = Table::default();
    let table = |(resource_type, resources): (ResourceType, BTreeMap<Name, Raw>)| {
        let before = previous.others.get(&resource_type).unwrap_or(&none);
        (resource_type, before.replaced(resources, written))
    };
    data.into_iter().map(table).collect()
}

/// Translates what changed of secrets alone: `touched` are the Secrets of `Touched::secrets`.
///
/// The collections of all other types are those of `previous`: a rotation moves no listener and no cluster, so that
/// connections stay.
pub fn compile_secrets(world: &World, previous: &Compiled, touched: &BTreeSet<NamespacedName>) -> Compiled {
    let plans = previous.secret_plans.iter().filter(|(_, plan)| touched.contains(&plan.object));
    let plans: BTreeMap<_, _> = plans.map(|(name, plan)| (name.clone(), plan.clone())).collect();
    if plans.is_empty() {
        return previous.clone();
    }
    let changed = secrets(world, &plans, &previous.clusters, &previous.listeners);
    Compiled {
        secrets: previous.secrets.updated(changed, |_, secret| encode_secret(secret)),
        ..previous.clone()
    }
    .finish()
}

/// The secrets of these plans, each under the versions of all that refers to it.
fn secrets(
    world: &World,
    plans: &BTreeMap<Name, SecretPlan>,
    clusters: &Table<Told<Cluster>>,
    listeners: &Table<Told<Listener>>,
) -> BTreeMap<Name, Secret> {
    let mut parents: BTreeMap<&Name, Vec<Version>> = plans.keys().map(|name| (name, Vec::new())).collect();
    if parents.is_empty() {
        return BTreeMap::new();
    }
    for resource in clusters.collection().iter().chain(listeners.collection().iter()) {
        for reference in resource.references() {
            if reference.resource_type == ResourceType::Secret
                && let Some(parents) = parents.get_mut(&reference.name)
            {
                parents.push(resource.version());
            }
        }
    }
    let secret = |(name, parents): (&Name, Vec<Version>)| {
        Some((name.clone(), credentials::secret(world, name, plans.get(name)?, parents)?))
    };
    // What nothing refers to in the end, because its server is not opened, is nobody's to have.
    parents.into_iter().filter(|(_, parents)| !parents.is_empty()).filter_map(secret).collect()
}

fn assign(
    world: &World,
    plan: &AssignmentPlan,
    clusters: &Table<Told<Cluster>>,
) -> (Assigned, Option<Problem>) {
    let selected = select(world, &plan.members, &plan.selection);
    let problem = subset_problem(plan, &selected);
    let parent = clusters.resource(&plan.selection.cluster).map(Resource::version).unwrap_or_default();
    (Assigned { assignment: selected.assignment, parent, source: plan.source.clone() }, problem)
}

/// The problem of a subset whose labels no endpoint has; one of a host without endpoints is not to blame.
pub(crate) fn subset_problem(plan: &AssignmentPlan, selected: &Selected) -> Option<Problem> {
    let (name, place) = plan.subset.as_ref()?;
    let message = format!(
        "no endpoint has the labels of subset {name:?}: calls to {} fail with 503",
        plan.selection.cluster
    );
    (selected.matching == 0 && selected.candidates > 0).then(|| {
        place
            .problem(Code::EmptySubset, message)
            .hint("give the Pods the labels, or correct those of the subset")
    })
}

fn fragments<'a>(
    tables: impl Iterator<Item = &'a RouteTable>,
    previous: &Compiled,
) -> HashMap<Arc<VirtualHost>, Fragment> {
    let hosts = tables.flat_map(|table| &table.hosts);
    let fragment = |host: &Arc<VirtualHost>| {
        previous.fragments.get(host).cloned().unwrap_or_else(|| Fragment {
            body: envoy::virtual_host(host).encode_to_vec().into(),
            version: version(host),
        })
    };
    hosts.map(|host| (host.clone(), fragment(host))).collect()
}

fn encode_cluster(cluster: &Cluster) -> Resource {
    let endpoints = (cluster.discovery == Discovery::Assigned)
        .then(|| Reference::new(ResourceType::Endpoint, cluster.name.clone()));
    let secrets =
        cluster.tls.iter().flat_map(|tls| ir::secrets(tls.identity.as_slice(), tls.verification.as_ref()));
    let secrets = secrets.map(|name| Reference::new(ResourceType::Secret, name.clone()));
    Resource::new(cluster.name.clone(), envoy::cluster(cluster).encode_to_vec())
        .with_version(version(cluster))
        .with_references(endpoints.into_iter().chain(secrets))
        .with_origin(Arc::new(Sources(
            [cluster.source.as_ref(), cluster.rule.as_ref()].into_iter().flatten().cloned().collect(),
        )))
}

fn encode_assignment(assigned: &Assigned) -> Resource {
    let body = envoy::assignment(&assigned.assignment).encode_to_vec();
    Resource::new(assigned.assignment.cluster.clone(), body)
        .with_version(version(assigned))
        .with_origin(Arc::new(Sources(vec![assigned.source.clone()])))
}

fn encode_listener(listener: &Listener) -> Resource {
    let entry = &listener.entry;
    let tables = entry.route_tables().map(|name| Reference::new(ResourceType::Route, name.clone()));
    let clusters = entry.clusters().map(|name| Reference::new(ResourceType::Cluster, name.clone()));
    let secrets = entry.secrets().map(|name| Reference::new(ResourceType::Secret, name.clone()));
    Resource::new(listener.name.clone(), envoy::listener(listener).encode_to_vec())
        .with_version(version(listener))
        .with_references(tables.chain(clusters).chain(secrets))
        .with_origin(Arc::new(Sources(listener.source.iter().cloned().collect())))
}

fn encode_secret(secret: &Secret) -> Resource {
    Resource::new(secret.name.clone(), envoy::secret(secret).encode_to_vec())
        .with_version(version(secret))
        .with_origin(Arc::new(Sources(vec![secret.source.clone()])))
}

fn encode_routes(table: &RouteTable, fragments: &HashMap<Arc<VirtualHost>, Fragment>) -> Resource {
    let parts = table.hosts.iter().filter_map(|host| fragments.get(host));
    let versions: Vec<Version> = parts.clone().map(|fragment| fragment.version).collect();
    let mut clusters: BTreeSet<&Arc<str>> = BTreeSet::new();
    let mut sources: BTreeSet<&ObjectKey> = BTreeSet::new();
    for host in &table.hosts {
        sources.extend(&host.source);
        for rule in &host.rules {
            sources.extend(&rule.source);
            clusters.extend(rule.clusters());
        }
    }
    let body = envoy::route_configuration(table, parts.map(|fragment| &fragment.body));
    Resource::new(table.name.clone(), body)
        .with_version(version(&(&table.name, table.ignore_port, versions)))
        .with_references(clusters.into_iter().map(|name| Reference::new(ResourceType::Cluster, name.clone())))
        .with_origin(Arc::new(Sources(sources.into_iter().cloned().collect())))
}
