//! Edits of what is there: one field is thrown again, an object goes, or its content takes another's name. Of objects
//! that are thrown whole hardly any two change what a third one leads to; here a world stays, and its edges move.

use super::*;

/// The object with one of these fields as another one has it.
macro_rules! with_one_of {
    ($dice:expr, $variant:ident, $old:expr, $new:expr, [$($field:ident),+]) => {{
        let fields = [$(stringify!($field)),+];
        let chosen = $dice.pick(&fields);
        let mut edited = (**$old).clone();
        $(if chosen == stringify!($field) {
            edited.spec.$field = $new.spec.$field.clone();
        })+
        Object::$variant(Arc::new(edited))
    }};
}

impl Dice {
    /// An edit of one of these objects.
    pub(crate) fn edit(&mut self, there: &BTreeMap<ObjectKey, Object>) -> Change {
        // What is for a group as a whole makes everything anew, and would cover up what an edit misses.
        let is_rare = self.one_in(8);
        let of_all = [Kind::Gateway, Kind::Sidecar, Kind::Telemetry, Kind::EnvoyResources];
        let objects: Vec<_> = there.values().filter(|one| of_all.contains(&one.kind()) == is_rare).collect();
        if objects.is_empty() {
            return self.change();
        }
        let object = self.pick(&objects);
        match self.one_in(6) {
            true => Change::Delete(object.key()),
            false => Change::Apply(self.edited(object)),
        }
    }

    /// The object with a field thrown again.
    fn edited(&mut self, object: &Object) -> Object {
        match (object, self.object(object.kind())) {
            (Object::Service(old), Object::Service(new)) if self.one_in(4) => {
                let mut edited = (**old).clone();
                edited.meta.annotations = new.meta.annotations.clone();
                Object::Service(Arc::new(edited))
            }
            (Object::Service(old), Object::Service(new)) => {
                with_one_of!(self, Service, old, new, [address, ports, selector, traffic_distribution])
            }
            (Object::EndpointSlice(old), Object::EndpointSlice(new)) => {
                with_one_of!(self, EndpointSlice, old, new, [service, ports, endpoints])
            }
            (Object::VirtualService(old), Object::VirtualService(new)) => {
                with_one_of!(self, VirtualService, old, new, [hosts, gateways, http, tls, tcp, export_to])
            }
            (Object::DestinationRule(old), Object::DestinationRule(new)) => {
                with_one_of!(
                    self,
                    DestinationRule,
                    old,
                    new,
                    [host, traffic_policy, subsets, export_to, workload_selector]
                )
            }
            (Object::Gateway(old), Object::Gateway(new)) => {
                with_one_of!(self, Gateway, old, new, [servers, selector])
            }
            (Object::ServiceEntry(old), Object::ServiceEntry(new)) => {
                with_one_of!(
                    self,
                    ServiceEntry,
                    old,
                    new,
                    [hosts, addresses, ports, resolution, endpoints, workload_selector, export_to]
                )
            }
            (Object::Sidecar(old), Object::Sidecar(new)) => {
                with_one_of!(
                    self,
                    Sidecar,
                    old,
                    new,
                    [workload_selector, ingress, egress, outbound_traffic_policy]
                )
            }
            (old, new) => renamed(new, &old.key()),
        }
    }
}

/// The object under the name of another one of its kind.
fn renamed(object: Object, key: &ObjectKey) -> Object {
    fn of<T: Clone>(object: Arc<WithMeta<T>>, key: &ObjectKey) -> Arc<WithMeta<T>> {
        let mut renamed = (*object).clone();
        (renamed.meta.namespace, renamed.meta.name) = (key.namespace.clone(), key.name.clone());
        Arc::new(renamed)
    }
    match object {
        Object::Pod(pod) => Object::Pod(of(pod, key)),
        Object::WorkloadEntry(entry) => Object::WorkloadEntry(of(entry, key)),
        Object::Telemetry(telemetry) => Object::Telemetry(of(telemetry, key)),
        Object::EnvoyResources(resources) => Object::EnvoyResources(of(resources, key)),
        Object::Secret(secret) => Object::Secret(of(secret, key)),
        other => other,
    }
}
