//! DestinationRules: which one applies to a host for a caller, merged as the resource's reference says.
//!
//! Of the caller's namespace, the host's and the root namespace, the first that has a match decides alone; within it
//! an exact host wins over the longest wildcard. Two rules of one namespace for one host are merged: the older keeps
//! its policy, the subsets of both are there. [`RuleIndex`] files them by host, whoever the caller is.

mod index;

use std::sync::Arc;

use pilotage_watcher::resources::{DestinationRule, Subset, TrafficPolicy, WithMeta};
use pilotage_watcher::{Code, ObjectKey};

use crate::hosts::{Host, Hosts, is_visible, wildcard_covers, wildcards};
use crate::report::{Place, Report};
use crate::{Group, Settings};

pub(crate) use index::{Filed, RuleIndex};

/// What applies to a host: one DestinationRule, or several merged.
#[derive(Clone, Debug)]
pub(crate) struct HostRule {
    /// The one whose namespace, audience and workloads hold for all of it.
    first: Arc<WithMeta<DestinationRule>>,
    /// The one whose policy holds.
    policy: Option<(Arc<WithMeta<DestinationRule>>, Place)>,
    /// Each with its index among those of its object.
    subsets: Vec<(Arc<WithMeta<DestinationRule>>, usize, Place)>,
    /// The objects, the oldest first.
    pub(crate) sources: Vec<ObjectKey>,
}

impl HostRule {
    /// The policy of the host as a whole, and where it stands.
    pub(crate) fn policy(&self) -> Option<(&TrafficPolicy, &Place)> {
        let (rule, place) = self.policy.as_ref()?;
        Some((rule.spec.traffic_policy.as_ref()?, place))
    }

    /// The subsets, and where each is defined.
    pub(crate) fn subsets(&self) -> impl Iterator<Item = (&Subset, &Place)> {
        self.subsets.iter().filter_map(|(rule, index, place)| Some((rule.spec.subsets.get(*index)?, place)))
    }

    /// Whether a group is among those that the rule is for.
    fn applies(&self, group: &Group) -> bool {
        let namespace = &*self.first.meta.namespace;
        is_visible(&self.first.spec.export_to, namespace, &group.namespace)
            && self.first.spec.workload_selector.as_ref().is_none_or(|selector| {
                *namespace == *group.namespace && group.has_labels(&selector.match_labels)
            })
    }

    fn is_private_to(&self, namespace: &str) -> bool {
        self.first.spec.export_to.iter().any(|entry| entry == "." || entry == namespace)
    }
}

/// Every rule, to be looked up for a host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    index: &'a RuleIndex,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(index: &'a RuleIndex) -> Self {
        Self { index }
    }

    /// The rule that applies to a host for a group, if any.
    pub(crate) fn find(&self, host: &Host, group: &Group, settings: &Settings) -> Option<&'a HostRule> {
        let (caller, root) = (&*group.namespace, settings.root_namespace.as_str());
        // In the root namespace only what is private to it comes first.
        let own = |rule: &HostRule| caller != root || rule.is_private_to(root);
        self.level(caller, host, group, own)
            .or_else(|| self.level(&host.namespace, host, group, |_| true))
            .or_else(|| self.level(root, host, group, |_| true))
    }

    fn level(
        &self,
        namespace: &str,
        host: &Host,
        group: &Group,
        accept: impl Fn(&HostRule) -> bool,
    ) -> Option<&'a HostRule> {
        let pick = |filed: &'a Arc<Filed>| -> Option<&'a HostRule> {
            let rules = &filed.in_namespace(namespace)?.rules;
            let applies = |rule: &&HostRule| rule.applies(group) && accept(rule);
            // One that names the workload wins over one that does not.
            let names_workload = |rule: &&HostRule| rule.first.spec.workload_selector.is_some();
            let selected = rules.iter().filter(names_workload).find(applies);
            selected.or_else(|| rules.iter().find(applies))
        };
        let by_host = self.index.by_host();
        if let Some(rule) = by_host.get(&*host.name).and_then(pick) {
            return Some(rule);
        }
        let mut covering: Vec<_> =
            wildcards(by_host).filter(|(wildcard, _)| wildcard_covers(wildcard, &host.name)).collect();
        covering.sort_by_key(|(wildcard, _)| std::cmp::Reverse(wildcard.len()));
        covering.into_iter().find_map(|(_, filed)| pick(filed))
    }
}

/// Says what is wrong with the rules for a host, and whether there is such a host.
pub(crate) fn tell(host: &str, filed: &Filed, hosts: &Hosts<'_>, report: &mut Report) {
    let is_used = hosts.exists(host)
        || (host.starts_with('*') && hosts.iter().any(|known| wildcard_covers(host, &known.name)));
    for merged in filed.iter() {
        report.extend(merged.problems.iter().cloned());
        for source in merged.sources().filter(|_| !is_used) {
            let place = Place::new(source, "spec.host");
            let mut unused =
                place.problem(Code::UnusedRule, format!("no Service or ServiceEntry has the host {host}"));
            unused.hint = hosts.unknown(host, &place).hint;
            report.add(unused);
        }
    }
}
