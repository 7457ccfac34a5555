//! Groups that differ in their namespace alone: what one is told is made from what another is.
//!
//! All that a namespace changes has a name: hosts of the namespace itself, which have shorter names there, and what is
//! filed under a name for some namespaces only. Hosts that one sees and the other does not are told by their tables.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::Group;
use crate::catalog::Catalog;
use crate::hosts::HostTable;

/// Whether two groups differ in nothing but their namespace.
pub(super) fn are_kin(one: &Group, other: &Group) -> bool {
    one.kind == other.kind && one.labels == other.labels && one.location == other.location
}

/// The names that may mean one thing to one of two namespaces and another thing to the other, as far as not the hosts
/// themselves differ.
pub(super) fn differing(catalog: &Catalog, hosts: &HostTable, namespaces: [&str; 2]) -> BTreeSet<Arc<str>> {
    let is_theirs = |namespace: &str| namespaces.contains(&namespace);
    let of_hosts = hosts.iter().filter(|host| {
        is_theirs(&host.namespace) || host.aliases.iter().any(|alias| is_theirs(&alias.namespace))
    });
    let of_hosts = of_hosts.map(|host| host.name.clone());
    let claims = catalog.claims().by_host().iter();
    let claims = claims.filter(|(_, named)| named.iter().any(|named| named.claim.looks_at_namespaces()));
    let rules = catalog.rules().by_host().iter();
    let rules =
        rules.filter(|(_, filed)| filed.looks_at_namespaces() || namespaces.iter().any(|ns| filed.is_of(ns)));
    let filed = claims.map(|(name, _)| name).chain(rules.map(|(name, _)| name));
    of_hosts.chain(filed.cloned()).collect()
}
