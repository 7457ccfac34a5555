//! What is wrong with a world whoever looks at it: every kind of proxy that could, each in every namespace.

mod advice;
mod viewers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use imbl::OrdMap;
use pilotage_protocol::Name;
use pilotage_watcher::{Code, Problem, Severity, World};

use crate::catalog::Catalog;
use crate::compiled::subset_problem;
use crate::endpoints::select;
use crate::outline::Outline;
use crate::raw::{Operation, misplaced};
use crate::report::Report;
use crate::{Group, ProxyKind, Settings};

/// What everyone who could ask would be told, as far as it takes to say what is wrong with it.
///
/// A successor looks again at what changed alone.
#[derive(Clone, Default)]
pub struct Checkup {
    catalog: Catalog,
    views: BTreeMap<Group, View>,
    /// What is wrong with objects that each do what they say, by what is configured and by which workloads there are.
    advice: [Arc<[Problem]>; 2],
}

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
/// every selector; a gRPC client of every Service port; and, where a Sidecar object holds and in one other namespace, a
/// sidecar to which connections are redirected. What only gRPC clients cannot do is told as information, since nothing
/// here says that there are any; so is what is wrong for redirected connections alone, and what only a sidecar can do
/// that has them. Who checks again and again keeps a [`Checkup`].
pub fn check(world: &World, settings: &Settings) -> Vec<Problem> {
    Checkup::default().follow(&Catalog::of(world, settings)).problems()
}

impl Checkup {
    /// The checkup of a later catalog.
    pub fn follow(&self, catalog: &Catalog) -> Self {
        let (world, settings) = (catalog.world(), catalog.settings());
        let viewers = viewers::viewers(world, settings, self.views.keys());
        let none = View::default();
        let view = |(group, asked): (Group, BTreeSet<Name>)| {
            let view = self.views.get(&group).unwrap_or(&none).follow(catalog, &group, &asked);
            (group, view)
        };
        let is_as_before = self.catalog.settings() == settings
            && world.changes_since(self.catalog.world()).config.is_empty();
        let of_config = match is_as_before {
            true => self.advice[0].clone(),
            false => advised(|report| advice::of_config(world, settings, report)),
        };
        let of_workloads = advised(|report| advice::unmatched_selectors(world, report));
        Self {
            catalog: catalog.clone(),
            views: viewers.into_iter().map(view).collect(),
            advice: [of_config, of_workloads],
        }
    }

    /// What is wrong, each thing once, sorted by object and field.
    pub fn problems(&self) -> Vec<Problem> {
        let mut report = Report::default();
        let of_kind = |wanted: fn(ProxyKind) -> bool| {
            let views = self.views.iter().filter(move |(group, _)| wanted(group.kind));
            views.flat_map(|(_, view)| view.problems())
        };
        report.extend(of_kind(|kind| !matches!(kind, ProxyKind::Grpc | ProxyKind::Intercepted)));
        report.extend(self.advice.iter().flat_map(|advice| advice.iter().cloned()));
        self.tell_misplaced(&mut report);
        // What is known already is not made less by who else sees it.
        report.extend(of_kind(|kind| kind == ProxyKind::Intercepted).map(as_information));
        for problem in of_kind(|kind| kind == ProxyKind::Grpc) {
            report.add(match problem.code {
                Code::NotForGrpcClients => as_information(problem),
                _ => problem,
            });
        }
        let unless_redirected = |problem: Problem| match problem.code {
            Code::NeedsInterception => as_information(problem),
            _ => problem,
        };
        report.into_problems().into_iter().map(unless_redirected).collect()
    }
}

impl Checkup {
    /// Says which resources in Envoy's own words are written over nothing, whoever looks, or beside one that anyone has.
    fn tell_misplaced(&self, report: &mut Report) {
        let mut over_something = BTreeSet::new();
        let mut over_nothing = Vec::new();
        for view in self.views.values() {
            for (resource_type, written) in view.outline.raw().iter() {
                for (name, (_, operation, place)) in written {
                    let is_made = view.outline.makes(resource_type, name);
                    match misplaced(resource_type, name, *operation, place, is_made) {
                        Some(problem) if *operation == Operation::Replace => over_nothing.push(problem),
                        Some(problem) => report.add(problem),
                        None => drop(over_something.insert((&place.object, place.field("name").path))),
                    }
                }
            }
        }
        let is_told = |problem: &Problem| {
            let object = problem.object.as_ref();
            !object.is_some_and(|object| over_something.contains(&(object, problem.path.clone())))
        };
        report.extend(over_nothing.into_iter().filter(is_told));
    }
}

fn as_information(problem: Problem) -> Problem {
    problem.severity(Severity::Info)
}

fn advised(advise: impl FnOnce(&mut Report)) -> Arc<[Problem]> {
    let mut report = Report::default();
    advise(&mut report);
    report.into_problems().into()
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
