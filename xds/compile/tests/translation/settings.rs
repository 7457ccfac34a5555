//! What settings mean where no object says anything: each changes what is told, and yields to what is written.

use std::collections::BTreeSet;
use std::time::Duration;

use pilotage_compile::{
    DEFAULT_EGRESS_PORT, Group, H2UpgradePolicy, Keepalive, LabelKeys, LocalityLoadBalancing, Location,
    ProxyKind, RegionFailover, Settings, compile,
};
use pilotage_protocol::ResourceType;
use pilotage_protos::json::any_to_json;
use pilotage_watcher::World;
use pilotage_watcher::resources::Span;
use serde_json::{Value, json};

use crate::world::written;

const WORLD: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.example, written.example]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, locality: eu/eu-b, labels: {tier: gold}}
    - {address: 10.0.0.2, locality: us/us-a}
    - {address: 10.0.0.3, locality: ap/ap-a}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web.example
  trafficPolicy: {outlierDetection: {}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: written, namespace: shop}
spec:
  host: written.example
  trafficPolicy:
    outlierDetection: {}
    loadBalancer: {localityLbSetting: {failover: [{from: eu, to: ap}]}}
    connectionPool:
      tcp: {connectTimeout: 3s, tcpKeepalive: {time: 30s}}
      http: {h2UpgradePolicy: DO_NOT_UPGRADE}
";

/// A cluster and its assignment, as a sidecar in `eu/eu-a` with the label `tier: gold` is told them.
fn told(host: &str, settings: &Settings) -> (Value, Value) {
    let kind = ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress: false };
    let labels = [("tier".into(), "gold".into())].into();
    let location = Location { region: "eu".into(), zone: "eu-a".into(), ..Location::default() };
    let group = Group { kind, namespace: "shop".into(), labels, location };
    let compiled = compile(&written(WORLD), &group, settings, &BTreeSet::new(), None);
    let find = |resource_type: &ResourceType| {
        let collection = compiled.snapshot().collection(resource_type).unwrap();
        let body = collection.get(&format!("outbound|80||{host}")).unwrap().body();
        any_to_json(resource_type.type_url(), &body).unwrap()
    };
    (find(&ResourceType::Cluster), find(&ResourceType::Endpoint))
}

/// The priority of each address.
fn priorities(assignment: &Value) -> Vec<(String, u64)> {
    let localities = assignment["endpoints"].as_array().unwrap().iter();
    let of_locality = |locality: &Value| {
        let priority = locality["priority"].as_u64().unwrap_or(0);
        let address = &locality["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["address"];
        (address.as_str().unwrap().to_owned(), priority)
    };
    let mut found: Vec<_> = localities.map(of_locality).collect();
    found.sort();
    found
}

fn ranks(first: u64, second: u64, third: u64) -> Vec<(String, u64)> {
    let addresses = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(str::to_owned);
    addresses.into_iter().zip([first, second, third]).collect()
}

#[test]
fn a_connection_may_take_as_long_as_is_set_unless_a_rule_says_so() {
    let settings = Settings { connect_timeout: Span(Duration::from_secs(2)), ..Settings::default() };
    assert_eq!(told("web.example", &Settings::default()).0["connect_timeout"], "10s");
    assert_eq!(told("web.example", &settings).0["connect_timeout"], "2s");
    assert_eq!(told("written.example", &settings).0["connect_timeout"], "3s");
}

#[test]
fn connections_are_kept_alive_as_is_set_unless_a_rule_says_so() {
    let keepalive = Keepalive { probes: Some(4), time: Some(Span(Duration::from_secs(60))), interval: None };
    let settings = Settings { tcp_keepalive: Some(keepalive), ..Settings::default() };
    let kept = |host: &str, settings: &Settings| {
        told(host, settings).0["upstream_connection_options"]["tcp_keepalive"].clone()
    };
    assert_eq!(kept("web.example", &Settings::default()), Value::Null);
    assert_eq!(kept("web.example", &settings), json!({"keepalive_probes": 4, "keepalive_time": 60}));
    assert_eq!(kept("written.example", &settings), json!({"keepalive_time": 30}));
}

#[test]
fn http_ports_are_upgraded_where_that_is_set_unless_a_rule_says_so() {
    let settings = Settings { h2_upgrade_policy: H2UpgradePolicy::Upgrade, ..Settings::default() };
    let is_http2 = |host: &str, settings: &Settings| {
        told(host, settings).0.to_string().contains("\"http2_protocol_options\"")
    };
    assert!(!is_http2("web.example", &Settings::default()));
    assert!(is_http2("web.example", &settings));
    assert!(!is_http2("written.example", &settings));
}

#[test]
fn localities_are_ranked_as_is_set_unless_a_rule_says_so() {
    let settings =
        |usual: LocalityLoadBalancing| Settings { locality_load_balancing: usual, ..Settings::default() };
    let ranked = |host: &str, settings: &Settings| priorities(&told(host, settings).1);
    assert_eq!(ranked("web.example", &Settings::default()), ranks(0, 1, 1));
    let off = settings(LocalityLoadBalancing { enabled: false, ..LocalityLoadBalancing::default() });
    assert_eq!(ranked("web.example", &off), ranks(0, 0, 0));
    let failover = vec![RegionFailover { from: "eu".to_owned(), to: "us".to_owned() }];
    let to_us = settings(LocalityLoadBalancing { failover, ..LocalityLoadBalancing::default() });
    assert_eq!(ranked("web.example", &to_us), ranks(0, 1, 2));
    assert_eq!(ranked("written.example", &to_us), ranks(0, 2, 1));
    let failover_priority = vec!["tier".to_owned()];
    let by_label = settings(LocalityLoadBalancing { failover_priority, ..LocalityLoadBalancing::default() });
    assert_eq!(ranked("web.example", &by_label), ranks(0, 1, 1));
    assert_eq!(ranked("written.example", &off), ranks(0, 2, 1));
}

/// What the settings look at, nodes are told apart by.
#[test]
fn labels_of_the_settings_are_looked_at() {
    let failover_priority = vec!["tier".to_owned(), "rack=1".to_owned()];
    let usual = LocalityLoadBalancing { failover_priority, ..LocalityLoadBalancing::default() };
    let settings = Settings { locality_load_balancing: usual, ..Settings::default() };
    let world = World::default();
    assert_ne!(LabelKeys::of(&world, &settings), LabelKeys::of(&world, &Settings::default()));
}
