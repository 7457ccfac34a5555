//! What holds of any world: a translation comes to the same however it is come by, and every message is sound.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_compile::{Compiled, Group, Location, ProxyKind, Settings, UndeclaredPorts, check, compile};
use pilotage_protocol::{Collection, Name, Reference, Resource, ResourceType};
use pilotage_protos::json::any_to_json;
use pilotage_watcher::{Change, Kind, ObjectKey, Touched, World};
use proptest::prelude::*;
use serde_json::Value;

use crate::dice::{Dice, KINDS};

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_world_is_translated_to_sound_messages(seed: u64, objects in 0usize..40, sniff: bool) {
        let mut dice = Dice::new(seed);
        let (group, asked) = someone(&mut dice);
        let undeclared_ports = if sniff { UndeclaredPorts::Sniff } else { UndeclaredPorts::Tcp };
        let settings = Settings { undeclared_ports, ..Settings::default() };
        let mut world = World::default();
        for change in dice.world(objects) {
            apply(&mut world, change);
        }
        let compiled = compile(&world, &group, &settings, &asked, None);
        sound(&compiled);
        check(&world, &settings);
    }
}

#[test]
fn half_of_the_worlds_have_any_one_kind() {
    let mut having: BTreeMap<Kind, usize> = BTreeMap::new();
    for seed in 0..200 {
        let mut found: BTreeMap<ObjectKey, Kind> = BTreeMap::new();
        for change in Dice::new(seed).world(20) {
            match change {
                Change::Apply(object) => drop(found.insert(object.key(), object.key().kind)),
                Change::Delete(key) => drop(found.remove(&key)),
                Change::Problems { .. } | Change::Synced(_) => {}
            }
        }
        for kind in found.into_values().collect::<BTreeSet<_>>() {
            *having.entry(kind).or_default() += 1;
        }
    }
    for kind in KINDS {
        assert!(having.get(kind).is_some_and(|worlds| *worlds >= 100), "{kind:?}: {having:?}");
    }
}

fn someone(dice: &mut Dice) -> (Group, BTreeSet<Name>) {
    let kind = match dice.below(4) {
        0 => ProxyKind::Sidecar { egress_port: 15001, tcp_egress: true },
        1 => ProxyKind::Gateway,
        2 => ProxyKind::Intercepted,
        _ => ProxyKind::Grpc,
    };
    let labels = BTreeMap::from([("version".into(), "v1".into()), ("app".into(), "a".into())]);
    let location = Location {
        region: dice.place("r").into(),
        zone: dice.place("z").into(),
        subzone: "".into(),
        node: dice.place("n").into(),
    };
    (Group { kind, namespace: "x".into(), labels, location }, asked())
}

/// What gRPC clients ask for.
pub(crate) fn asked() -> BTreeSet<Name> {
    let asked = ["a:80", "a.x:443", "b.y.svc.cluster.local:50051", "api.example.com", ":", "", "c:99999"];
    asked.map(Name::from).into()
}

pub(crate) fn apply(world: &mut World, change: Change) -> Touched {
    match change {
        Change::Apply(object) => world.apply(object),
        Change::Delete(key) => world.delete(&key),
        Change::Problems { .. } | Change::Synced(_) => Touched::default(),
    }
}

const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];

fn of_type<'a>(compiled: &'a Compiled, resource_type: &ResourceType) -> &'a Arc<Collection> {
    compiled.snapshot().collection(resource_type).unwrap()
}

fn decoded(collection: &Collection, resource_type: &ResourceType) -> Vec<(Name, String, Value)> {
    let decode = |resource: &Resource| {
        let body = any_to_json(resource_type.type_url(), &resource.body()).unwrap();
        (resource.name().clone(), resource.version().to_string(), body)
    };
    collection.iter().map(decode).collect()
}

/// Equal names, versions, messages and problems.
pub(crate) fn same(incremental: &Compiled, full: &Compiled) {
    for resource_type in TYPES {
        let (ours, theirs) = (of_type(incremental, &resource_type), of_type(full, &resource_type));
        let names = |collection: &Collection| -> Vec<(Name, String)> {
            let named = |resource: &Resource| (resource.name().clone(), resource.version().to_string());
            collection.iter().map(named).collect()
        };
        assert_eq!(names(ours), names(theirs));
        assert_eq!(ours.version(), theirs.version());
        for (one, other) in ours.iter().zip(theirs.iter()) {
            // The order of a map's entries in the bytes is not fixed.
            if one.body() != other.body() {
                let decode =
                    |resource: &Resource| any_to_json(resource_type.type_url(), &resource.body()).unwrap();
                assert_eq!(decode(one), decode(other), "{}", one.name());
            }
        }
    }
    for resource_type in TYPES {
        let references = |compiled: &Compiled| -> Vec<Vec<Reference>> {
            of_type(compiled, &resource_type).iter().map(|one| one.references().to_vec()).collect()
        };
        assert_eq!(references(incremental), references(full), "{resource_type}");
    }
    let problems = |compiled: &Compiled| compiled.problems().cloned().collect::<Vec<_>>();
    assert_eq!(problems(incremental), problems(full));
}

/// What came out the same is the same: bytes that did not change, and collections in which nothing did.
pub(crate) fn kept(before: &Compiled, after: &Compiled, endpoints_only: bool) {
    for resource_type in TYPES {
        let (old, new) = (of_type(before, &resource_type), of_type(after, &resource_type));
        let changed = new.changed_since(old);
        assert_eq!(changed.is_empty(), Arc::ptr_eq(old, new), "{resource_type}");
        if endpoints_only && resource_type != ResourceType::Endpoint {
            assert!(Arc::ptr_eq(old, new), "{resource_type}");
        }
        for resource in new.iter().filter(|resource| !changed.contains(resource.name())) {
            let pieces = |one: &Resource| -> Vec<*const u8> {
                one.body_pieces().iter().map(|piece| piece.as_ptr()).collect()
            };
            let before = old.get(resource.name()).unwrap();
            assert_eq!(pieces(before), pieces(resource), "{}", resource.name());
        }
    }
}

/// What would make a client refuse a message, as far as it shows without a client.
fn sound(compiled: &Compiled) {
    for resource_type in TYPES {
        decoded(of_type(compiled, &resource_type), &resource_type);
    }
    let clusters = of_type(compiled, &ResourceType::Cluster);
    let endpoints = of_type(compiled, &ResourceType::Endpoint);
    let secrets = of_type(compiled, &ResourceType::Secret);
    for cluster in clusters.iter() {
        for reference in cluster.references() {
            let found = match reference.resource_type {
                ResourceType::Secret => secrets.contains(&reference.name),
                _ => endpoints.contains(&reference.name),
            };
            assert!(found, "{} leads to {}", cluster.name(), reference.name);
        }
    }
    assert!(endpoints.iter().all(|assignment| clusters.contains(assignment.name())));
    let routes = of_type(compiled, &ResourceType::Route);
    for listener in of_type(compiled, &ResourceType::Listener).iter() {
        for reference in listener.references() {
            let found = match reference.resource_type {
                ResourceType::Route => routes.contains(&reference.name),
                ResourceType::Secret => secrets.contains(&reference.name),
                // A rule for connections may lead to what is not there, as one for requests may.
                _ => true,
            };
            assert!(found, "{} leads to {}", listener.name(), reference.name);
        }
    }
    for (name, _, table) in decoded(routes, &ResourceType::Route) {
        let hosts = table["virtual_hosts"].as_array().unwrap();
        let domains: Vec<&str> = hosts
            .iter()
            .flat_map(|host| host["domains"].as_array().unwrap())
            .map(|domain| domain.as_str().unwrap())
            .collect();
        let distinct: BTreeSet<&str> = domains.iter().copied().collect();
        assert_eq!(distinct.len(), domains.len(), "a domain of {name} stands twice: {domains:?}");
        let names: BTreeSet<&str> = hosts.iter().map(|host| host["name"].as_str().unwrap()).collect();
        assert_eq!(names.len(), hosts.len(), "a virtual host of {name} stands twice");
    }
}
