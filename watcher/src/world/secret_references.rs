//! Which Secrets the world refers to, and so which have to be read where Secrets are not read as a kind.
//!
//! A Secret is looked for in the namespace of the gateway's workload, never in that of the object that names it. The
//! answer may hold a Secret that turns out not to be needed, and never lacks one that is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{NamespacedName, World};
use crate::resources::{ClientTls, DestinationRule, Gateway, ServerTls, WithMeta};
use crate::{Kind, ObjectKey};

/// What stands before the name of a Secret where its store is written as well.
const SCHEME: &str = "kubernetes://";

/// The workload of a gateway: its namespace, and those of its labels that are known.
type Workload<'a> = (&'a Arc<str>, &'a BTreeMap<Arc<str>, Arc<str>>);

impl World {
    /// The Secrets that a Gateway or a DestinationRule refers to, with one of the objects that do. `gateways` are
    /// gateways that are known beside those that the world's Pods are.
    pub fn secret_references<'a>(
        &self,
        gateways: impl IntoIterator<Item = Workload<'a>>,
    ) -> BTreeMap<NamespacedName, ObjectKey> {
        let known: Vec<Workload<'a>> = gateways.into_iter().collect();
        let mut references = BTreeMap::new();
        let mut at_the_edge: BTreeSet<Arc<str>> = BTreeSet::new();
        for gateway in self.gateways.values() {
            let namespaces = self.workload_namespaces(gateway, &known);
            let names: Vec<String> = of_gateway(gateway).collect();
            let key =
                || ObjectKey::new(Kind::Gateway, gateway.meta.namespace.clone(), gateway.meta.name.clone());
            for namespace in &namespaces {
                refer(&mut references, namespace, &names, key);
            }
            at_the_edge.extend(namespaces);
        }
        for rule in self.destination_rules.values() {
            let names: Vec<String> = of_rule(&rule.spec).collect();
            if names.is_empty() {
                continue;
            }
            let key =
                || ObjectKey::new(Kind::DestinationRule, rule.meta.namespace.clone(), rule.meta.name.clone());
            for namespace in at_the_edge.iter().filter(|namespace| applies(rule, namespace)) {
                refer(&mut references, namespace, &names, key);
            }
        }
        references
    }

    /// Where the workloads of a Gateway run; where none are known, in its own namespace.
    fn workload_namespaces(&self, gateway: &WithMeta<Gateway>, known: &[Workload<'_>]) -> BTreeSet<Arc<str>> {
        let selector = &gateway.spec.selector;
        let selects = |labels: &BTreeMap<Arc<str>, Arc<str>>| {
            selector
                .iter()
                .all(|(key, value)| labels.get(key.as_str()).is_some_and(|found| **found == **value))
        };
        let mut namespaces: BTreeSet<Arc<str>> = known
            .iter()
            .filter(|(_, labels)| selects(labels))
            .map(|(namespace, _)| (*namespace).clone())
            .collect();
        // A selector that is empty is of every gateway, and no Pod says that it is one.
        if !selector.is_empty() {
            let pods = self.pods.values().filter(|pod| selects(&pod.meta.labels));
            namespaces.extend(pods.map(|pod| pod.meta.namespace.clone()));
        }
        if namespaces.is_empty() {
            namespaces.insert(gateway.meta.namespace.clone());
        }
        namespaces
    }
}

fn refer(
    references: &mut BTreeMap<NamespacedName, ObjectKey>,
    namespace: &Arc<str>,
    names: &[String],
    key: impl Fn() -> ObjectKey,
) {
    for written in names {
        let bare = written.strip_prefix(SCHEME).unwrap_or(written);
        let name = match bare.split_once('/') {
            None => bare,
            Some((elsewhere, name)) if *elsewhere == **namespace => name,
            // Of another namespace or another store: nobody is given it.
            Some(_) => continue,
        };
        if !name.is_empty() {
            references.entry((namespace.clone(), name.into())).or_insert_with(&key);
        }
    }
}

/// The names that the servers of a Gateway may look for.
fn of_gateway(gateway: &WithMeta<Gateway>) -> impl Iterator<Item = String> + '_ {
    let tls = gateway.spec.servers.iter().filter_map(|server| server.tls.as_ref());
    tls.filter(|tls| !matches!(tls.mode.as_deref(), Some("PASSTHROUGH" | "AUTO_PASSTHROUGH")))
        .flat_map(of_server)
}

fn of_server(tls: &ServerTls) -> Vec<String> {
    let mut names: Vec<String> = tls.credential_name.iter().chain(&tls.credential_names).cloned().collect();
    if matches!(tls.mode.as_deref(), Some("MUTUAL" | "OPTIONAL_MUTUAL")) {
        names.extend(tls.credential_name.iter().map(|name| of_authorities(name)));
    }
    names.extend(tls.ca_cert_credential_name.iter().flat_map(|name| [name.clone(), of_authorities(name)]));
    names
}

/// The names that the policies of a rule may look for.
fn of_rule(rule: &DestinationRule) -> impl Iterator<Item = String> + '_ {
    let subsets = rule.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
    let policies = rule.traffic_policy.iter().chain(subsets);
    let tls = policies.flat_map(|policy| {
        let ports = policy.port_level_settings.iter().filter_map(|port| port.tls.as_ref());
        policy.tls.iter().chain(ports)
    });
    tls.filter_map(|tls: &ClientTls| tls.credential_name.as_ref())
        .flat_map(|name| [name.clone(), of_authorities(name)])
}

/// The name under which the authorities that belong to a Secret may lie apart.
fn of_authorities(name: &str) -> String {
    format!("{name}-cacert")
}

/// Whether a rule can be one of a workload in the namespace.
fn applies(rule: &WithMeta<DestinationRule>, namespace: &Arc<str>) -> bool {
    let is_own = rule.meta.namespace == *namespace;
    let is_told = rule.spec.export_to.is_empty()
        || rule.spec.export_to.iter().any(|to| match to.as_str() {
            "*" => true,
            "." => is_own,
            named => *named == **namespace,
        });
    is_told && (rule.spec.workload_selector.is_none() || is_own)
}

#[cfg(test)]
mod tests;
