#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::resources::{Endpoint, Meta, ServiceEntrySelector};

fn meta(name: &str) -> Meta {
    Meta { namespace: "ns".into(), name: name.into(), ..Meta::default() }
}

fn pod(name: &str, version: &str) -> Object {
    let mut meta = meta(name);
    meta.labels.insert("version".into(), version.into());
    Object::Pod(Arc::new(WithMeta { meta, spec: Pod::default() }))
}

fn service(name: &str, port: u16) -> Object {
    let ports = vec![crate::resources::ServicePort { port, ..Default::default() }];
    Object::Service(Arc::new(WithMeta { meta: meta(name), spec: Service { ports, ..Service::default() } }))
}

fn node(name: &str, zone: &str) -> Object {
    let meta = Meta { name: name.into(), ..Meta::default() };
    let spec = Node { zone: Some(zone.into()), ..Node::default() };
    Object::Node(Arc::new(WithMeta { meta, spec }))
}

/// A slice with an endpoint for each of these Pods, which runs on the Node of its name.
fn slice(name: &str, service: &str, pods: &[&str], mirrored: bool) -> Object {
    let endpoint = |pod: &&str| Endpoint {
        addresses: vec!["10.0.0.1".parse().unwrap()],
        ready: true,
        serving: true,
        terminating: false,
        node: Some((*pod).into()),
        zone: None,
        pod: Some((*pod).into()),
        labels: None,
    };
    let endpoints = pods.iter().map(endpoint).collect();
    let spec = EndpointSlice { service: service.into(), endpoints, mirrored, ..EndpointSlice::default() };
    Object::EndpointSlice(Arc::new(WithMeta { meta: meta(name), spec }))
}

fn touched(endpoints: &[&str], config: &[(Kind, &str)]) -> Touched {
    Touched {
        endpoints: endpoints.iter().map(|name| ("ns".into(), (*name).into())).collect(),
        secrets: BTreeSet::new(),
        config: config.iter().map(|(kind, name)| ObjectKey::new(*kind, "ns", *name)).collect(),
    }
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, if kind == Kind::Node { "" } else { "ns" }, name)
}

#[test]
fn equal_content_touches_nothing() {
    let mut world = World::default();
    for object in [service("a", 80), slice("s", "a", &["p"], false), pod("p", "v1")] {
        assert!(!world.apply(object.clone()).is_empty());
        assert_eq!(world.apply(object.clone()), Touched::default(), "{}", object.key());
    }
    assert_eq!(world.delete(&key(Kind::Service, "other")), Touched::default());
    assert_eq!(world.apply(service("a", 81)), touched(&[], &[(Kind::Service, "a")]));
}

#[test]
fn a_pod_matters_by_the_slices_that_name_it() {
    let mut world = World::default();
    assert_eq!(world.apply(pod("p", "v1")), Touched::default());
    assert_eq!(world.apply(slice("a-1", "a", &["p"], false)), touched(&["a"], &[]));
    assert_eq!(world.apply(slice("b-1", "b", &["p", "q"], false)), touched(&["b"], &[]));
    assert_eq!(world.apply(pod("p", "v2")), touched(&["a", "b"], &[]));
    assert_eq!(world.apply(pod("q", "v1")), touched(&["b"], &[]));
    assert_eq!(world.apply(slice("b-1", "b", &["q"], false)), touched(&["b"], &[]));
    assert_eq!(world.delete(&key(Kind::Pod, "p")), touched(&["a"], &[]));
}

#[test]
fn a_node_matters_by_where_it_stands_to_the_slices_on_it() {
    let mut world = World::default();
    assert_eq!(world.apply(node("n", "z1")), Touched::default());
    world.apply(slice("a-1", "a", &["n"], false));
    assert_eq!(world.apply(node("n", "z2")), touched(&["a"], &[]));
    let Object::Node(mut labelled) = node("n", "z2") else { unreachable!() };
    Arc::make_mut(&mut labelled).meta.api_version = "v1".into();
    assert_eq!(world.apply(Object::Node(labelled)), Touched::default(), "where it stands is the same");
    // Its Pods may be endpoints of a ServiceEntry.
    let mut on_node = WithMeta { meta: meta("p"), spec: Pod { node: Some("n".into()), ..Pod::default() } };
    world.apply(Object::Pod(Arc::new(on_node.clone())));
    on_node.meta.name = "elsewhere".into();
    on_node.spec.node = Some("m".into());
    world.apply(Object::Pod(Arc::new(on_node)));
    let spec =
        ServiceEntry { workload_selector: Some(ServiceEntrySelector::default()), ..Default::default() };
    world.apply(Object::ServiceEntry(Arc::new(WithMeta { meta: meta("e"), spec })));
    assert_eq!(world.delete(&key(Kind::Node, "n")), touched(&["a"], &[(Kind::Pod, "p")]));
}

#[test]
fn a_pod_matters_to_entries_that_select_workloads() {
    let mut world = World::default();
    let mut entry = WithMeta::<ServiceEntry> { meta: meta("e"), ..WithMeta::default() };
    world.apply(Object::ServiceEntry(Arc::new(entry.clone())));
    assert_eq!(world.apply(pod("p", "v1")), Touched::default());
    entry.spec.workload_selector = Some(ServiceEntrySelector::default());
    assert_eq!(
        world.apply(Object::ServiceEntry(Arc::new(entry))),
        touched(&[], &[(Kind::ServiceEntry, "e")])
    );
    assert_eq!(world.apply(pod("p", "v2")), touched(&[], &[(Kind::Pod, "p")]));
}

#[test]
fn a_slice_that_moves_touches_both_services() {
    let mut world = World::default();
    world.apply(slice("s", "a", &[], false));
    assert_eq!(world.apply(slice("s", "b", &[], false)), touched(&["a", "b"], &[]));
    assert!(world.slices_of("ns", "a").is_empty());
    assert_eq!(world.slices_of("ns", "b").len(), 1);
}

#[test]
fn a_real_slice_hides_a_mirrored_one() {
    let mut world = World::default();
    world.apply(slice("endpoints/a", "a", &["old"], true));
    assert!(world.slices_of("ns", "a")[0].spec.mirrored);
    world.apply(slice("a-1", "a", &["new"], false));
    let slices = world.slices_of("ns", "a");
    assert_eq!(slices.iter().map(|slice| &*slice.meta.name).collect::<Vec<_>>(), ["a-1"]);
    world.delete(&key(Kind::EndpointSlice, "a-1"));
    assert!(world.slices_of("ns", "a")[0].spec.mirrored);
}

#[test]
fn a_clone_does_not_change() {
    let mut world = World::default();
    world.apply(service("a", 80));
    let before = world.clone();
    world.apply(service("a", 81));
    world.delete(&key(Kind::Service, "a"));
    assert_eq!(before.service("ns", "a").unwrap().spec.ports[0].port, 80);
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Object),
    Delete(ObjectKey),
}

fn step() -> impl Strategy<Value = Step> {
    const NAMES: &[&str] = &["a", "b", "c"];
    let name = || prop::sample::select(NAMES);
    let object = prop_oneof![
        (name(), 80u16..83).prop_map(|(name, port)| service(name, port)),
        (name(), prop::sample::select(&["v1", "v2"][..])).prop_map(|(name, version)| pod(name, version)),
        (name(), prop::sample::select(&["z1", "z2"][..])).prop_map(|(name, zone)| node(name, zone)),
        (name(), name(), prop::collection::vec(name(), 0..3), any::<bool>())
            .prop_map(|(name, service, pods, mirrored)| slice(name, service, &pods, mirrored)),
    ];
    let kind = prop::sample::select(&[Kind::Service, Kind::Pod, Kind::Node, Kind::EndpointSlice][..]);
    prop_oneof![
        object.prop_map(Step::Apply),
        (kind, name()).prop_map(|(kind, name)| Step::Delete(key(kind, name)))
    ]
}

/// What the compiler could see of one Service's endpoints, from a plain table.
fn seen(table: &BTreeMap<ObjectKey, Object>, service: &str) -> Vec<(Object, Vec<Option<Object>>)> {
    let slices = table.values().filter_map(|object| match object {
        Object::EndpointSlice(slice) if &*slice.spec.service == service => Some((object, slice)),
        _ => None,
    });
    let pods = |slice: &WithMeta<EndpointSlice>| {
        let names = slice.spec.endpoints.iter().filter_map(|endpoint| endpoint.pod.clone());
        let known =
            |name: Arc<str>| [Kind::Pod, Kind::Node].map(|kind| table.get(&key(kind, &name)).cloned());
        names.flat_map(known).collect()
    };
    slices.map(|(object, slice)| (object.clone(), pods(slice))).collect()
}

proptest! {
    /// After any changes the indexes say what a plain table says, and every Service that looks different was touched.
    #[test]
    fn indexes_agree_with_a_plain_table(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        let mut table = BTreeMap::new();
        for step in steps {
            let before = table.clone();
            let touched = match step {
                Step::Apply(object) => {
                    table.insert(object.key(), object.clone());
                    world.apply(object)
                }
                Step::Delete(key) => {
                    table.remove(&key);
                    world.delete(&key)
                }
            };
            for service in ["a", "b", "c"] {
                let id: NamespacedName = ("ns".into(), service.into());
                let differs = seen(&before, service) != seen(&table, service);
                prop_assert_eq!(touched.endpoints.contains(&id), differs, "endpoints of {}", service);
                let key = key(Kind::Service, service);
                prop_assert_eq!(touched.config.contains(&key), before.get(&key) != table.get(&key));
                let mut expected: Vec<_> = seen(&table, service).into_iter().map(|(object, _)| object).collect();
                let real = |object: &Object| matches!(object, Object::EndpointSlice(slice) if !slice.spec.mirrored);
                if expected.iter().any(real) {
                    expected.retain(real);
                }
                let found: Vec<_> =
                    world.slices_of("ns", service).into_iter().cloned().map(Object::EndpointSlice).collect();
                prop_assert_eq!(found, expected);
            }
        }
        let pods: BTreeSet<_> = world.pods_in("ns").map(|pod| pod.meta.name.clone()).collect();
        let expected = table.keys().filter(|key| key.kind == Kind::Pod).map(|key| key.name.clone()).collect();
        prop_assert_eq!(pods, expected);
        for key in table.keys() {
            world.delete(key);
        }
        prop_assert!(world.is_empty() && world.slices.is_empty() && world.pods.is_empty() && world.nodes.is_empty());
        prop_assert!(world.index.is_empty(), "left over in the index");
    }
}
