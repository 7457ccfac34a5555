//! The clusters of every host that a group calls: one for each port and subset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::Name;
use pilotage_watcher::{Code, World};

use super::Difference;
use crate::blueprint::AssignmentPlan;
use crate::credentials::{Credentials, SecretPlan};
use crate::endpoints::{Selection, Spread, Unhealthy};
use crate::hosts::{Changes, Host, Port};
use crate::ir::{Cluster, Discovery};
use crate::parts::{Part, Parts};
use crate::report::{Place, Report};
use crate::routing::Scope;
use crate::rules::HostRule;
use crate::{ProxyKind, clusters};

/// The clusters of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clusters {
    pub(super) names: Box<[Name]>,
    pub(super) plans: Box<[Arc<AssignmentPlan>]>,
    pub(super) secrets: BTreeMap<Name, SecretPlan>,
}

/// The names of clusters that are used, by their host.
pub(crate) type Used = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// Which clusters are used now, and which were before; everything where there is nothing to choose by.
#[derive(Clone, Copy)]
pub(super) struct Choice<'a> {
    pub(super) before: &'a Used,
    pub(super) now: &'a Used,
}

/// Makes anew what a change reaches.
pub(super) fn follow(
    parts: &mut Parts<Clusters>,
    changes: &Changes,
    choice: Option<Choice<'_>>,
    world: &World,
    scope: &Scope<'_>,
    difference: &mut Difference,
) {
    let mut stale = parts.stale(changes);
    if let Some(Choice { before, now }) = choice {
        let other = |(host, names): &(&Arc<str>, &BTreeSet<_>), than: &Used| than.get(*host) != Some(*names);
        stale.extend(before.iter().filter(|used| other(used, now)).map(|(host, _)| host.clone()));
        stale.extend(now.iter().filter(|used| other(used, before)).map(|(host, _)| host.clone()));
    }
    for name in stale {
        if let Some(before) = parts.get(&name) {
            difference.clusters.extend(before.outcome.names.iter().map(|name| (name.clone(), None)));
            let plans = before.outcome.plans.iter();
            difference.plans.extend(plans.map(|plan| (plan.selection.cluster.clone(), None)));
        }
        scope.hosts.begin(&name);
        let host = scope.hosts.get(&name).filter(|host| *host.name == *name);
        let used = choice.map(|choice| choice.now.get(&name));
        let part = match (host, used) {
            (None, _) | (_, Some(None)) => None,
            (Some(host), None) => Some(part(host, |_| true, world, scope, difference)),
            (Some(host), Some(Some(used))) => {
                Some(part(host, |name| used.contains(name), world, scope, difference))
            }
        };
        parts.set(&name, part);
    }
}

fn part(
    host: &Host,
    wanted: impl Fn(&str) -> bool,
    world: &World,
    scope: &Scope<'_>,
    difference: &mut Difference,
) -> Part<Clusters> {
    let mut report = Report::default();
    let mut credentials = Credentials::of(world, scope.group);
    if host.preference.only_same_node && scope.group.location.node.is_empty() {
        let message = "a proxy that does not say which node it runs on calls endpoints on every node";
        let place = Place::new(host.source.clone(), "spec.internalTrafficPolicy");
        let problem = place.problem(Code::NoEffect, message);
        report.add(problem.hint("set NODE_NAME in the metadata of the proxy's bootstrap"));
    }
    let rule = scope.rules.find(host, scope.group, scope.settings);
    let (mut names, mut plans) = (Vec::new(), Vec::new());
    for port in &host.ports {
        let subsets = rule.into_iter().flat_map(HostRule::subsets);
        let subsets = subsets.filter(|(subset, _)| !subset.name.is_empty());
        let named = subsets.map(|(subset, place)| (subset.name.as_str(), Some((subset, place))));
        for (subset, defined) in std::iter::once(("", None)).chain(named) {
            if !wanted(&host.cluster_name(port.number, subset)) {
                continue;
            }
            let caller = (scope.group, scope.settings);
            let made = clusters::cluster(host, port, subset, rule, caller, &mut credentials, &mut report);
            let Some((cluster, spread)) = made else { continue };
            if cluster.discovery == Discovery::Assigned {
                let labels = defined.map(|(subset, _)| subset.labels.clone()).unwrap_or_default();
                let subset = defined.map(|(subset, place)| (subset.name.clone(), place.clone()));
                let plan = plan(host, port, &cluster, labels, spread, scope);
                let plan = Arc::new(AssignmentPlan { subset, ..plan });
                difference.plans.insert(cluster.name.clone(), Some(plan.clone()));
                plans.push(plan);
            }
            names.push(cluster.name.clone());
            difference.clusters.insert(cluster.name.clone(), Some(cluster));
        }
    }
    let mut reads = scope.hosts.reads();
    reads.secrets = credentials.are_read;
    let outcome = Clusters { names: names.into(), plans: plans.into(), secrets: credentials.plans };
    Part { outcome, problems: report.into_problems().into(), reads }
}

fn plan(
    host: &Host,
    port: &Port,
    cluster: &Cluster,
    labels: BTreeMap<String, String>,
    spread: Spread,
    scope: &Scope<'_>,
) -> AssignmentPlan {
    let node = &scope.group.location.node;
    AssignmentPlan {
        members: host.members.clone(),
        selection: Selection {
            cluster: cluster.name.clone(),
            namespace: host.namespace.clone(),
            port: port.clone(),
            labels: Arc::new(labels),
            unhealthy: match scope.group.kind {
                ProxyKind::Grpc => Unhealthy::LeftOut,
                ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Gateway => Unhealthy::Named,
            },
            spread: Arc::new(spread),
            only_on: Some(node.clone()).filter(|node| host.preference.only_same_node && !node.is_empty()),
        },
        subset: None,
        source: host.source.clone(),
    }
}
