//! What is wrong with a world whoever looks at it: every kind of proxy that could, each in every namespace.

mod viewers;

use std::collections::{BTreeMap, BTreeSet};

use imbl::OrdMap;
use pilotage_protocol::Name;
use pilotage_watcher::{Code, Problem, Severity, World};

use crate::catalog::Catalog;
use crate::compiled::subset_problem;
use crate::endpoints::select;
use crate::outline::Outline;
use crate::report::Report;
use crate::{Group, ProxyKind, Settings};

/// What everyone who could ask would be told, as far as it takes to say what is wrong with it.
///
/// A successor looks again at what changed alone.
#[derive(Clone, Default)]
pub struct Checkup(BTreeMap<Group, View>);

/// The world as one group sees it.
#[derive(Clone, Default)]
struct View {
    outline: Outline,
    /// What is wrong with endpoints, by the cluster.
    endpoints: OrdMap<Name, Problem>,
}

/// Translates for everyone who could ask, and tells what is wrong, each thing once, sorted by object and field.
///
/// Everyone is: a sidecar in every namespace, and one with every set of labels that a rule looks at; a gateway for
/// every selector; a gRPC client of every Service port. What only gRPC clients cannot do is told as information,
/// since nothing here says that there are any; and so is what only a sidecar can do to which connections are redirected,
/// since nothing says that there are others. Who checks again and again keeps a [`Checkup`].
pub fn check(world: &World, settings: &Settings) -> Vec<Problem> {
    Checkup::default().follow(&Catalog::of(world, settings)).problems()
}

impl Checkup {
    /// The checkup of a later catalog.
    pub fn follow(&self, catalog: &Catalog) -> Self {
        let viewers = viewers::viewers(catalog.world(), catalog.settings(), self.0.keys());
        let none = View::default();
        let view = |(group, asked): (Group, BTreeSet<Name>)| {
            let view = self.0.get(&group).unwrap_or(&none).follow(catalog, &group, &asked);
            (group, view)
        };
        Self(viewers.into_iter().map(view).collect())
    }

    /// What is wrong, each thing once, sorted by object and field.
    pub fn problems(&self) -> Vec<Problem> {
        let mut report = Report::default();
        let (of_clients, of_proxies): (Vec<_>, Vec<_>) =
            self.0.iter().partition(|(group, _)| group.kind == ProxyKind::Grpc);
        for (_, view) in of_proxies {
            report.extend(view.problems());
        }
        for problem in of_clients.into_iter().flat_map(|(_, view)| view.problems()) {
            report.add(match problem.code {
                Code::NotForGrpcClients => problem.severity(Severity::Info),
                _ => problem,
            });
        }
        let unless_redirected = |problem: Problem| match problem.code {
            Code::NeedsInterception => problem.severity(Severity::Info),
            _ => problem,
        };
        report.into_problems().into_iter().map(unless_redirected).collect()
    }
}

impl View {
    fn follow(&self, catalog: &Catalog, group: &Group, asked: &BTreeSet<Name>) -> Self {
        let (outline, difference) = self.outline.follow(catalog, group, asked);
        let mut endpoints = self.endpoints.clone();
        let mut plans = difference.plans;
        for plan in outline.plans_of_touched(&difference.touched) {
            plans.insert(plan.selection.cluster.clone(), Some(plan));
        }
        for (cluster, plan) in plans {
            let plan = plan.filter(|plan| plan.subset.is_some());
            let found = plan.and_then(|plan| {
                subset_problem(&plan, &select(catalog.world(), &plan.members, &plan.selection))
            });
            match found {
                Some(problem) => endpoints.insert(cluster, problem),
                None => endpoints.remove(&cluster),
            };
        }
        Self { outline, endpoints }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.outline.problems();
        problems.extend(self.endpoints.values().cloned());
        problems
    }
}
