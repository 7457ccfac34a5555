//! Services and ServiceEntries filed by the names of their hosts, each read once, whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilotage_watcher::resources::{Service, ServiceEntry, WithMeta};
use pilotage_watcher::{Code, NamespacedName, Problem, World};

use super::{Host, is_domain, service, service_entry};
use crate::Settings;
use crate::report::{Place, Report};

/// Every Service and ServiceEntry; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostIndex {
    services: OrdMap<NamespacedName, Arc<Declared>>,
    entries: OrdMap<NamespacedName, Arc<Declared>>,
    by_name: OrdMap<Arc<str>, Arc<[Candidate]>>,
    /// The names that may mean one thing to one namespace and another thing to another.
    partial: OrdSet<Arc<str>>,
}

/// What one object declares.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    /// Each with its index among those written.
    hosts: Vec<(usize, Arc<Host>)>,
    problems: Vec<Problem>,
}

/// A host as one object declares it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(super) host: Arc<Host>,
    pub(super) index: usize,
    pub(super) origin: Origin,
}

/// The object of a candidate.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    Service {
        export_to: Arc<[String]>,
        /// The name that it leads to, of an ExternalName Service.
        leads_to: Option<Arc<str>>,
    },
    Entry(Arc<WithMeta<ServiceEntry>>),
}

/// The objects that changed.
#[derive(Debug, Default)]
pub(crate) struct TouchedHosts {
    pub(crate) services: BTreeSet<NamespacedName>,
    pub(crate) entries: BTreeSet<NamespacedName>,
}

impl HostIndex {
    pub(crate) fn of(world: &World, settings: &Settings) -> Self {
        let services = world.services().map(|object| &object.meta);
        let entries = world.service_entries().map(|object| &object.meta);
        let all = TouchedHosts {
            services: services.map(|meta| (meta.namespace.clone(), meta.name.clone())).collect(),
            entries: entries.map(|meta| (meta.namespace.clone(), meta.name.clone())).collect(),
        };
        Self::default().updated(world, settings, &all)
    }

    /// The index with these objects as they are now.
    pub(crate) fn updated(&self, world: &World, settings: &Settings, changed: &TouchedHosts) -> Self {
        let mut next = self.clone();
        let mut moves: BTreeMap<Arc<str>, Moves> = BTreeMap::new();
        for id in &changed.services {
            leave(next.services.remove(id), &mut moves);
            if let Some(service) = world.service(&id.0, &id.1) {
                let (declared, origin) = of_service(service, settings);
                come(&declared, &origin, &mut moves);
                next.services.insert(id.clone(), Arc::new(declared));
            }
        }
        for id in &changed.entries {
            leave(next.entries.remove(id), &mut moves);
            if let Some(entry) = world.service_entry(&id.0, &id.1) {
                let mut report = Report::default();
                let hosts = service_entry::hosts(entry, settings, &mut report);
                let hosts = hosts.into_iter().map(|(index, host)| (index, Arc::new(host))).collect();
                let declared = Declared { hosts, problems: report.into_problems() };
                come(&declared, &Origin::Entry(entry.clone()), &mut moves);
                next.entries.insert(id.clone(), Arc::new(declared));
            }
        }
        for (name, moves) in moves {
            let stays = next.by_name.get(&name).into_iter().flat_map(|candidates| candidates.iter());
            let is_same = |one: &Arc<Host>, other: &Arc<Host>| Arc::ptr_eq(one, other);
            let stays = stays.filter(|known| !moves.leave.iter().any(|gone| is_same(gone, &known.host)));
            let mut candidates: Vec<Candidate> = stays.cloned().chain(moves.come).collect();
            candidates.sort_by(|one, other| one.order().cmp(&other.order()));
            let is_partial = candidates.len() > 1 || candidates.iter().any(Candidate::is_exported);
            match is_partial {
                true => next.partial.insert(name.clone()),
                false => next.partial.remove(&name),
            };
            match candidates.is_empty() {
                true => next.by_name.remove(&name),
                false => next.by_name.insert(name, candidates.into()),
            };
        }
        next
    }

    pub(crate) fn by_name(&self) -> &OrdMap<Arc<str>, Arc<[Candidate]>> {
        &self.by_name
    }

    /// The names that may mean one thing to one namespace and another thing to another.
    pub(super) fn partial(&self) -> &OrdSet<Arc<str>> {
        &self.partial
    }

    /// What is wrong with the objects, whoever asks.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.services.values().chain(self.entries.values()).flat_map(|declared| &declared.problems)
    }
}

/// One object declares a name once; what it declares is read anew when it changes.
impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.host, &other.host)
    }
}

impl Candidate {
    /// Whether only some namespaces see it.
    fn is_exported(&self) -> bool {
        match &self.origin {
            Origin::Service { export_to, .. } => !export_to.is_empty(),
            Origin::Entry(entry) => !entry.spec.export_to.is_empty(),
        }
    }

    /// The name that it leads to, of an ExternalName Service.
    pub(super) fn leads_to(&self) -> Option<&Arc<str>> {
        match &self.origin {
            Origin::Service { leads_to, .. } => leads_to.as_ref(),
            Origin::Entry(_) => None,
        }
    }

    /// Services before entries; Services by namespace and name, entries by age.
    fn order(&self) -> (bool, (i64, &str, &str), usize) {
        match &self.origin {
            Origin::Service { .. } => (false, (0, &self.host.namespace, &self.host.source.name), self.index),
            Origin::Entry(entry) => (true, entry.precedence(), self.index),
        }
    }
}

#[derive(Default)]
struct Moves {
    leave: Vec<Arc<Host>>,
    come: Vec<Candidate>,
}

fn leave(declared: Option<Arc<Declared>>, moves: &mut BTreeMap<Arc<str>, Moves>) {
    for (_, host) in declared.iter().flat_map(|declared| &declared.hosts) {
        moves.entry(host.name.clone()).or_default().leave.push(host.clone());
    }
}

fn come(declared: &Declared, origin: &Origin, moves: &mut BTreeMap<Arc<str>, Moves>) {
    for (index, host) in &declared.hosts {
        let candidate = Candidate { host: host.clone(), index: *index, origin: origin.clone() };
        moves.entry(host.name.clone()).or_default().come.push(candidate);
    }
}

fn of_service(service: &Arc<WithMeta<Service>>, settings: &Settings) -> (Declared, Origin) {
    let mut report = Report::default();
    let host = service::host(service, settings, &mut report);
    let export = service.meta.annotations.get("networking.istio.io/exportTo");
    let export_to = export.into_iter().flat_map(|list| list.split(',')).map(|entry| entry.trim().to_owned());
    let leads_to = service::external_name(service).map(Arc::from);
    let origin = Origin::Service { export_to: export_to.collect(), leads_to };
    let mut hosts = Vec::new();
    if is_domain(&host.name) {
        hosts.push((0, Arc::new(host)));
    } else {
        let message = format!("{:?} is not a host name: the Service is not served", host.name);
        report.add(Place::new(host.source, "metadata.name").problem(Code::InvalidValue, message));
    }
    (Declared { hosts, problems: report.into_problems() }, origin)
}
