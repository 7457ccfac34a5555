//! DestinationRules filed by host: what they say together, and what is wrong with that, whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use pilotage_watcher::resources::{DestinationRule, WithMeta};
use pilotage_watcher::{Code, Kind, NamespacedName, ObjectKey, Problem, World};

use super::HostRule;
use crate::Settings;
use crate::hosts::expand;
use crate::report::{Place, Report};

/// Every DestinationRule by the full host or wildcard that it is for; a clone shares everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleIndex {
    by_host: OrdMap<Arc<str>, Arc<Filed>>,
    /// The host of each object.
    hosts: OrdMap<NamespacedName, Arc<str>>,
}

/// The rules for one host, by their namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filed(BTreeMap<Arc<str>, Arc<Merged>>);

/// The rules of one namespace for one host.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// The oldest first.
    pub(super) objects: Vec<Arc<WithMeta<DestinationRule>>>,
    pub(crate) rules: Vec<HostRule>,
    pub(crate) problems: Vec<Problem>,
}

/// What is filed is put together anew when any of it changes.
impl PartialEq for Filed {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self.0.values().zip(other.0.values()).all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

impl Filed {
    pub(super) fn in_namespace(&self, namespace: &str) -> Option<&Merged> {
        self.0.get(namespace).map(|merged| &**merged)
    }

    /// Whether a namespace says anything of the host.
    pub(crate) fn is_of(&self, namespace: &str) -> bool {
        self.0.contains_key(namespace)
    }

    /// Whether any of it is for some namespaces only.
    pub(crate) fn looks_at_namespaces(&self) -> bool {
        self.iter()
            .flat_map(|merged| &merged.objects)
            .any(|rule| !rule.spec.export_to.is_empty() || rule.spec.workload_selector.is_some())
    }

    /// What each namespace says of the host.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Merged> {
        self.0.values().map(|merged| &**merged)
    }
}

impl Merged {
    fn of(mut objects: Vec<Arc<WithMeta<DestinationRule>>>) -> Self {
        objects.sort_by(|one, other| one.precedence().cmp(&other.precedence()));
        let (mut rules, mut report) = (Vec::new(), Report::default());
        for rule in &objects {
            add(&mut rules, rule, &mut report);
        }
        Self { rules, problems: report.into_problems(), objects }
    }

    /// The objects, the oldest first.
    pub(crate) fn sources(&self) -> impl Iterator<Item = ObjectKey> {
        self.objects.iter().map(|rule| key(rule))
    }
}

impl RuleIndex {
    pub(crate) fn of(world: &World, settings: &Settings) -> Self {
        let all = world.destination_rules().map(|rule| {
            let meta = &rule.meta;
            (meta.namespace.clone(), meta.name.clone())
        });
        Self::default().updated(world, settings, all)
    }

    /// The index with these objects as they are now.
    pub(crate) fn updated(
        &self,
        world: &World,
        settings: &Settings,
        touched: impl IntoIterator<Item = NamespacedName>,
    ) -> Self {
        let mut next = self.clone();
        // By host and namespace: who leaves, and who comes.
        let mut moves: BTreeMap<(Arc<str>, Arc<str>), Moves> = BTreeMap::new();
        for id in touched {
            if let Some(host) = next.hosts.remove(&id) {
                moves.entry((host, id.0.clone())).or_default().leave.insert(id.1.clone());
            }
            if let Some(rule) = world.destination_rule(&id.0, &id.1) {
                let host: Arc<str> = expand(&rule.spec.host, &id.0, &settings.cluster_domain).into();
                moves.entry((host.clone(), id.0.clone())).or_default().come.push(rule.clone());
                next.hosts.insert(id, host);
            }
        }
        for ((host, namespace), moves) in moves {
            let mut filed = next.by_host.get(&host).map(|filed| (**filed).clone()).unwrap_or_default();
            let before = filed.0.remove(&namespace);
            let stays = before.iter().flat_map(|merged| &merged.objects);
            let stays = stays.filter(|rule| !moves.leave.contains(&rule.meta.name)).cloned();
            let objects: Vec<_> = stays.chain(moves.come).collect();
            if !objects.is_empty() {
                filed.0.insert(namespace, Arc::new(Merged::of(objects)));
            }
            match filed.0.is_empty() {
                true => next.by_host.remove(&host),
                false => next.by_host.insert(host, Arc::new(filed)),
            };
        }
        next
    }

    pub(crate) fn by_host(&self) -> &OrdMap<Arc<str>, Arc<Filed>> {
        &self.by_host
    }
}

#[derive(Default)]
struct Moves {
    leave: BTreeSet<Arc<str>>,
    come: Vec<Arc<WithMeta<DestinationRule>>>,
}

fn key(rule: &WithMeta<DestinationRule>) -> ObjectKey {
    ObjectKey::new(Kind::DestinationRule, rule.meta.namespace.clone(), rule.meta.name.clone())
}

/// Adds a rule to the older ones of its namespace and host.
fn add(rules: &mut Vec<HostRule>, rule: &Arc<WithMeta<DestinationRule>>, report: &mut Report) {
    let source = key(rule);
    let spec = Place::new(source.clone(), "spec");
    let selector = rule.spec.workload_selector.as_ref();
    let export_to = &rule.spec.export_to[..];
    let older = rules.iter_mut().find(|older| {
        let audience = &older.first.spec.export_to;
        older.first.spec.workload_selector.as_ref() == selector
            && audience.iter().all(|entry| export_to.contains(entry))
            && audience.is_empty() == export_to.is_empty()
    });
    let mut apart = true;
    if let Some(older) = older {
        apart = older.first.spec.export_to.len() != export_to.len();
        let first = older.sources.first().map(ToString::to_string).unwrap_or_default();
        report.add(
            spec.field("host")
                .problem(Code::MergedRules, format!("{first} is for the same host: the two are merged"))
                .hint("write one DestinationRule for the host"),
        );
        match (&older.policy, &rule.spec.traffic_policy) {
            (Some(_), Some(_)) => report.add(spec.field("trafficPolicy").problem(
                Code::MergedRules,
                format!("this policy is not used, since {first} is older and has one"),
            )),
            (None, Some(_)) => older.policy = Some((rule.clone(), spec.field("trafficPolicy"))),
            (_, None) => {}
        }
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let place = spec.field("subsets").index(index);
            if older.subsets().any(|(known, _)| known.name == subset.name) {
                let message = format!("subset {:?} is not used, since {first} defines it too", subset.name);
                report.add(place.field("name").problem(Code::DuplicateSubset, message));
            } else {
                older.subsets.push((rule.clone(), index, place));
            }
        }
        older.sources.push(source.clone());
    }
    if apart {
        let policy = rule.spec.traffic_policy.as_ref().map(|_| (rule.clone(), spec.field("trafficPolicy")));
        let mut new = HostRule { first: rule.clone(), policy, subsets: Vec::new(), sources: vec![source] };
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let place = spec.field("subsets").index(index);
            if new.subsets().any(|(known, _)| known.name == subset.name) {
                let message = format!("subset {:?} is defined above; this one is not used", subset.name);
                report.add(place.field("name").problem(Code::DuplicateSubset, message));
            } else {
                new.subsets.push((rule.clone(), index, place));
            }
        }
        rules.push(new);
    }
}
