//! Everything that the sources have said, as typed tables that are cheap to clone.
//!
//! Persistent maps share what did not change, so a compile may run on another thread from a clone while changes go
//! on here. The indexes are those that the compiler asks for; where an object claims a host is the compiler's to say.

use std::sync::Arc;

use imbl::OrdMap;

use crate::resources::{
    Descriptors, DestinationRule, EndpointSlice, EnvoyResources, Gateway, Node, Pod, Secret, Service,
    ServiceEntry, Sidecar, Telemetry, VirtualService, WithMeta, WorkloadEntry,
};
use crate::{Kind, Object, ObjectKey, Touched};

mod difference;
mod index;
mod secret_references;
mod workloads;

use index::{Index, Named};
pub use workloads::Workloads;

/// Namespace and name.
pub type NamespacedName = (Arc<str>, Arc<str>);
type Table<T> = OrdMap<NamespacedName, Arc<WithMeta<T>>>;

/// The typed tables; a clone shares everything and may be compiled from on another thread.
#[derive(Clone, Debug, Default)]
pub struct World {
    services: Table<Service>,
    slices: Table<EndpointSlice>,
    /// The slices of each Service, and those that name each Pod and Node.
    index: Index,
    pods: Table<Pod>,
    nodes: Table<Node>,
    virtual_services: Table<VirtualService>,
    destination_rules: Table<DestinationRule>,
    gateways: Table<Gateway>,
    service_entries: Table<ServiceEntry>,
    workload_entries: Table<WorkloadEntry>,
    sidecars: Table<Sidecar>,
    telemetries: Table<Telemetry>,
    envoy_resources: Table<EnvoyResources>,
    secrets: Table<Secret>,
    descriptors: Table<Descriptors>,
    time: i64,
}

impl World {
    /// Takes in an object; equal content touches nothing.
    pub fn apply(&mut self, object: Object) -> Touched {
        let key = object.key();
        let id = (key.namespace.clone(), key.name.clone());
        match object {
            Object::Service(new) => config(&mut self.services, id, Some(new), key),
            Object::VirtualService(new) => config(&mut self.virtual_services, id, Some(new), key),
            Object::DestinationRule(new) => config(&mut self.destination_rules, id, Some(new), key),
            Object::Gateway(new) => config(&mut self.gateways, id, Some(new), key),
            Object::ServiceEntry(new) => config(&mut self.service_entries, id, Some(new), key),
            Object::WorkloadEntry(new) => config(&mut self.workload_entries, id, Some(new), key),
            Object::Sidecar(new) => config(&mut self.sidecars, id, Some(new), key),
            Object::Telemetry(new) => config(&mut self.telemetries, id, Some(new), key),
            Object::EnvoyResources(new) => config(&mut self.envoy_resources, id, Some(new), key),
            Object::Descriptors(new) => config(&mut self.descriptors, id, Some(new), key),
            Object::EndpointSlice(new) => self.set_slice(id, Some(new)),
            Object::Pod(new) => self.set_pod(id, Some(new)),
            Object::Node(new) => self.set_node(id, Some(new)),
            Object::Secret(new) => self.set_secret(id, Some(new)),
        }
    }

    /// Forgets an object; one that was not there touches nothing.
    pub fn delete(&mut self, key: &ObjectKey) -> Touched {
        let id = (key.namespace.clone(), key.name.clone());
        match key.kind {
            Kind::Service => config(&mut self.services, id, None, key.clone()),
            Kind::VirtualService => config(&mut self.virtual_services, id, None, key.clone()),
            Kind::DestinationRule => config(&mut self.destination_rules, id, None, key.clone()),
            Kind::Gateway => config(&mut self.gateways, id, None, key.clone()),
            Kind::ServiceEntry => config(&mut self.service_entries, id, None, key.clone()),
            Kind::WorkloadEntry => config(&mut self.workload_entries, id, None, key.clone()),
            Kind::Sidecar => config(&mut self.sidecars, id, None, key.clone()),
            Kind::Telemetry => config(&mut self.telemetries, id, None, key.clone()),
            Kind::EnvoyResources => config(&mut self.envoy_resources, id, None, key.clone()),
            Kind::Descriptors => config(&mut self.descriptors, id, None, key.clone()),
            Kind::EndpointSlice => self.set_slice(id, None),
            Kind::Pod => self.set_pod(id, None),
            Kind::Node => self.set_node(id, None),
            Kind::Secret => self.set_secret(id, None),
        }
    }

    /// Every Service, by namespace and name.
    pub fn services(&self) -> impl Iterator<Item = &Arc<WithMeta<Service>>> {
        self.services.values()
    }

    /// Every Service of a namespace.
    pub fn services_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<WithMeta<Service>>> {
        in_namespace(&self.services, namespace)
    }

    /// One Service.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Service>>> {
        self.services.get(&(namespace.into(), name.into()))
    }

    /// The slices of a Service; mirrored Endpoints objects are left out where there is a real slice.
    pub fn slices_of(&self, namespace: &str, service: &str) -> Vec<&Arc<WithMeta<EndpointSlice>>> {
        let service = Named::Service((namespace.into(), service.into()));
        let mut slices: Vec<_> =
            self.index.slices_naming(&service).filter_map(|id| self.slices.get(id)).collect();
        if slices.iter().any(|slice| !slice.spec.mirrored) {
            slices.retain(|slice| !slice.spec.mirrored);
        }
        slices
    }

    /// One Pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Pod>>> {
        self.pods.get(&(namespace.into(), name.into()))
    }

    /// Every Pod, by namespace and name.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<WithMeta<Pod>>> {
        self.pods.values()
    }

    /// Every Pod of a namespace.
    pub fn pods_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<WithMeta<Pod>>> {
        in_namespace(&self.pods, namespace)
    }

    /// Where a Node stands; one that is not known stands nowhere.
    pub fn place(&self, node: Option<&Arc<str>>) -> &Node {
        place(&self.nodes, node)
    }

    /// The Pods and Nodes as they are now.
    pub fn workloads(&self) -> Workloads {
        Workloads { pods: self.pods.clone(), nodes: self.nodes.clone() }
    }

    /// Every VirtualService, by namespace and name.
    pub fn virtual_services(&self) -> impl Iterator<Item = &Arc<WithMeta<VirtualService>>> {
        self.virtual_services.values()
    }

    /// One VirtualService.
    pub fn virtual_service(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<VirtualService>>> {
        self.virtual_services.get(&(namespace.into(), name.into()))
    }

    /// Every DestinationRule, by namespace and name.
    pub fn destination_rules(&self) -> impl Iterator<Item = &Arc<WithMeta<DestinationRule>>> {
        self.destination_rules.values()
    }

    /// One DestinationRule.
    pub fn destination_rule(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<DestinationRule>>> {
        self.destination_rules.get(&(namespace.into(), name.into()))
    }

    /// Every Gateway, by namespace and name.
    pub fn gateways(&self) -> impl Iterator<Item = &Arc<WithMeta<Gateway>>> {
        self.gateways.values()
    }

    /// One Gateway.
    pub fn gateway(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Gateway>>> {
        self.gateways.get(&(namespace.into(), name.into()))
    }

    /// Every ServiceEntry, by namespace and name.
    pub fn service_entries(&self) -> impl Iterator<Item = &Arc<WithMeta<ServiceEntry>>> {
        self.service_entries.values()
    }

    /// One ServiceEntry.
    pub fn service_entry(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<ServiceEntry>>> {
        self.service_entries.get(&(namespace.into(), name.into()))
    }

    /// Every WorkloadEntry, by namespace and name.
    pub fn workload_entries(&self) -> impl Iterator<Item = &Arc<WithMeta<WorkloadEntry>>> {
        self.workload_entries.values()
    }

    /// Every Sidecar, by namespace and name.
    pub fn sidecars(&self) -> impl Iterator<Item = &Arc<WithMeta<Sidecar>>> {
        self.sidecars.values()
    }

    /// One Sidecar.
    pub fn sidecar(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Sidecar>>> {
        self.sidecars.get(&(namespace.into(), name.into()))
    }

    /// Every Telemetry, by namespace and name.
    pub fn telemetries(&self) -> impl Iterator<Item = &Arc<WithMeta<Telemetry>>> {
        self.telemetries.values()
    }

    /// One Telemetry.
    pub fn telemetry(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Telemetry>>> {
        self.telemetries.get(&(namespace.into(), name.into()))
    }

    /// Every EnvoyResources, by namespace and name.
    pub fn envoy_resources(&self) -> impl Iterator<Item = &Arc<WithMeta<EnvoyResources>>> {
        self.envoy_resources.values()
    }

    /// One EnvoyResources.
    pub fn envoy_resources_of(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<EnvoyResources>>> {
        self.envoy_resources.get(&(namespace.into(), name.into()))
    }

    /// All Descriptors, by namespace and name.
    pub fn descriptors(&self) -> impl Iterator<Item = &Arc<WithMeta<Descriptors>>> {
        self.descriptors.values()
    }

    /// One Secret.
    pub fn secret(&self, namespace: &str, name: &str) -> Option<&Arc<WithMeta<Secret>>> {
        self.secrets.get(&(namespace.into(), name.into()))
    }

    /// Every Secret of a namespace.
    pub fn secrets_in<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<WithMeta<Secret>>> {
        in_namespace(&self.secrets, namespace)
    }

    /// The namespaces that have a Secret of this name.
    pub fn namespaces_with_secret<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<str>> {
        self.secrets.keys().filter(move |(_, known)| **known == *name).map(|(namespace, _)| namespace)
    }

    /// What time it is, in seconds since 1970, for certificates that have ended; 0, the default, is before any has.
    pub fn time(&self) -> i64 {
        self.time
    }

    /// Tells what time it is; the world itself reads no clock.
    pub fn set_time(&mut self, time: i64) {
        self.time = time;
    }

    /// Whether nothing is there that could be served.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
            && self.service_entries.is_empty()
            && self.gateways.is_empty()
            && self.envoy_resources.is_empty()
    }

    fn set_slice(&mut self, id: NamespacedName, new: Option<Arc<WithMeta<EndpointSlice>>>) -> Touched {
        let mut touched = Touched::default();
        let old = match &new {
            Some(new) => self.slices.insert(id.clone(), new.clone()),
            None => self.slices.remove(&id),
        };
        if old == new {
            return touched;
        }
        for slice in [&old, &new].into_iter().flatten() {
            touched.endpoints.insert((id.0.clone(), slice.spec.service.clone()));
        }
        self.index.update(&id, old.as_deref(), new.as_deref());
        touched
    }

    fn set_pod(&mut self, id: NamespacedName, new: Option<Arc<WithMeta<Pod>>>) -> Touched {
        let mut touched = Touched::default();
        let old = match &new {
            Some(new) => self.pods.insert(id.clone(), new.clone()),
            None => self.pods.remove(&id),
        };
        if old == new {
            return touched;
        }
        // A Pod matters by the slices that name it, and by the selectors of ServiceEntries.
        self.touch_pod(&id, &mut touched);
        touched
    }

    /// A Node matters by where it stands, to the slices with endpoints there and to entries that select its Pods.
    fn set_node(&mut self, id: NamespacedName, new: Option<Arc<WithMeta<Node>>>) -> Touched {
        let mut touched = Touched::default();
        let old = match &new {
            Some(new) => self.nodes.insert(id.clone(), new.clone()),
            None => self.nodes.remove(&id),
        };
        if place_of(old.as_ref()) != place_of(new.as_ref()) {
            self.touch_node(&id.1, &mut touched);
        }
        touched
    }

    /// A Secret that nobody names touches nothing, and one that is as usable as before only those that hold it.
    fn set_secret(&mut self, id: NamespacedName, mut new: Option<Arc<WithMeta<Secret>>>) -> Touched {
        let mut touched = Touched::default();
        let old = self.secrets.get(&id).cloned();
        if let (Some(old), Some(new)) = (&old, &mut new)
            && (new.spec.pair.fault.is_some() || new.spec.authorities.fault.is_some())
        {
            let new = Arc::make_mut(new);
            new.spec.pair.keep(&old.spec.pair);
            new.spec.authorities.keep(&old.spec.authorities);
        }
        match &new {
            Some(new) => self.secrets.insert(id.clone(), new.clone()),
            None => self.secrets.remove(&id),
        };
        if old == new || !self.names_secret(&id.1) {
            return touched;
        }
        match (&old, &new) {
            (Some(old), Some(new)) if old.spec.is_alike(&new.spec) => {
                touched.secrets.insert(id);
            }
            _ => {
                touched.config.insert(ObjectKey::new(Kind::Secret, id.0, id.1));
            }
        }
        touched
    }

    /// Whether a Gateway or a DestinationRule anywhere names a Secret so.
    fn names_secret(&self, name: &str) -> bool {
        let servers = self.gateways.values().flat_map(|gateway| &gateway.spec.servers);
        let servers = servers.filter_map(|server| server.tls.as_ref()).flat_map(|tls| {
            tls.credential_name.iter().chain(&tls.credential_names).chain(&tls.ca_cert_credential_name)
        });
        let policies = self.destination_rules.values().flat_map(|rule| {
            let subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
            rule.spec.traffic_policy.iter().chain(subsets)
        });
        let policies = policies.flat_map(|policy| {
            let ports = policy.port_level_settings.iter().filter_map(|port| port.tls.as_ref());
            policy.tls.iter().chain(ports).filter_map(|tls| tls.credential_name.as_ref())
        });
        servers.chain(policies).any(|written| {
            let written = written.rsplit('/').next().unwrap_or(written);
            written == name || name.strip_suffix("-cacert") == Some(written)
        })
    }
}

fn in_namespace<'a, T>(
    table: &'a Table<T>,
    namespace: &'a str,
) -> impl Iterator<Item = &'a Arc<WithMeta<T>>> {
    table
        .range((Arc::from(namespace), Arc::from(""))..)
        .take_while(move |((other, _), _)| &**other == namespace)
        .map(|(_, object)| object)
}

fn config<T: PartialEq>(
    table: &mut Table<T>,
    id: NamespacedName,
    new: Option<Arc<WithMeta<T>>>,
    key: ObjectKey,
) -> Touched {
    let old = match &new {
        Some(new) => table.insert(id, new.clone()),
        None => table.remove(&id),
    };
    let mut touched = Touched::default();
    if old != new {
        touched.config.insert(key);
    }
    touched
}

fn place<'a>(nodes: &'a Table<Node>, name: Option<&Arc<str>>) -> &'a Node {
    // No namespace costs no memory.
    place_of(name.and_then(|name| nodes.get(&(Arc::default(), name.clone()))))
}

fn place_of(node: Option<&Arc<WithMeta<Node>>>) -> &Node {
    node.map_or(const { &Node { region: None, zone: None, subzone: None } }, |node| &node.spec)
}

#[cfg(test)]
mod tests;
