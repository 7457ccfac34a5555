//! What is known of every object whose author is told what became of it: what is wrong with it, since when it is as it
//! is, and which groups of clients are told of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use pilotage_compile::{Compiled, Group, Sources};
use pilotage_protocol::{Collection, ResourceType, Revision};
use pilotage_watcher::kubernetes::has_conditions;
use pilotage_watcher::resources::Meta;
use pilotage_watcher::{ObjectKey, Problem, World};

/// The state of all of them at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) objects: BTreeMap<ObjectKey, Entry>,
}

/// One object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    /// Its generation; none where no version of it could be read.
    pub(crate) generation: Option<i64>,
    /// The event by which it became what it is.
    pub(crate) revision: Revision,
    /// All that is wrong with it.
    pub(crate) problems: Vec<Problem>,
    /// Who is told something that was made from it.
    pub(crate) groups: Vec<Group>,
}

/// What is remembered between two ledgers.
#[derive(Debug, Default)]
pub(super) struct Bookkeeping {
    /// The event by which each object became what it is.
    since: HashMap<ObjectKey, Revision>,
    /// The objects that each collection was made from, while it is a group's.
    origins: HashMap<(Group, ResourceType), Origins>,
}

/// A collection, and the objects that it was made from.
type Origins = (Arc<Collection>, Arc<BTreeSet<ObjectKey>>);

impl Bookkeeping {
    /// An event changed an object.
    pub(super) fn changed<'a>(&mut self, keys: impl IntoIterator<Item = &'a ObjectKey>, revision: Revision) {
        for key in keys.into_iter().filter(|key| has_conditions(key.kind)) {
            self.since.insert(key.clone(), revision);
        }
    }

    /// The ledger of now.
    pub(super) fn ledger<'a>(
        &mut self,
        world: &World,
        groups: impl Iterator<Item = (&'a Group, &'a Compiled)>,
        problems: impl Iterator<Item = &'a Problem>,
    ) -> Ledger {
        let mut objects: BTreeMap<ObjectKey, Entry> = BTreeMap::new();
        for (key, meta) in metas(world) {
            // What is in a folder has no generation, and nobody reads a status there.
            if let Some(generation) = meta.generation {
                let revision = self.since.get(&key).copied().unwrap_or_default();
                let entry = Entry { generation: Some(generation), revision, ..Entry::default() };
                objects.insert(key, entry);
            }
        }
        for problem in problems {
            let Some(key) = problem.object.as_ref().filter(|key| has_conditions(key.kind)) else { continue };
            // What stands in a file is of the folder, be there an object of this name in the cluster or not.
            if problem.position.is_none() {
                objects.entry(key.clone()).or_default().problems.push(problem.clone());
            }
        }
        let mut kept = HashMap::with_capacity(self.origins.len());
        for (group, compiled) in groups {
            let mut told: BTreeSet<ObjectKey> = BTreeSet::new();
            for (resource_type, collection) in compiled.snapshot().iter() {
                // Endpoints and secrets change without any object of a person's doing so.
                if matches!(resource_type, ResourceType::Endpoint | ResourceType::Secret) {
                    continue;
                }
                let place = (group.clone(), resource_type.clone());
                let known = self.origins.remove(&place).filter(|(of, _)| Arc::ptr_eq(of, collection));
                let known = known.unwrap_or_else(|| (collection.clone(), Arc::new(origins(collection))));
                told.extend(known.1.iter().cloned());
                kept.insert(place, known);
            }
            for key in told {
                if let Some(entry) = objects.get_mut(&key) {
                    entry.groups.push(group.clone());
                }
            }
        }
        self.origins = kept;
        self.since.retain(|key, _| objects.contains_key(key));
        Ledger { objects }
    }
}

fn origins(collection: &Collection) -> BTreeSet<ObjectKey> {
    let sources = collection.iter().filter_map(|resource| resource.origin()?.downcast_ref::<Sources>());
    sources.flat_map(Sources::objects).filter(|key| has_conditions(key.kind)).collect()
}

fn metas(world: &World) -> impl Iterator<Item = (ObjectKey, &Meta)> {
    use pilotage_watcher::Kind;
    let key = |kind, meta: &Meta| ObjectKey::new(kind, meta.namespace.clone(), meta.name.clone());
    let rules = world.virtual_services().map(move |it| (key(Kind::VirtualService, &it.meta), &it.meta));
    let policies = world.destination_rules().map(move |it| (key(Kind::DestinationRule, &it.meta), &it.meta));
    let gateways = world.gateways().map(move |it| (key(Kind::Gateway, &it.meta), &it.meta));
    let entries = world.service_entries().map(move |it| (key(Kind::ServiceEntry, &it.meta), &it.meta));
    let workloads = world.workload_entries().map(move |it| (key(Kind::WorkloadEntry, &it.meta), &it.meta));
    let sidecars = world.sidecars().map(move |it| (key(Kind::Sidecar, &it.meta), &it.meta));
    let telemetries = world.telemetries().map(move |it| (key(Kind::Telemetry, &it.meta), &it.meta));
    let raw = world.envoy_resources().map(move |it| (key(Kind::EnvoyResources, &it.meta), &it.meta));
    rules
        .chain(policies)
        .chain(gateways)
        .chain(entries)
        .chain(workloads)
        .chain(sidecars)
        .chain(telemetries)
        .chain(raw)
}
