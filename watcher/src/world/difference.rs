//! What separates two worlds of which one came of the other: told as what the changes between them touched.
//!
//! Persistent maps share what did not change, and a comparison passes over what they share.

use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;

use super::index::Named;
use super::{NamespacedName, Table, World};
use crate::resources::WithMeta;
use crate::{Kind, ObjectKey, Touched};

impl World {
    /// What was touched between `older` and this world.
    ///
    /// Never less than what [`World::apply`] and [`World::delete`] said of the changes one by one, apart from what
    /// changed there and back. Costs the number of changes where one world is a descendant of the other.
    pub fn changes_since(&self, older: &Self) -> Touched {
        let mut touched = Touched::default();
        let config = &mut touched.config;
        collect(&older.services, &self.services, Kind::Service, config);
        collect(&older.virtual_services, &self.virtual_services, Kind::VirtualService, config);
        collect(&older.destination_rules, &self.destination_rules, Kind::DestinationRule, config);
        collect(&older.gateways, &self.gateways, Kind::Gateway, config);
        collect(&older.service_entries, &self.service_entries, Kind::ServiceEntry, config);
        collect(&older.workload_entries, &self.workload_entries, Kind::WorkloadEntry, config);
        collect(&older.sidecars, &self.sidecars, Kind::Sidecar, config);
        collect(&older.telemetries, &self.telemetries, Kind::Telemetry, config);
        collect(&older.descriptors, &self.descriptors, Kind::Descriptors, config);
        collect(&older.envoy_resources, &self.envoy_resources, Kind::EnvoyResources, config);
        for (id, old, new) in changed(&older.slices, &self.slices) {
            for slice in [old, new].into_iter().flatten() {
                touched.endpoints.insert((id.0.clone(), slice.spec.service.clone()));
            }
        }
        for (id, _, _) in changed(&older.pods, &self.pods) {
            self.touch_pod(id, &mut touched);
            older.touch_pod(id, &mut touched);
        }
        for (id, old, new) in changed(&older.nodes, &self.nodes) {
            if super::place_of(old) != super::place_of(new) {
                self.touch_node(&id.1, &mut touched);
                older.touch_node(&id.1, &mut touched);
            }
        }
        for (id, old, new) in changed(&older.secrets, &self.secrets) {
            if !self.names_secret(&id.1) && !older.names_secret(&id.1) {
                continue;
            }
            match (old, new) {
                (Some(old), Some(new)) if old.spec.is_alike(&new.spec) => {
                    touched.secrets.insert(id.clone());
                }
                _ => {
                    touched.config.insert(ObjectKey::new(Kind::Secret, id.0.clone(), id.1.clone()));
                }
            }
        }
        touched
    }

    /// What a Pod that changes touches: the slices that name it, and entries that may select it.
    pub(super) fn touch_pod(&self, pod: &NamespacedName, touched: &mut Touched) {
        touched.endpoints.extend(self.services_naming(&Named::Pod(pod.clone())));
        if self.is_selected(pod) {
            touched.config.insert(ObjectKey::new(Kind::Pod, pod.0.clone(), pod.1.clone()));
        }
    }

    /// What a Node whose place changes touches: the slices with endpoints on it, and entries that may select its Pods.
    pub(super) fn touch_node(&self, node: &Arc<str>, touched: &mut Touched) {
        touched.endpoints.extend(self.services_naming(&Named::Node(node.clone())));
        if self.service_entries.values().any(|entry| entry.spec.workload_selector.is_some()) {
            for (id, _) in self.pods.iter().filter(|(_, pod)| pod.spec.node.as_ref() == Some(node)) {
                if self.is_selected(id) {
                    touched.config.insert(ObjectKey::new(Kind::Pod, id.0.clone(), id.1.clone()));
                }
            }
        }
    }

    /// The Services whose slices name this.
    fn services_naming(&self, named: &Named) -> Vec<NamespacedName> {
        let slices = self.index.slices_naming(named).filter_map(|id| Some((id, self.slices.get(id)?)));
        slices.map(|(id, slice)| (id.0.clone(), slice.spec.service.clone())).collect()
    }

    /// Whether a ServiceEntry may select a Pod: one of its namespace that selects at all.
    fn is_selected(&self, pod: &NamespacedName) -> bool {
        let mut entries = super::in_namespace(&self.service_entries, &pod.0);
        entries.any(|entry| entry.spec.workload_selector.is_some())
    }
}

type Changed<'a, T> = (&'a NamespacedName, Option<&'a Arc<WithMeta<T>>>, Option<&'a Arc<WithMeta<T>>>);

fn changed<'a, T: PartialEq>(
    old: &'a Table<T>,
    new: &'a OrdMap<NamespacedName, Arc<WithMeta<T>>>,
) -> impl Iterator<Item = Changed<'a, T>> {
    old.diff(new).filter_map(|item| match item {
        DiffItem::Add(id, new) => Some((id, None, Some(new))),
        DiffItem::Remove(id, old) => Some((id, Some(old), None)),
        DiffItem::Update { old: (_, old), new: (id, new) } => {
            (!Arc::ptr_eq(old, new) && old != new).then_some((id, Some(old), Some(new)))
        }
    })
}

fn collect<T: PartialEq>(
    old: &Table<T>,
    new: &Table<T>,
    kind: Kind,
    touched: &mut std::collections::BTreeSet<ObjectKey>,
) {
    touched.extend(changed(old, new).map(|(id, _, _)| ObjectKey::new(kind, id.0.clone(), id.1.clone())));
}
