//! What one group is told, as plain data, and how it is brought up to a later world: only the parts that a change
//! reaches are made anew.
//!
//! A part is what one name comes to: its clusters, its virtual hosts, what is wrong with what is filed under it. What
//! cannot be told apart by names (listeners, the tables of gateways and of gRPC clients) is one more part, the whole.
//! From nothing everything is made by the same steps, so that there is no other way that could come to something else.

mod clusters;
mod kinship;
mod mesh;
mod whole;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use pilotage_protocol::{Name, ResourceType};
use pilotage_watcher::{Kind, NamespacedName, ObjectKey, Problem, Touched};

use crate::access_log::access_logs;
use crate::blueprint::AssignmentPlan;
use crate::catalog::Catalog;
use crate::credentials::SecretPlan;
use crate::hosts::{Changes, Host, HostTable, Hosts, Members, Reads, check_workloads};
use crate::ir::{Cluster, Listener, RouteTable, VirtualHost};
use crate::parts::{Part, Parts};
use crate::raw::{RawResources, raw_resources};
use crate::report::Report;
use crate::routing::{MeshTable, Routing, Scope};
use crate::rules::{self, Rules};
use crate::sidecar::Sidecar;
use crate::workload::{Doors, doors};
use crate::{Group, ProxyKind};

use clusters::Clusters;
use mesh::{Mesh, Sight};
use whole::Whole;

/// What one group is told, but for the endpoints; a clone shares everything.
#[derive(Clone, Default)]
pub(crate) struct Outline {
    catalog: Catalog,
    /// None before anything was read.
    group: Option<Group>,
    asked: Arc<BTreeSet<Name>>,
    hosts: HostTable,
    /// Whether a Sidecar object leaves hosts out.
    is_scoped: bool,
    /// The hosts that routes lead to, which are known where a Sidecar object holds.
    destinations: Arc<BTreeSet<Name>>,
    clusters: Parts<Clusters>,
    /// The virtual hosts of sidecars.
    mesh: Mesh,
    /// What is said of routes and rules by the name that they are for.
    filed: Parts<()>,
    whole: Option<Arc<Part<Whole>>>,
    raw: Arc<RawResources>,
    /// The ports of the Services that lead to a gateway.
    doors: Arc<Doors>,
    /// What is wrong with objects that are for the group as a whole.
    problems: Arc<[Problem]>,
    raw_problems: Arc<[Problem]>,
    /// What is wrong with WorkloadEntries, whoever selects them.
    workload_problems: Arc<[Problem]>,
}

/// What is another thing than in the outline before.
#[derive(Default)]
pub(crate) struct Difference {
    /// By name; none where one is gone.
    pub(crate) clusters: BTreeMap<Name, Option<Cluster>>,
    pub(crate) plans: BTreeMap<Name, Option<Arc<AssignmentPlan>>>,
    /// The virtual hosts of sidecars.
    pub(crate) mesh: mesh::Made,
    /// Every table of those, with the virtual host that answers what no other does.
    pub(crate) last: BTreeMap<MeshTable, VirtualHost>,
    /// All listeners and all other tables, where they were made anew.
    pub(crate) whole: Option<(BTreeMap<Name, Listener>, BTreeMap<Name, RouteTable>)>,
    /// What changed of the world.
    pub(crate) touched: Touched,
    /// Whether everything was made anew.
    pub(crate) everything: bool,
}

impl Outline {
    /// What a group is told of a catalog; `asked` are the names that its clients ask for on demand.
    ///
    /// This outline may be one of another group, of which what they have in common is kept.
    pub(crate) fn follow(
        &self,
        catalog: &Catalog,
        group: &Group,
        asked: &BTreeSet<Name>,
    ) -> (Self, Difference) {
        let (world, settings) = (catalog.world(), catalog.settings());
        let mut report = Report::default();
        let sidecar = Sidecar::of(world, group, settings, &mut report);
        let is_scoped = self.is_scoped || sidecar.is_limited();
        let known = self.group.as_ref().filter(|known| {
            let is_near = *known == group || (!is_scoped && kinship::are_kin(known, group));
            is_near && self.catalog.settings() == settings
        });
        let touched = match known {
            None => Touched::default(),
            Some(_) => world.changes_since(self.catalog.world()),
        };
        let is_sidecar = |key: &ObjectKey| key.kind == Kind::Sidecar;
        let is_same_choice = !is_scoped || (known == Some(group) && !touched.config.iter().any(is_sidecar));
        // Where a Sidecar object holds, routes bring the hosts that they lead to.
        let brought = sidecar.destinations().symmetric_difference(&self.destinations);
        let knows = |host: &Host| sidecar.knows(&host.namespace, &host.name, group);
        let hosts = match known.filter(|_| is_same_choice) {
            Some(known) => self.hosts.follow(catalog.hosts(), (known, group), brought, knows),
            None => HostTable::of(catalog.hosts(), group, knows),
        };
        let mut changes = self.changes(catalog, &hosts, known.is_none(), &touched);
        changes.whole = *self.asked != *asked || known != Some(group);
        if let Some(known) = known.filter(|known| *known != group) {
            let namespaces = [&*known.namespace, &*group.namespace];
            changes.names.extend(kinship::differing(catalog, &hosts, namespaces));
            // A gateway is given the Secrets of its own namespace.
            changes.secrets = true;
        }
        let doors = self.doors(catalog, group, known == Some(group), &touched);
        changes.whole |= doors != self.doors;
        let view = Hosts::new(&hosts);
        let rules = Rules::new(catalog.rules());
        let scope = Scope { group, settings, hosts: &view, rules: &rules, methods: catalog.methods() };
        let routing = Routing::new(catalog.claims(), scope, &sidecar);
        let mut next = Self {
            doors,
            catalog: catalog.clone(),
            group: Some(group.clone()),
            asked: Arc::new(asked.clone()),
            hosts: hosts.clone(),
            is_scoped: sidecar.is_limited(),
            destinations: sidecar.destinations().clone(),
            ..self.clone()
        };
        let mut difference = Difference { everything: changes.everything, ..Difference::default() };
        next.file(&changes, &scope, &routing);
        if matches!(group.kind, ProxyKind::Sidecar { .. } | ProxyKind::Intercepted) {
            let sight = Sight { scope: &scope, routing: &routing, sidecar: &sidecar };
            difference.mesh = next.mesh.follow(&changes, sight);
            difference.last = next.mesh.last(sight, &mut report);
            changes.whole |= !next.mesh.tables().eq(self.mesh.tables());
        }
        // The ports of the workload are found by its Services' selectors and endpoints.
        let serves = |key: &ObjectKey| matches!(key.kind, Kind::Service | Kind::ServiceEntry);
        changes.whole |= group.kind == ProxyKind::Intercepted
            && (touched.config.iter().any(serves)
                || touched.endpoints.iter().any(|(namespace, _)| *namespace == group.namespace));
        let logs = access_logs(world, group, settings, &sidecar, &mut report);
        next.follow_whole(&changes, (&scope, &routing, &sidecar), logs, &mut difference);
        let mut clusters = std::mem::take(&mut next.clusters);
        clusters::follow(&mut clusters, &changes, next.choice(self), world, &scope, &mut difference);
        next.clusters = clusters;
        next.problems = report.into_problems().into();
        if changes.everything || known != Some(group) {
            let mut report = Report::default();
            next.raw = Arc::new(raw_resources(world, group, settings, &mut report));
            next.raw_problems = report.into_problems().into();
        }
        if known.is_none() || touched.config.iter().any(|key| key.kind == Kind::WorkloadEntry) {
            let mut report = Report::default();
            check_workloads(world, group.kind, &mut report);
            next.workload_problems = report.into_problems().into();
        }
        difference.touched = touched;
        (next, difference)
    }

    /// The ports of the Services that lead to a gateway, of which the next world may have others.
    fn doors(&self, catalog: &Catalog, group: &Group, is_same: bool, touched: &Touched) -> Arc<Doors> {
        let is_own = |namespace: &str| *group.namespace == *namespace;
        let of_services =
            touched.config.iter().any(|key| key.kind == Kind::Service && is_own(&key.namespace));
        let of_slices = touched.endpoints.iter().any(|(namespace, _)| is_own(namespace));
        match group.kind {
            ProxyKind::Gateway if is_same && !of_services && !of_slices => self.doors.clone(),
            ProxyKind::Gateway => Arc::new(doors(catalog.world(), group)),
            ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Grpc => Arc::default(),
        }
    }

    fn changes(&self, catalog: &Catalog, hosts: &HostTable, is_first: bool, touched: &Touched) -> Changes {
        let of_all = |kind: Kind| {
            matches!(
                kind,
                Kind::Sidecar | Kind::Telemetry | Kind::EnvoyResources | Kind::Gateway | Kind::Descriptors
            )
        };
        let mut changes = Changes {
            everything: is_first || touched.config.iter().any(|key| of_all(key.kind)),
            secrets: touched.config.iter().any(|key| key.kind == Kind::Secret)
                || catalog.world().time() != self.catalog.world().time(),
            ..Changes::default()
        };
        let claims = (self.catalog.claims().by_host(), catalog.claims().by_host());
        let rules = (self.catalog.rules().by_host(), catalog.rules().by_host());
        if changes.everything {
            changes.names = hosts.names().chain(claims.1.keys()).chain(rules.1.keys()).cloned().collect();
            (changes.hosts, changes.bindings, changes.owners) = (true, true, true);
            return changes;
        }
        let of_hosts = hosts.changed_since(&self.hosts);
        changes.hosts = !of_hosts.is_empty();
        changes.names.extend(of_hosts);
        let of_claims = differing(claims.0, claims.1);
        changes.bindings = of_claims.iter().any(|host| {
            let named = [claims.0, claims.1].into_iter().filter_map(|by_host| by_host.get(host));
            named.flat_map(|named| named.iter()).any(|named| named.claim.is_at_gateways())
        });
        changes.owners = !of_claims.is_empty();
        changes.names.extend(of_claims);
        changes.names.extend(differing(rules.0, rules.1));
        changes
    }

    /// Says of names what is wrong with the routes and rules that are filed under them.
    fn file(&mut self, changes: &Changes, scope: &Scope<'_>, routing: &Routing<'_>) {
        for name in self.filed.stale(changes) {
            let mut report = Report::default();
            scope.hosts.begin(&name);
            routing.tell_conflicts(&name, &mut report);
            if let Some(filed) = self.catalog.rules().by_host().get(&name) {
                rules::tell(&name, filed, scope.hosts, &mut report);
            }
            let reads = scope.hosts.reads();
            let problems = report.into_problems();
            let is_worthwhile = !problems.is_empty() || reads != Reads::default();
            let part = Part { outcome: (), problems: problems.into(), reads };
            self.filed.set(&name, is_worthwhile.then_some(part));
        }
    }

    /// Everything that is wrong with what the group sees, each thing once, by object and field.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let Some(group) = &self.group else { return Vec::new() };
        let (catalog, settings) = (&self.catalog, self.catalog.settings());
        let mut report = Report::default();
        let mut parts: Vec<&Arc<[Problem]>> =
            vec![&self.problems, &self.raw_problems, &self.workload_problems];
        parts.extend(self.hosts.problems());
        parts.extend(self.filed.iter().map(|part| &part.problems));
        parts.extend(self.mesh.problems());
        parts.extend(self.clusters.iter().map(|part| &part.problems));
        parts.extend(self.whole.iter().map(|part| &part.problems));
        report.extend(parts.into_iter().flat_map(|problems| problems.iter()).cloned());
        report.extend(catalog.hosts().problems().chain(catalog.claims().problems_of_delegates()).cloned());
        let sidecar = Sidecar::of(catalog.world(), group, settings, &mut Report::default());
        let (view, rules) = (Hosts::new(&self.hosts), Rules::new(catalog.rules()));
        let scope = Scope { group, settings, hosts: &view, rules: &rules, methods: catalog.methods() };
        let routing = Routing::new(catalog.claims(), scope, &sidecar);
        for claim in catalog.claims().claims().filter(|claim| routing.sees(claim)) {
            claim.tell(group.kind, &mut report);
        }
        report.into_problems()
    }

    /// What is told in Envoy's own words.
    pub(crate) fn raw(&self) -> &Arc<RawResources> {
        &self.raw
    }

    /// Whether translation makes a resource of this type and name.
    pub(crate) fn makes(&self, resource_type: &ResourceType, name: &Name) -> bool {
        let whole = self.whole.as_ref().map(|part| &part.outcome);
        let of_whole = |names: fn(&Whole) -> &[Name]| whole.is_some_and(|whole| names(whole).contains(name));
        match resource_type {
            ResourceType::Cluster => {
                of_whole(|whole| &whole.clusters)
                    || self.clusters.iter().any(|part| part.outcome.names.contains(name))
            }
            ResourceType::Endpoint => {
                let mut plans = self.clusters.iter().flat_map(|part| part.outcome.plans.iter());
                plans.any(|plan| plan.selection.cluster == *name)
            }
            ResourceType::Listener => of_whole(|whole| &whole.listeners),
            ResourceType::Route => {
                of_whole(|whole| &whole.tables) || self.mesh.tables().any(|table| table.name() == *name)
            }
            ResourceType::Secret => self.secrets().contains_key(name),
            _ => false,
        }
    }

    /// How the endpoints of a host's clusters are found, by the host's name.
    pub(crate) fn plans_of(&self, host: &str) -> impl Iterator<Item = &Arc<AssignmentPlan>> {
        self.clusters.get(host).into_iter().flat_map(|part| part.outcome.plans.iter())
    }

    /// How the endpoints of a Service's clusters are found.
    pub(crate) fn plans_of_service(
        &self,
        (namespace, name): &NamespacedName,
    ) -> impl Iterator<Item = Arc<AssignmentPlan>> {
        let domain = &self.catalog.settings().cluster_domain;
        let host = format!("{name}.{namespace}.svc.{domain}").to_ascii_lowercase();
        self.clusters.get(&host).into_iter().flat_map(|part| part.outcome.plans.iter().cloned())
    }

    /// How those endpoints are found that a change may have added, moved or taken away.
    pub(crate) fn plans_of_touched(&self, touched: &Touched) -> Vec<Arc<AssignmentPlan>> {
        let services = touched.endpoints.iter();
        let mut plans: Vec<_> = services.flat_map(|service| self.plans_of_service(service)).collect();
        let workloads = touched.config.iter();
        let workloads = workloads.filter(|key| matches!(key.kind, Kind::Pod | Kind::WorkloadEntry));
        let namespaces: BTreeSet<&str> = workloads.map(|key| &*key.namespace).collect();
        if !namespaces.is_empty() {
            let all = self.clusters.iter().flat_map(|part| part.outcome.plans.iter());
            let selecting = all.filter(|plan| {
                matches!(plan.members, Members::Selected { .. })
                    && namespaces.contains(&*plan.selection.namespace)
            });
            plans.extend(selecting.cloned());
        }
        plans
    }

    /// Where all secrets that anything refers to are found.
    pub(crate) fn secrets(&self) -> BTreeMap<Name, SecretPlan> {
        if self.kind() != Some(ProxyKind::Gateway) {
            // No other kind is given any.
            return BTreeMap::new();
        }
        let of_whole = self.whole.iter().flat_map(|part| part.outcome.secrets.iter());
        let all = of_whole.chain(self.clusters.iter().flat_map(|part| part.outcome.secrets.iter()));
        all.map(|(name, plan)| (name.clone(), plan.clone())).collect()
    }

    /// The kind of proxy that it is for; none before anything was read.
    pub(crate) fn kind(&self) -> Option<ProxyKind> {
        self.group.as_ref().map(|group| group.kind)
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }
}

/// The keys of which the values are not the same in two maps.
fn differing<T: ?Sized>(old: &OrdMap<Arc<str>, Arc<T>>, new: &OrdMap<Arc<str>, Arc<T>>) -> BTreeSet<Arc<str>>
where
    Arc<T>: PartialEq,
{
    old.diff(new)
        .map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name.clone(),
            DiffItem::Update { new: (name, _), .. } => name.clone(),
        })
        .collect()
}
