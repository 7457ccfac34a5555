//! The secrets that something refers to, each under the versions of all that does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::{Collection, Name, ResourceType, Version};
use pilotage_watcher::{NamespacedName, World};

use super::{Compiled, encode};
use crate::credentials::{self, SecretPlan};
use crate::ir::Secret;
use crate::table::{replacing, updated};

impl Compiled {
    /// Brings all secrets up to date; proxies that are given none have no plans.
    pub(super) fn follow_secrets(&mut self, previous: &Self) {
        let plans = self.outline.secrets();
        let world = self.outline.catalog().world();
        let secrets = secrets(world, &plans, [&self.clusters.told, &self.listeners.told]);
        self.secrets = self.layers(previous, &ResourceType::Secret, |layers| {
            updated(&layers.meant, replacing(&layers.meant, secrets), encode::secret)
        });
    }

    /// Brings these Secrets up to date, which are as usable as they were.
    pub(super) fn rotate(&mut self, previous: &Self, world: &World, touched: &BTreeSet<NamespacedName>) {
        let mut plans = self.outline.secrets();
        plans.retain(|_, plan| touched.contains(plan.object()));
        let secrets = secrets(world, &plans, [&self.clusters.told, &self.listeners.told]);
        let secrets = secrets.into_iter().map(|(name, secret)| (name, Some(secret))).collect();
        self.secrets = self.layers(previous, &ResourceType::Secret, |layers| {
            updated(&layers.meant, secrets, encode::secret)
        });
    }
}

/// The secrets of these plans, each under the versions of all that refers to it.
fn secrets(
    world: &World,
    plans: &BTreeMap<Name, SecretPlan>,
    parents_of: [&Arc<Collection>; 2],
) -> BTreeMap<Name, Secret> {
    let mut parents: BTreeMap<&Name, Vec<Version>> = plans.keys().map(|name| (name, Vec::new())).collect();
    if parents.is_empty() {
        return BTreeMap::new();
    }
    for resource in parents_of.into_iter().flat_map(|collection| collection.iter()) {
        for reference in resource.references() {
            if reference.resource_type == ResourceType::Secret
                && let Some(parents) = parents.get_mut(&reference.name)
            {
                parents.push(resource.version());
            }
        }
    }
    let secret = |(name, parents): (&Name, Vec<Version>)| {
        Some((name.clone(), credentials::secret(world, name, plans.get(name)?, parents)?))
    };
    // What nothing refers to in the end, because its server is not opened, is nobody's to have.
    parents.into_iter().filter(|(_, parents)| !parents.is_empty()).filter_map(secret).collect()
}
