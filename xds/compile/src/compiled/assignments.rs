//! The endpoints of clusters, under the versions of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::{Name, Resource, ResourceType, Version};
use pilotage_watcher::{Code, NamespacedName, ObjectKey, Problem, World};

use super::{Compiled, encode};
use crate::blueprint::AssignmentPlan;
use crate::endpoints::{Selected, select};
use crate::ir::Assignment;
use crate::outline::Difference;
use crate::table::updated;

/// An assignment under the version of its cluster.
///
/// A cluster that changed warms until it is sent its endpoints, though they be the same (R58): they are another
/// version then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Assigned {
    pub(super) assignment: Assignment,
    parent: Version,
    pub(super) source: ObjectKey,
}

impl Compiled {
    /// Assigns what a change of configuration reaches, and the endpoints that changed with it.
    pub(super) fn follow_assignments(&mut self, previous: &Self, difference: Difference) {
        let Difference { mut plans, touched, .. } = difference;
        for cluster in self.clusters.told.changed_since(&previous.clusters.told) {
            if let Some(plan) = self.plan(&cluster).cloned() {
                plans.insert(cluster, Some(plan));
            }
        }
        let touched = self.outline.plans_of_touched(&touched);
        plans.extend(touched.into_iter().map(|plan| (plan.selection.cluster.clone(), Some(plan))));
        let world = self.outline.catalog().world().clone();
        self.assign(previous, &world, plans);
    }

    /// Assigns the endpoints of these Services.
    pub(super) fn assign_services(
        &mut self,
        previous: &Self,
        world: &World,
        touched: &BTreeSet<NamespacedName>,
    ) {
        let plans = touched.iter().flat_map(|service| self.outline.plans_of_service(service));
        let plans = plans.map(|plan| (plan.selection.cluster.clone(), Some(plan))).collect();
        self.assign(previous, world, plans);
    }

    fn assign(&mut self, previous: &Self, world: &World, plans: BTreeMap<Name, Option<Arc<AssignmentPlan>>>) {
        let mut assigned = BTreeMap::new();
        for (cluster, plan) in plans {
            let Some(plan) = plan else {
                self.endpoint_problems.remove(&cluster);
                assigned.insert(cluster, None);
                continue;
            };
            let selected = select(world, &plan.members, &plan.selection);
            match subset_problem(&plan, &selected) {
                Some(problem) => self.endpoint_problems.insert(cluster.clone(), problem),
                None => self.endpoint_problems.remove(&cluster),
            };
            let parent = self.clusters.told.get(&cluster).map(Resource::version).unwrap_or_default();
            let assignment = selected.assignment;
            assigned.insert(cluster, Some(Assigned { assignment, parent, source: plan.source.clone() }));
        }
        self.assignments = self.layers(previous, &ResourceType::Endpoint, |layers| {
            updated(&layers.meant, assigned, encode::assignment)
        });
    }

    /// How the endpoints of a cluster are found.
    fn plan(&self, cluster: &str) -> Option<&Arc<AssignmentPlan>> {
        // No host has this character in its name.
        let host = cluster.rsplit('|').next()?;
        self.outline.plans_of(host).find(|plan| *plan.selection.cluster == *cluster)
    }
}

/// The problem of a subset whose labels no endpoint has; one of a host without endpoints is not to blame.
pub(crate) fn subset_problem(plan: &AssignmentPlan, selected: &Selected) -> Option<Problem> {
    let (name, place) = plan.subset.as_ref()?;
    let message = format!(
        "no endpoint has the labels of subset {name:?}: calls to {} fail with 503",
        plan.selection.cluster
    );
    (selected.matching == 0 && selected.candidates > 0).then(|| {
        place
            .problem(Code::EmptySubset, message)
            .hint("give the Pods the labels, or correct those of the subset")
    })
}
