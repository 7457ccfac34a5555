//! The hosts that one group can call: of every name the object that has it, and other names folded into their hosts.

use std::collections::BTreeMap;
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
    problems: Arc<[Problem]>,
}

impl HostTable {
    /// The hosts that a group sees, of which `knows` says what a proxy need not know.
    pub(crate) fn of(index: &HostIndex, group: &Group, knows: impl Fn(&Host) -> bool) -> Self {
        let mut table = Self { known: index.by_name().clone(), ..Self::default() };
        let mut report = Report::default();
        let mut aliases = Vec::new();
        let mut visible = Vec::new();
        for (name, candidates) in index.by_name() {
            let Some(holder) = holder(candidates, &group.namespace, &mut report) else { continue };
            visible.push((name.clone(), holder.host.clone()));
            if let Origin::Service { leads_to: Some(target), .. } = &holder.origin {
                aliases.push((name.clone(), target.clone()));
            }
        }
        table.visible = visible.into_iter().collect();
        table.fold_aliases(aliases);
        if group.kind != ProxyKind::Intercepted {
            table.leave_out_destinations(&mut report);
        }
        table.leave_out(|host| !knows(host));
        table.problems = report.into_problems().into();
        table
    }

    /// Leaves out hosts that are wherever their clients connect to, for proxies that do not know where that is.
    fn leave_out_destinations(&mut self, report: &mut Report) {
        for host in self.leave_out(|host| matches!(host.members, Members::Destination)) {
            let message = "hosts of resolution NONE are wherever a client connects to, which only a sidecar knows to \
                           which connections are redirected: this proxy is not told of them";
            let place = Place::new(host.source.clone(), "spec.resolution");
            let problem = place.problem(Code::NeedsInterception, message);
            report.add(problem.hint("use DNS or STATIC, or start the sidecar with --intercepted"));
        }
    }

    fn leave_out(&mut self, is_out: impl Fn(&Host) -> bool) -> Vec<Arc<Host>> {
        let out: Vec<_> = self.visible.values().filter(|host| is_out(host)).cloned().collect();
        for host in &out {
            self.visible.remove(&host.name);
        }
        out
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

    /// What is wrong with hosts of which several objects have one name.
    pub(crate) fn problems(&self) -> &Arc<[Problem]> {
        &self.problems
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
