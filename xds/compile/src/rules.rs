//! DestinationRules: which one applies to a host for a caller, merged as the resource's reference says.
//!
//! Of the caller's namespace, the host's and the root namespace, the first that has a match decides alone; within it
//! an exact host wins over the longest wildcard. Two rules of one namespace for one host are merged: the older keeps
//! its policy, the subsets of both are there.

use std::collections::BTreeMap;

use pilotage_watcher::resources::{DestinationRule, Subset, TrafficPolicy, WithMeta, WorkloadSelector};
use pilotage_watcher::{Code, Kind, ObjectKey, World};

use crate::hosts::{Host, Hosts, expand, is_visible, wildcard_covers, wildcards};
use crate::report::{Place, Report};
use crate::{Group, Settings};

/// What applies to a host: one DestinationRule, or several merged.
#[derive(Clone, Debug)]
pub(crate) struct HostRule<'w> {
    namespace: &'w str,
    export_to: &'w [String],
    selector: Option<&'w WorkloadSelector>,
    pub(crate) policy: Option<(&'w TrafficPolicy, Place)>,
    pub(crate) subsets: Vec<(&'w Subset, Place)>,
    /// The objects, the oldest first.
    pub(crate) sources: Vec<ObjectKey>,
}

/// Every rule that one group of proxies can see.
#[derive(Debug, Default)]
pub(crate) struct Rules<'w> {
    /// By namespace, then by host or wildcard.
    by_namespace: BTreeMap<&'w str, BTreeMap<String, Vec<HostRule<'w>>>>,
}

impl<'w> Rules<'w> {
    pub(crate) fn of(world: &'w World, settings: &Settings, hosts: &Hosts, report: &mut Report) -> Self {
        let mut sorted: Vec<_> = world.destination_rules().collect();
        sorted.sort_by_key(|rule| rule.precedence());
        let mut rules = Self::default();
        for rule in sorted {
            let host = expand(&rule.spec.host, &rule.meta.namespace, &settings.cluster_domain);
            let source =
                ObjectKey::new(Kind::DestinationRule, rule.meta.namespace.clone(), rule.meta.name.clone());
            let covers = |known: &Host| wildcard_covers(&host, &known.name);
            let used = hosts.exists(&host) || (host.starts_with('*') && hosts.iter().any(covers));
            if !used {
                let unknown = hosts.unknown(&host, &Place::new(source.clone(), "spec.host"));
                let mut unused = Place::new(source.clone(), "spec.host")
                    .problem(Code::UnusedRule, format!("no Service or ServiceEntry has the host {host}"));
                unused.hint = unknown.hint;
                report.add(unused);
            }
            let namespace = rules.by_namespace.entry(&*rule.meta.namespace).or_default();
            add(namespace.entry(host).or_default(), rule, &source, report);
        }
        rules
    }

    /// The rule that applies to a host for a group, if any.
    pub(crate) fn find(&self, host: &Host, group: &Group, settings: &Settings) -> Option<&HostRule<'w>> {
        let (caller, root) = (&*group.namespace, settings.root_namespace.as_str());
        let own = |rule: &HostRule<'_>| {
            // In the root namespace only what is private to it comes first.
            caller != root || rule.export_to.iter().any(|entry| entry == "." || entry == root)
        };
        self.level(caller, host, group, own)
            .or_else(|| self.level(&host.namespace, host, group, |_| true))
            .or_else(|| self.level(root, host, group, |_| true))
    }

    fn level(
        &self,
        namespace: &str,
        host: &Host,
        group: &Group,
        accept: impl Fn(&HostRule<'_>) -> bool,
    ) -> Option<&HostRule<'w>> {
        let of_namespace = self.by_namespace.get(namespace)?;
        let pick = |rules: &'_ Vec<HostRule<'w>>| -> Option<usize> {
            let applies = |rule: &HostRule<'_>| {
                is_visible(rule.export_to, rule.namespace, &group.namespace)
                    && accept(rule)
                    && rule.selector.is_none_or(|selector| {
                        rule.namespace == &*group.namespace && group.has_labels(&selector.match_labels)
                    })
            };
            // One that names the workload wins over one that does not.
            let selected = rules.iter().position(|rule| rule.selector.is_some() && applies(rule));
            selected.or_else(|| rules.iter().position(applies))
        };
        if let Some(rules) = of_namespace.get(&*host.name)
            && let Some(index) = pick(rules)
        {
            return rules.get(index);
        }
        let mut covering: Vec<_> =
            wildcards(of_namespace).filter(|(wildcard, _)| wildcard_covers(wildcard, &host.name)).collect();
        covering.sort_by_key(|(wildcard, _)| std::cmp::Reverse(wildcard.len()));
        covering.into_iter().find_map(|(_, rules)| rules.get(pick(rules)?))
    }
}

fn add<'w>(
    rules: &mut Vec<HostRule<'w>>,
    rule: &'w WithMeta<DestinationRule>,
    source: &ObjectKey,
    report: &mut Report,
) {
    let spec = Place::new(source.clone(), "spec");
    let selector = rule.spec.workload_selector.as_ref();
    let export_to = &rule.spec.export_to[..];
    let older = rules.iter_mut().find(|older| {
        older.selector == selector
            && older.export_to.iter().all(|entry| export_to.contains(entry))
            && older.export_to.is_empty() == export_to.is_empty()
    });
    let mut apart = true;
    if let Some(older) = older {
        apart = older.export_to.len() != export_to.len();
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
            (None, Some(policy)) => older.policy = Some((policy, spec.field("trafficPolicy"))),
            (_, None) => {}
        }
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let place = spec.field("subsets").index(index);
            if older.subsets.iter().any(|(known, _)| known.name == subset.name) {
                let message = format!("subset {:?} is not used, since {first} defines it too", subset.name);
                report.add(place.field("name").problem(Code::DuplicateSubset, message));
            } else {
                older.subsets.push((subset, place));
            }
        }
        older.sources.push(source.clone());
    }
    if apart {
        let mut subsets: Vec<(&Subset, Place)> = Vec::new();
        for (index, subset) in rule.spec.subsets.iter().enumerate() {
            let place = spec.field("subsets").index(index);
            if subsets.iter().any(|(known, _)| known.name == subset.name) {
                let message = format!("subset {:?} is defined above; this one is not used", subset.name);
                report.add(place.field("name").problem(Code::DuplicateSubset, message));
            } else {
                subsets.push((subset, place));
            }
        }
        rules.push(HostRule {
            namespace: &rule.meta.namespace,
            export_to,
            selector,
            policy: rule.spec.traffic_policy.as_ref().map(|policy| (policy, spec.field("trafficPolicy"))),
            subsets,
            sources: vec![source.clone()],
        });
    }
}
