//! The outcome of a translation, and how the next one is made from it: a resource is encoded once per content.
//!
//! [`Catalog::compile`] follows a catalog in whatever changed of it; from nothing it reads everything and is the oracle.
//! [`compile_endpoints`] and [`compile_secrets`] read what was touched of those alone, and leave all else as it is,
//! pointer for pointer. All come to the same.

mod assignments;
mod encode;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use imbl::OrdMap;
use pilotage_protocol::{Collection, Name, ResourceType, Revision, Snapshot};
use pilotage_watcher::{NamespacedName, Problem, World};

use crate::catalog::Catalog;
use crate::ir::RouteTable;
use crate::outline::{Difference, Outline};
use crate::report::Report;
use crate::rope::{Fragment, Rope};
use crate::routing::MeshTable;
use crate::table::{Layers, replacing, updated, with_changes};
use crate::{Group, Settings};

pub(crate) use assignments::subset_problem;

/// Everything that one group is told, what is wrong with it, and what the next translation can keep.
#[derive(Clone, Default)]
pub struct Compiled {
    snapshot: Snapshot,
    outline: Outline,
    clusters: Layers,
    assignments: Layers,
    listeners: Layers,
    routes: Layers,
    secrets: Layers,
    /// Of types that translation does not make.
    others: BTreeMap<ResourceType, Layers>,
    /// The virtual hosts of the tables of sidecars.
    mesh: OrdMap<MeshTable, Rope>,
    /// The virtual hosts of every other table.
    tables: Arc<BTreeMap<Name, Vec<Arc<Fragment>>>>,
    /// What is wrong with objects, once someone asks.
    problems: Arc<OnceLock<Vec<Problem>>>,
    /// What is wrong with endpoints, by the cluster.
    endpoint_problems: OrdMap<Name, Problem>,
}

/// Translates the world for a group of proxies.
///
/// `asked` are the names of listeners that proxyless clients ask for; other kinds are told everything that concerns
/// them. With the `previous` outcome of the same group, resources that did not change keep their bytes, and
/// collections that did not change keep their pointers. Who translates for many groups reads the world once, into a
/// [`Catalog`].
pub fn compile(
    world: &World,
    group: &Group,
    settings: &Settings,
    asked: &BTreeSet<Name>,
    previous: Option<&Compiled>,
) -> Compiled {
    let known = previous.map(|previous| previous.outline.catalog());
    let catalog = match known.filter(|known| known.settings() == settings) {
        Some(known) => known.follow(world),
        None => Catalog::of(world, settings),
    };
    catalog.compile(group, asked, previous)
}

impl Catalog {
    /// Translates for a group of proxies, as [`compile`] does.
    ///
    /// Costs what changed since the `previous` outcome, where it was made from a catalog that this one follows. For a
    /// group that has none yet, that of another group of its kind is as good: what they have in common is shared.
    pub fn compile(&self, group: &Group, asked: &BTreeSet<Name>, previous: Option<&Compiled>) -> Compiled {
        let none = Compiled::default();
        let previous =
            previous.filter(|previous| previous.outline.kind() == Some(group.kind)).unwrap_or(&none);
        let (outline, mut difference) = previous.outline.follow(self, group, asked);
        let mut next = Compiled { outline, problems: Arc::default(), ..previous.clone() };
        let clusters = std::mem::take(&mut difference.clusters);
        next.clusters = next.layers(previous, &ResourceType::Cluster, |layers| {
            // Everything made anew is all that there is, and what is not among it is gone.
            let clusters = match difference.everything {
                true => replacing(
                    &layers.meant,
                    clusters.into_iter().filter_map(|(n, c)| Some((n, c?))).collect(),
                ),
                false => clusters,
            };
            updated(&layers.meant, clusters, encode::cluster)
        });
        let whole = next.follow_routes(previous, &mut difference);
        if let Some(listeners) = whole {
            next.listeners = next.layers(previous, &ResourceType::Listener, |layers| {
                updated(&layers.meant, replacing(&layers.meant, listeners), encode::listener)
            });
        }
        next.follow_assignments(previous, difference);
        next.follow_secrets(previous);
        next.follow_others(previous);
        next.finish()
    }
}

impl Compiled {
    /// The resources, at revision 0: the caller knows of which event they are the consequence.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What is wrong with the objects that this group sees, by object and field; of endpoints last.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        let problems = self.problems.get_or_init(|| {
            let mut report = Report::default();
            report.extend(self.outline.problems());
            for (resource_type, written) in self.outline.raw().iter() {
                self.layers_of(resource_type).tell(resource_type, Some(written), &mut report);
            }
            report.into_problems()
        });
        problems.iter().chain(self.endpoint_problems.values())
    }

    /// The successor of one type's layers.
    fn layers(
        &self,
        previous: &Self,
        resource_type: &ResourceType,
        meant: impl FnOnce(&Layers) -> Arc<Collection>,
    ) -> Layers {
        let layers = previous.layers_of(resource_type);
        let meant = meant(&layers);
        let (before, now) = (previous.outline.raw(), self.outline.raw());
        layers.updated(meant, before.get(resource_type), now.get(resource_type))
    }

    fn layers_of(&self, resource_type: &ResourceType) -> Layers {
        match resource_type {
            ResourceType::Cluster => self.clusters.clone(),
            ResourceType::Endpoint => self.assignments.clone(),
            ResourceType::Listener => self.listeners.clone(),
            ResourceType::Route => self.routes.clone(),
            ResourceType::Secret => self.secrets.clone(),
            other => self.others.get(other).cloned().unwrap_or_default(),
        }
    }

    /// Brings route tables up to date, and gives back the listeners where they were made anew.
    fn follow_routes(
        &mut self,
        previous: &Self,
        difference: &mut Difference,
    ) -> Option<BTreeMap<Name, crate::ir::Listener>> {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for table in previous.mesh.keys().filter(|table| !difference.last.contains_key(table)) {
            removals.push(table.name());
            self.mesh.remove(table);
        }
        let none = Rope::default();
        for (table, last) in std::mem::take(&mut difference.last) {
            let hosts = difference.mesh.remove(&table).unwrap_or_default();
            if let Some(mut rope) = previous.mesh.get(&table).unwrap_or(&none).updated(hosts, Some(&last)) {
                upserts.push(rope.resource(&table.name()));
                self.mesh.insert(table, rope);
            }
        }
        let (listeners, tables) = difference.whole.take().unzip();
        if let Some(tables) = tables {
            let mut fragments = BTreeMap::new();
            let gone = previous.tables.keys().filter(|name| !tables.contains_key(*name));
            removals.extend(gone.cloned());
            for (name, table) in tables {
                let before = previous.tables.get(&name);
                let of_table = fragments_of(&table, before);
                let resource = encode::table(&table, &of_table);
                upserts.push(resource);
                fragments.insert(name, of_table);
            }
            self.tables = Arc::new(fragments);
        }
        self.routes = self.layers(previous, &ResourceType::Route, |layers| {
            let is_new =
                |resource: &pilotage_protocol::Resource| layers.meant.get(resource.name()) != Some(resource);
            upserts.retain(is_new);
            with_changes(&layers.meant, upserts, removals)
        });
        listeners
    }

    fn follow_others(&mut self, previous: &Self) {
        let raw = self.outline.raw().clone();
        // A type that is gone still has a collection, in which what was there is taken back.
        let types: BTreeSet<ResourceType> =
            raw.keys().filter(|known| !is_made(known)).chain(previous.others.keys()).cloned().collect();
        for resource_type in types {
            let layers = self.layers(previous, &resource_type, |layers| layers.meant.clone());
            self.others.insert(resource_type, layers);
        }
    }

    fn finish(mut self) -> Self {
        let told = [
            (ResourceType::Cluster, &self.clusters),
            (ResourceType::Endpoint, &self.assignments),
            (ResourceType::Listener, &self.listeners),
            (ResourceType::Route, &self.routes),
            (ResourceType::Secret, &self.secrets),
        ];
        let mut snapshot = Snapshot::new(Revision::default());
        for (resource_type, layers) in told {
            snapshot = snapshot.with(resource_type, layers.told.clone());
        }
        for (resource_type, layers) in &self.others {
            snapshot = snapshot.with(resource_type.clone(), layers.told.clone());
        }
        self.snapshot = snapshot;
        self
    }
}

/// Whether translation makes resources of a type.
fn is_made(resource_type: &ResourceType) -> bool {
    use ResourceType::{Cluster, Endpoint, Listener, Route, Secret};
    matches!(resource_type, Cluster | Endpoint | Listener | Route | Secret)
}

fn fragments_of(table: &RouteTable, before: Option<&Vec<Arc<Fragment>>>) -> Vec<Arc<Fragment>> {
    let before: BTreeMap<_, _> =
        before.into_iter().flatten().map(|fragment| (fragment.version(), fragment)).collect();
    let known = |version| before.get(&version).copied().cloned();
    table.hosts.iter().map(|host| Fragment::successor(known, host)).collect()
}

/// Translates what changed of endpoints alone: `touched` are the Services of `Touched::endpoints`.
///
/// The collections of all other types are those of `previous`, and so is that of endpoints if they came out the same.
pub fn compile_endpoints(world: &World, previous: &Compiled, touched: &BTreeSet<NamespacedName>) -> Compiled {
    let mut next = previous.clone();
    next.assign_services(previous, world, touched);
    next.finish()
}

/// Translates what changed of secrets alone: `touched` are the Secrets of `Touched::secrets`.
///
/// The collections of all other types are those of `previous`: a rotation moves no listener and no cluster, so that
/// connections stay.
pub fn compile_secrets(world: &World, previous: &Compiled, touched: &BTreeSet<NamespacedName>) -> Compiled {
    let mut next = previous.clone();
    next.rotate(previous, world, touched);
    next.finish()
}
