//! The hosts that one group can call: of every name the object that has it, and other names folded into their hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use pilotage_watcher::{Code, Problem};

use super::index::{Candidate, HostIndex, Origin};
use super::{Alias, Host, Members, is_visible};
use crate::report::{Place, Report};
use crate::{Group, ProxyKind};

/// How many names are looked through for the one that was meant.
const FEW: usize = 256;
/// How many are on each side of a name, where there are more than a few.
const NEIGHBOURS: usize = 16;

/// Hosts by name; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostTable {
    visible: OrdMap<Arc<str>, Arc<Host>>,
    /// Every name there is.
    known: OrdMap<Arc<str>, Arc<[Candidate]>>,
    /// The host that another name leads to.
    aliases: Arc<BTreeMap<Arc<str>, Arc<str>>>,
    /// The names that some other name leads to, whether there are such hosts or not.
    targets: Arc<BTreeSet<Arc<str>>>,
    /// What is wrong with the hosts of a name.
    problems: OrdMap<Arc<str>, Arc<[Problem]>>,
}

impl HostTable {
    /// The hosts that a group sees, of which `knows` says what a proxy need not know.
    pub(crate) fn of(index: &HostIndex, group: &Group, knows: impl Fn(&Host) -> bool) -> Self {
        let mut table = Self { known: index.by_name().clone(), ..Self::default() };
        let mut aliases = Vec::new();
        let mut visible = Vec::new();
        for (name, candidates) in index.by_name() {
            let mut report = Report::default();
            let holder = holder(candidates, &group.namespace, &mut report);
            table.tell(name, report);
            let Some(holder) = holder else { continue };
            visible.push((name.clone(), holder.host.clone()));
            if let Some(target) = holder.leads_to() {
                aliases.push((name.clone(), target.clone()));
            }
        }
        table.visible = visible.into_iter().collect();
        let targets = index.by_name().values().flat_map(|candidates| candidates.iter());
        table.targets = Arc::new(targets.filter_map(|candidate| candidate.leads_to().cloned()).collect());
        table.fold_aliases(aliases);
        let out = table.visible.values().filter(|host| !is_told(host, group) || !knows(host));
        for host in out.cloned().collect::<Vec<_>>() {
            table.visible.remove(&host.name);
            if !is_told(&host, group) {
                let mut report = Report::default();
                report
                    .extend(table.problems.get(&host.name).into_iter().flat_map(|told| told.iter()).cloned());
                report.add(not_told(&host));
                table.tell(&host.name, report);
            }
        }
        table
    }

    /// The hosts that a group sees of a later index; this table is of the group `before`, which differs in nothing but the
    /// namespace. Of names whose object did not change, those that `moved` alone may be known now or no longer.
    pub(crate) fn follow<'a>(
        &'a self,
        index: &'a HostIndex,
        (before, group): (&Group, &Group),
        moved: impl Iterator<Item = &'a Arc<str>>,
        knows: impl Fn(&Host) -> bool,
    ) -> Self {
        let changed = self.known.diff(index.by_name()).map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => name,
            DiffItem::Update { new: (name, _), .. } => name,
        });
        let mut names: BTreeSet<&Arc<str>> = changed.chain(moved).collect();
        if before.namespace != group.namespace {
            names.extend(index.partial());
        }
        // Other names of a host are folded into it, from wherever they are.
        let leads = |candidates: &Arc<[Candidate]>| candidates.iter().any(|one| one.leads_to().is_some());
        let is_entangled = |name: &Arc<str>| {
            let candidates = [self.known.get(name), index.by_name().get(name)];
            self.targets.contains(name) || candidates.into_iter().flatten().any(leads)
        };
        if names.iter().any(|name| is_entangled(name)) {
            return Self::of(index, group, knows);
        }
        let mut next = Self { known: index.by_name().clone(), ..self.clone() };
        for name in names {
            let mut report = Report::default();
            let candidates = next.known.get(name).cloned();
            let holder = candidates.iter().find_map(|all| holder(all, &group.namespace, &mut report));
            let host = holder.map(|holder| holder.host.clone());
            if let Some(host) = host.as_ref().filter(|host| !is_told(host, group)) {
                report.add(not_told(host));
            }
            match host.filter(|host| is_told(host, group) && knows(host)) {
                Some(host) => next.visible.insert(name.clone(), host),
                None => next.visible.remove(name),
            };
            next.tell(name, report);
        }
        next
    }

    /// Puts what is wrong with a name in the place of what was.
    fn tell(&mut self, name: &Arc<str>, report: Report) {
        let problems = report.into_problems();
        match problems.is_empty() {
            true => self.problems.remove(name),
            false => self.problems.insert(name.clone(), problems.into()),
        };
    }

    /// Makes ExternalName Services that lead to a known host another name of it.
    fn fold_aliases(&mut self, mut aliases: Vec<(Arc<str>, Arc<str>)>) {
        // What leads to an alias leads to what that leads to; a circle leads nowhere and stays as it is.
        let leads: BTreeMap<Arc<str>, Arc<str>> = aliases.iter().cloned().collect();
        aliases.retain(|(name, target)| self.visible.contains_key(&**target) && name != target);
        let mut folded = BTreeMap::new();
        for (name, target) in aliases {
            let mut end = target;
            for _ in 0..leads.len() {
                match leads.get(&end) {
                    Some(next) if self.visible.contains_key(&**next) => end = next.clone(),
                    _ => break,
                }
            }
            // The end of a circle is one of its own names.
            if leads.get(&end).is_some_and(|next| self.exists(next)) {
                continue;
            }
            let Some(host) = self.visible.remove(&name) else { continue };
            let alias =
                Alias { name: name.clone(), namespace: host.namespace.clone(), source: host.source.clone() };
            match self.visible.get_mut(&end) {
                Some(target) => {
                    Arc::make_mut(target).aliases.push(alias);
                    folded.insert(name, end);
                }
                None => {
                    self.visible.insert(name, host);
                }
            }
        }
        self.aliases = Arc::new(folded);
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Host> {
        let found = self.visible.get(name).or_else(|| self.visible.get(&**self.aliases.get(name)?));
        found.map(|host| &**host)
    }

    /// Every name under which a host can be found, apart from other names of it.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.visible.keys()
    }

    /// Names that a mistaken one may mean: all of a few, and of many those beside it in order and those of other
    /// namespaces that begin alike. To look through ten thousand for each mistake would take longer than all else.
    pub(crate) fn near(&self, name: &str) -> Vec<&str> {
        if self.visible.len() <= FEW {
            return self.names().map(|known| &**known).collect();
        }
        let first = format!("{}.", name.split('.').next().unwrap_or_default());
        let from = |bound: Bound<&str>| {
            self.visible.range::<_, str>((bound, Bound::Unbounded)).map(|(known, _)| &**known)
        };
        let alike = from(Bound::Included(&first)).take_while(|known| known.starts_with(&first)).take(FEW);
        let after = from(Bound::Excluded(name)).take(NEIGHBOURS);
        let before = self.visible.range::<_, str>((Bound::Unbounded, Bound::Excluded(name)));
        let before = before.rev().map(|(known, _)| &**known).take(NEIGHBOURS);
        let mut near: Vec<&str> = alike.collect();
        near.extend(after.chain(before));
        near
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.visible.values().map(|host| &**host)
    }

    /// Whether the name exists, whoever may see it.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// What is wrong with hosts, such as those of which several objects have one name.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Arc<[Problem]>> {
        self.problems.values()
    }

    /// The names that stand for another thing than in `older`, or for nothing there or here.
    pub(crate) fn changed_since(&self, older: &Self) -> Vec<Arc<str>> {
        let hosts = older.visible.diff(&self.visible).filter_map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => Some(name.clone()),
            DiffItem::Update { old: (_, old), new: (name, new) } => (old != new).then(|| name.clone()),
        });
        let known = older.known.diff(&self.known).filter_map(|item| match item {
            DiffItem::Add(name, _) | DiffItem::Remove(name, _) => Some(name.clone()),
            DiffItem::Update { .. } => None,
        });
        let mut names: Vec<_> = hosts.chain(known).collect();
        if self.aliases != older.aliases {
            let before = older.aliases.iter().filter(|(name, end)| self.aliases.get(*name) != Some(end));
            let after = self.aliases.iter().filter(|(name, end)| older.aliases.get(*name) != Some(end));
            names.extend(before.chain(after).map(|(name, _)| name.clone()));
        }
        names
    }
}

/// Whether a group can be told of a host: one that is wherever its clients connect to is told to those that know where
/// that is.
fn is_told(host: &Host, group: &Group) -> bool {
    group.kind == ProxyKind::Intercepted || !matches!(host.members, Members::Destination)
}

fn not_told(host: &Host) -> Problem {
    let message = "hosts of resolution NONE are wherever a client connects to, which only a sidecar knows to which \
                   connections are redirected: this proxy is not told of them";
    let place = Place::new(host.source.clone(), "spec.resolution");
    let problem = place.problem(Code::NeedsInterception, message);
    problem.hint("use DNS or STATIC, or start the sidecar with --intercepted")
}

/// Who has a name, as a namespace sees it: a Service, else an entry of the namespace itself, else the older entry.
fn holder<'a>(candidates: &'a [Candidate], namespace: &str, report: &mut Report) -> Option<&'a Candidate> {
    let mut holder: Option<&Candidate> = None;
    let mut entries = Vec::new();
    for candidate in candidates {
        let owner = &candidate.host.namespace;
        match &candidate.origin {
            Origin::Service { export_to, .. } => {
                if is_visible(export_to, owner, namespace) {
                    holder = Some(candidate);
                }
            }
            Origin::Entry(entry) => {
                if is_visible(&entry.spec.export_to, owner, namespace) {
                    entries.push(candidate);
                }
            }
        }
    }
    entries.sort_by_key(|candidate| *candidate.host.namespace != *namespace);
    for entry in entries {
        match holder {
            None => holder = Some(entry),
            Some(first) => {
                let message = format!(
                    "{} has the host {} and comes first: of this entry its ports and endpoints are not used",
                    first.host.source, entry.host.name
                );
                let place = Place::new(entry.host.source.clone(), "spec.hosts").index(entry.index);
                let hint = "put the endpoints into one ServiceEntry, or name another host";
                report.add(place.problem(Code::DuplicateHost, message).hint(hint));
            }
        }
    }
    holder
}
