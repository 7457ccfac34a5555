//! What a change costs and what it moves: endpoints alone, clusters and their children, the age of two claims.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use pilotage_compile::{Compiled, Group, ProxyKind, Settings, Sources, check, compile, compile_endpoints};
use pilotage_protocol::{Resource, ResourceType};
use pilotage_watcher::resources::{
    ConnectionPool, DestinationRule, EndpointSlice, Subset, TcpPool, TrafficPolicy, VirtualService, WithMeta,
};
use pilotage_watcher::{Code, Kind, Object, ObjectKey, Severity, World};

use crate::world::read;

const V1: &str = "outbound|50051|v1|checkout.shop.svc.cluster.local";

fn canary() -> World {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/canary"))
}

fn shop() -> Group {
    let kind = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: false };
    Group { kind, namespace: "shop".into(), labels: Default::default(), location: Default::default() }
}

fn full(world: &World, previous: Option<&Compiled>) -> Compiled {
    compile(world, &shop(), &Settings::default(), &BTreeSet::new(), previous)
}

fn get(compiled: &Compiled, resource_type: ResourceType, name: &str) -> Resource {
    compiled.snapshot().collection(&resource_type).unwrap().get(name).unwrap().clone()
}

fn slice(world: &World, name: &str, edit: impl FnOnce(&mut EndpointSlice)) -> Object {
    let slices = world.slices_of("shop", "checkout");
    let mut slice: WithMeta<EndpointSlice> =
        (**slices.into_iter().find(|slice| &*slice.meta.name == name).unwrap()).clone();
    edit(&mut slice.spec);
    Object::EndpointSlice(Arc::new(slice))
}

#[test]
fn an_endpoint_change_moves_the_assignments_that_have_the_endpoint() {
    let mut world = canary();
    let before = full(&world, None);
    let changed = slice(&world, "checkout-v2", |slice| slice.endpoints[0].ready = false);
    let touched = world.apply(changed);
    assert!(touched.config.is_empty());
    let after = compile_endpoints(&world, &before, &touched.endpoints);
    let endpoints =
        |compiled: &Compiled| compiled.snapshot().collection(&ResourceType::Endpoint).unwrap().clone();
    let moved: Vec<String> =
        endpoints(&after).changed_since(&endpoints(&before)).iter().map(ToString::to_string).collect();
    assert_eq!(moved, [V1.replace("v1", "v2"), V1.replace("v1", "")]);
}

#[test]
fn the_problem_of_an_empty_subset_comes_and_goes_with_the_endpoints() {
    let mut world = canary();
    let whole = full(&world, None);
    let empty =
        |compiled: &Compiled| compiled.problems().filter(|found| found.code == Code::EmptySubset).count();
    assert_eq!(empty(&whole), 0);
    let gone = slice(&world, "checkout-v2", |slice| slice.endpoints.clear());
    let back = slice(&world, "checkout-v2", |_| {});
    let touched = world.apply(gone);
    let without = compile_endpoints(&world, &whole, &touched.endpoints);
    assert_eq!(empty(&without), 1);
    let touched = world.apply(back);
    let again = compile_endpoints(&world, &without, &touched.endpoints);
    assert_eq!(empty(&again), 0);
}

#[test]
fn a_cluster_that_changes_gives_its_endpoints_another_version() {
    let mut world = canary();
    let before = full(&world, None);
    let pool = ConnectionPool {
        tcp: Some(TcpPool { max_connections: Some(7), ..TcpPool::default() }),
        ..ConnectionPool::default()
    };
    let mut rule: WithMeta<DestinationRule> = (**world.destination_rules().next().unwrap()).clone();
    rule.spec.subsets[0].traffic_policy =
        Some(TrafficPolicy { connection_pool: Some(pool), ..TrafficPolicy::default() });
    world.apply(Object::DestinationRule(Arc::new(rule)));
    let after = full(&world, Some(&before));
    let of = |compiled: &Compiled, name: &str| get(compiled, ResourceType::Endpoint, name);
    assert_ne!(of(&before, V1).version(), of(&after, V1).version());
    assert_eq!(of(&before, V1).body(), of(&after, V1).body());
    let v2 = V1.replace("v1", "v2");
    assert_eq!(of(&before, &v2).version(), of(&after, &v2).version());
}

#[test]
fn every_resource_names_the_objects_it_comes_from() {
    let compiled = full(&canary(), None);
    let sources = |resource: Resource| {
        let sources: Vec<String> = resource
            .origin()
            .and_then(|origin| origin.downcast_ref::<Sources>())
            .unwrap()
            .objects()
            .iter()
            .map(ToString::to_string)
            .collect();
        sources
    };
    assert_eq!(
        sources(get(&compiled, ResourceType::Cluster, V1)),
        ["Service shop/checkout", "DestinationRule shop/checkout"]
    );
    assert_eq!(sources(get(&compiled, ResourceType::Endpoint, V1)), ["Service shop/checkout"]);
    assert_eq!(
        sources(get(&compiled, ResourceType::Route, "egress")),
        ["Service shop/checkout", "VirtualService shop/checkout"]
    );
}

/// Two VirtualServices claim the host of the canary; the name of the one that is ignored.
fn ignored(ages: [(&str, Option<i64>); 2]) -> String {
    let mut world = canary();
    world.delete(&ObjectKey::new(Kind::VirtualService, "shop", "checkout"));
    for (name, created) in ages {
        let spec = VirtualService { hosts: vec!["checkout".to_owned()], ..VirtualService::default() };
        let mut service = WithMeta { spec, ..WithMeta::default() };
        service.meta.namespace = "shop".into();
        service.meta.name = name.into();
        service.meta.created = created;
        world.apply(Object::VirtualService(Arc::new(service)));
    }
    let compiled = full(&world, None);
    let conflicts: Vec<_> =
        compiled.problems().filter(|problem| problem.code == Code::ConflictingHosts).collect();
    assert_eq!(conflicts.len(), 1);
    conflicts[0].object.as_ref().unwrap().name.to_string()
}

#[test]
fn of_two_claims_the_older_wins_and_without_an_age_the_first_by_name() {
    assert_eq!(ignored([("a", Some(2)), ("b", Some(1))]), "a");
    assert_eq!(ignored([("a", Some(1)), ("b", Some(2))]), "b");
    assert_eq!(ignored([("a", None), ("b", None)]), "b");
}

#[test]
fn of_two_rules_the_older_keeps_its_policy_and_both_their_subsets() {
    let mut world = canary();
    let limit = |connections| {
        let tcp = TcpPool { max_connections: Some(connections), ..TcpPool::default() };
        let pool = ConnectionPool { tcp: Some(tcp), ..ConnectionPool::default() };
        Some(TrafficPolicy { connection_pool: Some(pool), ..TrafficPolicy::default() })
    };
    let mut rule = |name: &str, created, connections, subset: &str| {
        let mut rule: WithMeta<DestinationRule> = WithMeta::default();
        rule.meta.namespace = "shop".into();
        rule.meta.name = name.into();
        rule.meta.created = Some(created);
        rule.spec.host = "checkout".to_owned();
        rule.spec.traffic_policy = limit(connections);
        rule.spec.subsets = vec![Subset { name: subset.to_owned(), ..Subset::default() }];
        world.apply(Object::DestinationRule(Arc::new(rule)));
    };
    rule("checkout", 20, 1, "young");
    rule("zz-older", 10, 2, "old");
    let compiled = full(&world, None);
    let clusters = compiled.snapshot().collection(&ResourceType::Cluster).unwrap();
    let names: Vec<&str> = clusters.iter().map(|cluster| cluster.name().split('|').nth(2).unwrap()).collect();
    assert_eq!(names, ["old", "young", ""]);
    let body = clusters.get(&V1.replace("v1", "young")).unwrap();
    let json = pilotage_protos::json::any_to_json(ResourceType::Cluster.type_url(), &body.body()).unwrap();
    assert_eq!(json["circuit_breakers"]["thresholds"][0]["max_connections"], 2);
}

#[test]
fn a_check_looks_as_everyone_and_tells_each_thing_once() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    assert_eq!(check(&canary(), &Settings::default()), []);
    let problems = check(&read(&golden.join("mistakes")), &Settings::default());
    let lines: BTreeSet<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), problems.len());
    let has = |code, severity| problems.iter().any(|found| (found.code, found.severity) == (code, severity));
    // Of a sidecar, of a gateway, of endpoints, and of gRPC clients that may not exist.
    assert!(has(Code::UnknownSubset, Severity::Error));
    assert!(has(Code::HostNotOnGateway, Severity::Warning));
    assert!(has(Code::EmptySubset, Severity::Warning));
    assert!(has(Code::NotForGrpcClients, Severity::Info));
    assert!(!has(Code::NotForGrpcClients, Severity::Warning));
    // A server that only a gateway of its selector would open.
    let problems = check(&read(&golden.join("edge")), &Settings::default());
    assert!(problems.iter().any(|found| found.code == Code::TlsOnPlaintext));
}
