//! The virtual hosts of sidecars by the name that they are for, and who is given which domains.
//!
//! Whom an edit meets is looked up: those that could have a domain which the edited name could have, before or now.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use pilotage_protocol::Name;
use pilotage_watcher::Problem;

use crate::hosts::Changes;
use crate::interception::{self, PASSTHROUGH};
use crate::ir::VirtualHost;
use crate::parts::{Part, Parts};
use crate::report::Report;
use crate::routing::domains::{Domains, give_out, hash_of};
use crate::routing::{MeshTable, Naming, Reach, Routing, Scope, mesh_hosts};
use crate::sidecar::Sidecar;
use crate::{ProxyKind, egress};

/// The virtual hosts of all tables; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mesh {
    parts: Parts<Named>,
    /// The names that could have a domain, by the domain's [`Naming::contests`].
    contenders: OrdSet<(u64, Arc<str>)>,
    /// How many virtual hosts could be in each table.
    tables: OrdMap<MeshTable, usize>,
}

/// The virtual hosts of one name.
#[derive(Clone, Debug, Default)]
struct Named {
    given: Box<[Given]>,
    /// All that it could have, told by a hash; 0 is nothing.
    wanted: u64,
    contests: Box<[u64]>,
}

/// A virtual host as its domains were given, told by a hash: they are many, and are hardly ever looked at again.
#[derive(Clone, Debug)]
struct Given {
    name: Name,
    table: MeshTable,
    has: u64,
}

/// The virtual hosts of each table that are another thing than before; none where one is gone.
pub(crate) type Made = BTreeMap<MeshTable, BTreeMap<Name, Option<VirtualHost>>>;

/// What a name could have, before it is known what others want.
struct Wanted {
    namings: Vec<(MeshTable, Naming)>,
    /// Names that are only routed come last.
    is_host: bool,
}

/// All that a part is made from.
#[derive(Clone, Copy)]
pub(super) struct Sight<'a> {
    pub(super) scope: &'a Scope<'a>,
    pub(super) routing: &'a Routing<'a>,
    pub(super) sidecar: &'a Sidecar<'a>,
}

impl Mesh {
    /// The tables that some virtual host could be in.
    pub(crate) fn tables(&self) -> impl Iterator<Item = MeshTable> {
        self.tables.keys().copied()
    }

    /// What is wrong with the routes of any name.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Arc<[Problem]>> {
        self.parts.iter().map(|part| &part.problems)
    }

    /// Makes anew what a change reaches.
    pub(super) fn follow(&mut self, changes: &Changes, sight: Sight<'_>) -> Made {
        let mut stale = self.parts.stale(changes);
        let mut wanted: BTreeMap<Arc<str>, Wanted> =
            stale.iter().map(|name| (name.clone(), Wanted::of(name, sight))).collect();
        // Those that an edited name met, or meets, may be given more or less than they have.
        let mut met = BTreeSet::new();
        for (name, wanted) in &wanted {
            self.enter(name, wanted, &mut met);
        }
        met.retain(|name| !wanted.contains_key(name));
        wanted.extend(met.iter().map(|name| (name.clone(), Wanted::of(name, sight))));
        let contests = wanted.values().flat_map(Wanted::contests).collect::<BTreeSet<u64>>();
        let rivals: BTreeSet<_> =
            contests.into_iter().flat_map(|contest| self.contenders_of(contest)).collect();
        for name in rivals.into_iter().filter(|name| !wanted.contains_key(*name)).cloned().collect::<Vec<_>>()
        {
            let rival = Wanted::of(&name, sight);
            wanted.insert(name, rival);
        }
        let given = given(&wanted);
        let has_moved = |before: &Given| {
            let now = given.get(&before.name).map(Vec::as_slice).unwrap_or_default();
            hash_of(now) != before.has
        };
        met.retain(|name| self.parts.get(name).is_some_and(|part| part.outcome.given.iter().any(has_moved)));
        stale.extend(met);
        self.make(&stale, &given, &wanted, sight)
    }

    /// Enters what a name wants now in the place of what it wanted before; `met` are those that want some of either.
    fn enter(&mut self, name: &Arc<str>, wanted: &Wanted, met: &mut BTreeSet<Arc<str>>) {
        let none = Named::default();
        let before = self.parts.get(name).map_or(&none, |part| &part.outcome).clone();
        if before.wanted == wanted.hash() {
            return;
        }
        for contest in &before.contests {
            self.contenders.remove(&(*contest, name.clone()));
        }
        let now = wanted.contests();
        for contest in before.contests.iter().chain(&now) {
            met.extend(self.contenders_of(*contest).cloned());
        }
        self.contenders.extend(now.into_iter().map(|contest| (contest, name.clone())));
        for given in &before.given {
            match self.tables.get(&given.table).map_or(0, |count| count.saturating_sub(1)) {
                0 => self.tables.remove(&given.table),
                left => self.tables.insert(given.table, left),
            };
        }
        for (table, _) in &wanted.namings {
            *self.tables.entry(*table).or_insert(0) += 1;
        }
    }

    fn contenders_of(&self, contest: u64) -> impl Iterator<Item = &Arc<str>> {
        let from = self.contenders.range((Bound::Included((contest, Arc::default())), Bound::Unbounded));
        from.take_while(move |(other, _)| *other == contest).map(|(_, name)| name)
    }

    fn make(
        &mut self,
        stale: &BTreeSet<Arc<str>>,
        given: &Domains,
        wanted: &BTreeMap<Arc<str>, Wanted>,
        sight: Sight<'_>,
    ) -> Made {
        let mut made = Made::new();
        let before = stale.iter().filter_map(|name| self.parts.get(name));
        for gone in before.flat_map(|part| part.outcome.given.iter()) {
            made.entry(gone.table).or_default().insert(gone.name.clone(), None);
        }
        for name in stale {
            let mut report = Report::default();
            sight.scope.hosts.begin(name);
            let (tables, namings): (Vec<_>, Vec<_>) = namings(name, sight).into_iter().unzip();
            let virtual_hosts = mesh_hosts(name, &namings, sight.scope, sight.routing, &mut report);
            let reads = sight.scope.hosts.reads();
            let mut kept = Vec::with_capacity(namings.len());
            for (mut virtual_host, table) in virtual_hosts.into_iter().zip(tables) {
                let domains = given.get(&virtual_host.name).cloned().unwrap_or_default();
                kept.push(Given { name: virtual_host.name.clone(), table, has: hash_of(&domains) });
                // One that nothing leads to would be refused.
                if !domains.is_empty() {
                    virtual_host.domains = domains;
                    made.entry(table).or_default().insert(virtual_host.name.clone(), Some(virtual_host));
                }
            }
            let part = wanted.get(name).filter(|wanted| !wanted.namings.is_empty()).map(|wanted| {
                let contests = wanted.contests().into_iter().collect();
                let outcome = Named { given: kept.into(), wanted: wanted.hash(), contests };
                Part { outcome, problems: report.into_problems().into(), reads }
            });
            self.parts.set(name, part);
        }
        made
    }

    /// The virtual host of each table that answers what no other does.
    pub(super) fn last(&self, sight: Sight<'_>, report: &mut Report) -> BTreeMap<MeshTable, VirtualHost> {
        let Sight { scope, sidecar, .. } = sight;
        match scope.group.kind {
            ProxyKind::Sidecar { egress_port, .. } => {
                let last = egress::unknown_authority(egress_port, None, scope, sidecar, report);
                BTreeMap::from([(MeshTable::AllPorts, last)])
            }
            ProxyKind::Intercepted => {
                let onward = sidecar.lets_unknown_out(scope.settings).then_some(PASSTHROUGH);
                let ports = self.tables().filter_map(|table| Some((table, table.port()?)));
                ports
                    .map(|(table, port)| {
                        (table, egress::unknown_authority(port, onward, scope, sidecar, report))
                    })
                    .collect()
            }
            ProxyKind::Gateway | ProxyKind::Grpc => BTreeMap::new(),
        }
    }
}

impl Wanted {
    fn of(name: &Arc<str>, sight: Sight<'_>) -> Self {
        let is_host = sight.scope.hosts.get(name).is_some();
        Self { namings: namings(name, sight), is_host }
    }

    fn contests(&self) -> BTreeSet<u64> {
        self.namings.iter().flat_map(|(table, naming)| naming.contests(*table)).collect()
    }

    fn hash(&self) -> u64 {
        use std::hash::{Hash, Hasher};
        if self.namings.is_empty() {
            return 0;
        }
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        (self.is_host, &self.namings).hash(&mut hasher);
        hasher.finish()
    }
}

/// The domains of all virtual hosts of some names, among which is everyone who wants any of them.
fn given(wanted: &BTreeMap<Arc<str>, Wanted>) -> Domains {
    let (hosts, routed): (Vec<&Wanted>, Vec<&Wanted>) = wanted.values().partition(|wanted| wanted.is_host);
    let mut tables: BTreeMap<MeshTable, Vec<&Naming>> = BTreeMap::new();
    for (table, naming) in hosts.into_iter().chain(routed).flat_map(|wanted| &wanted.namings) {
        tables.entry(*table).or_default().push(naming);
    }
    tables.into_values().flat_map(|namings| give_out(namings.into_iter())).collect()
}

/// The virtual hosts of a name, each with its table.
fn namings(name: &Arc<str>, sight: Sight<'_>) -> Vec<(MeshTable, Naming)> {
    let Sight { scope, routing, sidecar } = sight;
    if scope.group.kind != ProxyKind::Intercepted {
        let namings = crate::routing::namings(name, &Reach::ALL, scope, routing);
        return namings.into_iter().map(|naming| (MeshTable::AllPorts, naming)).collect();
    }
    let ports = interception::ports(scope, sidecar);
    let reach = Reach { ports: &ports, routed: &|_| true };
    let namings = crate::routing::namings(name, &reach, scope, routing);
    namings.into_iter().map(|naming| (MeshTable::Port(naming.port), naming)).collect()
}
