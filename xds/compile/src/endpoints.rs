//! The endpoints of a Service port and subset, from EndpointSlices or from a ServiceEntry's list.
//!
//! This is the hot path: it reads nothing but the slices of one Service, the labels of their Pods, and where their Nodes
//! stand.

mod spread;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::World;
use pilotage_watcher::resources::{self, Family, Transport, WorkloadEntry};

use crate::hosts::{Members, Port, endpoint_port};
pub(crate) use spread::{HOSTNAME, REGION, Spread, ZONE, covers, label_of_failover, of_location};

use crate::ir::{Address, Assignment, Endpoint, Health, Locality, LocalityEndpoints};

/// All that an assignment is made from, apart from the endpoints themselves.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// The cluster's name.
    pub(crate) cluster: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) port: Port,
    /// Labels that an endpoint must all have.
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// Whether endpoints that are not ready are named, or left out.
    pub(crate) unhealthy: Unhealthy,
    pub(crate) spread: Arc<Spread>,
    /// The machine outside of which no endpoint is called.
    pub(crate) only_on: Option<Arc<str>>,
}

/// What is done with endpoints that are not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unhealthy {
    /// Envoy is told of them, so that its view is whole.
    Named,
    /// gRPC clients would ignore them.
    LeftOut,
}

/// An assignment, and how it came about.
pub(crate) struct Selected {
    pub(crate) assignment: Assignment,
    /// How many endpoints there were before the labels were looked at.
    pub(crate) candidates: usize,
    /// How many of them had the labels, ready or not.
    pub(crate) matching: usize,
}

/// What is known of an endpoint: health, locality, weight, rank.
type Sighting = (Health, Locality, u32, u32);

#[derive(Default)]
struct Found {
    /// By address, each once, with what is known of it.
    endpoints: BTreeMap<Address, Sighting>,
    candidates: usize,
    matching: usize,
    /// The sockets of each Pod; one with several has addresses of both families.
    of_pod: BTreeMap<Arc<str>, Vec<(IpAddr, u16)>>,
}

impl Found {
    /// Leaves one address of each Pod: two would be called twice as often as the one of another Pod.
    fn keep_family(&mut self, family: Family) {
        for sockets in std::mem::take(&mut self.of_pod).into_values() {
            let is_preferred = |socket: &&(IpAddr, u16)| socket.0.is_ipv6() == (family == Family::V6);
            if sockets.iter().any(|socket| is_preferred(&socket)) {
                for other in sockets.iter().filter(|socket| !is_preferred(socket)) {
                    self.endpoints.remove(&Address::Socket(other.0, other.1));
                }
            }
        }
    }
}

/// The endpoints that a selection has now.
pub(crate) fn select(world: &World, members: &Members, selection: &Selection) -> Selected {
    let mut found = Found::default();
    match members {
        Members::Slices { service, family, .. } => {
            from_slices(world, service, selection, &mut found);
            found.keep_family(*family);
        }
        Members::Selected { labels, targets } => from_labels(world, labels, targets, selection, &mut found),
        Members::Listed { entries, targets } => from_list(&entries[..], targets, selection, &mut found),
        Members::Dns { .. } | Members::Destination => {}
    }
    fit(found.endpoints.values_mut().map(|(_, _, weight, _)| weight));
    let mut by_rank: BTreeMap<(u32, Locality), Vec<Endpoint>> = BTreeMap::new();
    for (at, (health, locality, weight, rank)) in found.endpoints {
        by_rank.entry((rank, locality)).or_default().push(Endpoint { at, health, weight });
    }
    let mut localities: Vec<LocalityEndpoints> = Vec::new();
    let mut last = None;
    for ((rank, locality), endpoints) in by_rank {
        let priority = match localities.last() {
            None => 0,
            Some(before) => before.priority + u32::from(last != Some(rank)),
        };
        last = Some(rank);
        localities.push(LocalityEndpoints { locality, priority, weight: None, endpoints });
    }
    selection.spread.weigh(&mut localities);
    Selected {
        assignment: Assignment { cluster: selection.cluster.clone(), localities },
        candidates: found.candidates,
        matching: found.matching,
    }
}

fn from_slices(world: &World, service: &str, selection: &Selection, found: &mut Found) {
    for slice in world.slices_of(&selection.namespace, service) {
        let port = slice.spec.ports.iter().find(|port| {
            port.name == selection.port.name && port.transport == Transport::Tcp && port.port != 0
        });
        let Some(port) = port else { continue };
        for endpoint in &slice.spec.endpoints {
            let Some(address) = endpoint.addresses.first() else { continue };
            let Some(health) = health(endpoint) else { continue };
            found.candidates += 1;
            if !has_labels(world, &selection.namespace, endpoint, &selection.labels) {
                continue;
            }
            found.matching += 1;
            if health == Health::Unhealthy && selection.unhealthy == Unhealthy::LeftOut {
                continue;
            }
            if selection.only_on.is_some() && selection.only_on != endpoint.node {
                continue;
            }
            // What is written on the slice is believed before the machine that the endpoint runs on.
            let place = world.place(endpoint.node.as_ref());
            let region = slice.region().or(place.region.as_ref());
            let zone = endpoint.zone.as_ref().or(place.zone.as_ref());
            let locality = of_place(region, zone, place.subzone.as_ref());
            let rank = selection.spread.rank(&locality, |key| match key {
                HOSTNAME => endpoint.node.as_deref(),
                key => labels_of(world, &selection.namespace, endpoint)?.get(key).map(|value| &**value),
            });
            if let Some(pod) = &endpoint.pod {
                found.of_pod.entry(pod.clone()).or_default().push((*address, port.port));
            }
            let endpoint = Endpoint { at: Address::Socket(*address, port.port), health, weight: 1 };
            insert(found, locality, endpoint, rank);
        }
    }
}

/// The Pods and WorkloadEntries of the namespace that have the labels of a selector.
fn from_labels(
    world: &World,
    wanted: &BTreeMap<String, String>,
    targets: &BTreeMap<u16, u16>,
    selection: &Selection,
    found: &mut Found,
) {
    let namespace = &*selection.namespace;
    let entries = world.workload_entries().filter(|entry| *entry.meta.namespace == *namespace);
    let selected = entries.filter(|entry| {
        wanted.iter().all(|(key, value)| {
            let own = entry.spec.labels.get(key).map(String::as_str);
            own.or_else(|| entry.meta.labels.get(key.as_str()).map(|own| &**own)) == Some(value)
        })
    });
    from_list(selected.map(|entry| &entry.spec), targets, selection, found);
    let has = |pod: &&Arc<resources::WithMeta<resources::Pod>>, labels: &BTreeMap<String, String>| {
        labels
            .iter()
            .all(|(key, value)| pod.meta.labels.get(key.as_str()).is_some_and(|own| **own == **value))
    };
    let port = targets.get(&selection.port.number).copied().unwrap_or(selection.port.number);
    for pod in world.pods_in(namespace).filter(|pod| has(pod, wanted)) {
        let is_over = matches!(pod.spec.phase.as_deref(), Some("Succeeded" | "Failed"));
        let Some(address) = pod.spec.ips.first().filter(|_| !is_over) else { continue };
        found.candidates += 1;
        if !has(&pod, &selection.labels) {
            continue;
        }
        found.matching += 1;
        let at = Address::Socket(*address, port);
        let endpoint = Endpoint { at, health: Health::Healthy, weight: 1 };
        let place = world.place(pod.spec.node.as_ref());
        let locality = of_place(place.region.as_ref(), place.zone.as_ref(), place.subzone.as_ref());
        let rank = selection.spread.rank(&locality, |key| match key {
            HOSTNAME => pod.spec.node.as_deref(),
            key => pod.meta.labels.get(key).map(|value| &**value),
        });
        insert(found, locality, endpoint, rank);
    }
}

fn from_list<'a>(
    entries: impl IntoIterator<Item = &'a WorkloadEntry>,
    targets: &BTreeMap<u16, u16>,
    selection: &Selection,
    found: &mut Found,
) {
    for entry in entries {
        let Some(at) = address(entry, &selection.port, targets) else { continue };
        // gRPC clients refuse a whole assignment for an address that is no IP address.
        if selection.unhealthy == Unhealthy::LeftOut && matches!(at, Address::Pipe(_)) {
            continue;
        }
        found.candidates += 1;
        if !selection.labels.iter().all(|(key, value)| entry.labels.get(key) == Some(value)) {
            continue;
        }
        found.matching += 1;
        let weight = entry.weight.unwrap_or(1).max(1);
        let endpoint = Endpoint { at, health: Health::Healthy, weight };
        let locality = locality(entry.locality.as_deref().unwrap_or_default());
        let rank = selection.spread.rank(&locality, |key| entry.labels.get(key).map(String::as_str));
        insert(found, locality, endpoint, rank);
    }
}

/// Where an entry is called: at an address and a port, or at a Unix socket, which has no port.
fn address(entry: &WorkloadEntry, port: &Port, targets: &BTreeMap<u16, u16>) -> Option<Address> {
    let text = entry.address.as_deref()?;
    match text.strip_prefix("unix://") {
        Some(path) => Address::pipe(path),
        None => Some(Address::Socket(text.parse().ok()?, endpoint_port(entry, port, targets))),
    }
}

/// Scales weights down so that their sum fits 32 bits, as clients demand of an assignment (A27).
pub(crate) fn fit<'a>(weights: impl Iterator<Item = &'a mut u32>) {
    let mut weights: Vec<&mut u32> = weights.collect();
    let total: u64 = weights.iter().map(|weight| u64::from(**weight)).sum();
    // Each weight is at least 1 after scaling, so that many endpoints more than the sum may have to fit as well.
    let room = u64::from(u32::MAX) - u64::try_from(weights.len()).unwrap_or(0).min(u64::from(u32::MAX) / 2);
    let factor = total.div_ceil(room);
    if factor > 1 {
        for weight in &mut weights {
            **weight = u32::try_from(u64::from(**weight) / factor).unwrap_or(u32::MAX).max(1);
        }
    }
}

/// What is known of an endpoint's health; none for one that is on its way out and answers no more.
fn health(endpoint: &resources::Endpoint) -> Option<Health> {
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, false) => Some(Health::Healthy),
        (_, true, true) => Some(Health::Draining),
        // `publishNotReadyAddresses` keeps a terminating endpoint ready.
        (true, false, true) => Some(Health::Healthy),
        (false, false, true) => None,
        (false, _, false) => Some(Health::Unhealthy),
    }
}

/// Whether an endpoint has all of these labels.
fn has_labels(
    world: &World,
    namespace: &str,
    endpoint: &resources::Endpoint,
    wanted: &BTreeMap<String, String>,
) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let Some(labels) = labels_of(world, namespace, endpoint) else { return false };
    wanted.iter().all(|(key, value)| labels.get(key.as_str()).is_some_and(|found| **found == **value))
}

/// The labels of an endpoint: those of its Pod, or those written on the slice.
fn labels_of<'a>(
    world: &'a World,
    namespace: &str,
    endpoint: &'a resources::Endpoint,
) -> Option<&'a resources::Labels> {
    let pod = endpoint.pod.as_deref().and_then(|pod| world.pod(namespace, pod));
    pod.map(|pod| &pod.meta.labels).or(endpoint.labels.as_deref())
}

fn of_place(region: Option<&Arc<str>>, zone: Option<&Arc<str>>, subzone: Option<&Arc<str>>) -> Locality {
    let [region, zone, subzone] = [region, zone, subzone].map(|part| part.cloned().unwrap_or_default());
    Locality { region, zone, subzone }
}

/// `region/zone/subzone`, of which the last parts may be missing.
pub(crate) fn locality(text: &str) -> Locality {
    let mut parts = text.splitn(3, '/').map(Arc::from);
    Locality {
        region: parts.next().unwrap_or_default(),
        zone: parts.next().unwrap_or_default(),
        subzone: parts.next().unwrap_or_default(),
    }
}

/// Keeps the better of two sightings of one address: slices may repeat an endpoint while it moves between them.
fn insert(found: &mut Found, locality: Locality, endpoint: Endpoint, rank: u32) {
    match found.endpoints.entry(endpoint.at) {
        Entry::Vacant(entry) => {
            entry.insert((endpoint.health, locality, endpoint.weight, rank));
        }
        Entry::Occupied(mut entry) => {
            let sighting = (endpoint.health, locality, endpoint.weight, rank);
            if sighting < *entry.get() {
                entry.insert(sighting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn weights_keep_their_proportion_and_fit() {
        let mut small = [1, 2, 3];
        fit(small.iter_mut());
        assert_eq!(small, [1, 2, 3]);
        let mut large = [u32::MAX, u32::MAX, u32::MAX / 2, 1];
        fit(large.iter_mut());
        let sum: u64 = large.iter().map(|weight| u64::from(*weight)).sum();
        assert!(sum <= u64::from(u32::MAX));
        assert_eq!(large[0], large[1]);
        assert!(large[0] / large[2] == 2 && large[3] == 1);
    }
}
