#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::resources::{DestinationRule, Gateway, ServiceEntry, VirtualService};

fn found<T: Validate + serde::de::DeserializeOwned>(spec: serde_json::Value) -> Vec<String> {
    let spec: T = serde_json::from_value(spec).unwrap();
    spec.validate().into_iter().map(|problem| format!("{} {}", problem.code, problem.path)).collect()
}

#[test]
fn virtual_services() {
    let good = json!({"hosts": ["a"], "http": [{
        "timeout": "0s",
        "match": [{"port": 80}],
        "route": [{"destination": {"host": "a", "port": {"number": 80}}, "weight": 0}],
        "retries": {"attempts": 0, "perTryTimeout": "1ms", "retryOn": "5xx, 503,unavailable,"},
        "fault": {"abort": {"grpcStatus": "UNAVAILABLE", "percentage": {"value": 100}}},
    }]});
    assert_eq!(found::<VirtualService>(good), Vec::<String>::new());
    let bad = json!({"hosts": [""], "tcp": [{}], "tls": [{"route": [{}]}], "http": [{}, {
        "timeout": "1us",
        "match": [{"port": 0}],
        "route": [{"destination": {"port": {"number": 65536}}, "weight": -1}],
        "mirror": {"host": ""},
        "mirrorPercentage": {"value": 101},
        "retries": {"attempts": -1, "perTryTimeout": "1us", "backoff": "0s", "retryOn": "unavaliable,999"},
        "fault": {"delay": {"fixedDelay": "0s", "percentage": {"value": -1}},
                  "abort": {"httpStatus": 99, "grpcStatus": "UNAVAILABEL"}},
        "corsPolicy": {"unmatchedPreflights": "DENY"},
    }, {"redirect": {"redirectCode": 200, "derivePort": "NONE"}, "directResponse": {"status": 1}}]});
    let http = |path: &str| format!("spec.http[1].{path}");
    let expected = [
        "missing-field spec.hosts[0]".to_owned(),
        "missing-field spec.http[0]".to_owned(),
        format!("invalid-value {}", http("timeout")),
        format!("missing-field {}", http("route[0].destination")),
        format!("invalid-value {}", http("route[0].destination.port.number")),
        format!("invalid-value {}", http("route[0].weight")),
        format!("missing-field {}", http("mirror")),
        format!("invalid-value {}", http("mirrorPercentage.value")),
        format!("invalid-value {}", http("match[0].port")),
        format!("invalid-value {}", http("retries.attempts")),
        format!("invalid-value {}", http("retries.perTryTimeout")),
        format!("invalid-value {}", http("retries.backoff")),
        format!("invalid-value {}", http("retries.retryOn")),
        format!("invalid-value {}", http("retries.retryOn")),
        format!("invalid-value {}", http("fault.delay.fixedDelay")),
        format!("invalid-value {}", http("fault.delay.percentage.value")),
        format!("invalid-value {}", http("fault.abort.httpStatus")),
        format!("invalid-value {}", http("fault.abort.grpcStatus")),
        format!("invalid-value {}", http("corsPolicy.unmatchedPreflights")),
        "invalid-value spec.http[2].redirect.redirectCode".to_owned(),
        "invalid-value spec.http[2].redirect.derivePort".to_owned(),
        "invalid-value spec.http[2].directResponse.status".to_owned(),
        "missing-field spec.tls[0].route[0].destination".to_owned(),
        "missing-field spec.tcp[0]".to_owned(),
    ];
    assert_eq!(found::<VirtualService>(bad), expected);
    assert_eq!(found::<VirtualService>(json!({"hosts": ["a"]})), ["missing-field spec"]);
}

#[test]
fn destination_rules() {
    let good = json!({"host": "a", "trafficPolicy": {
        "connectionPool": {"http": {"h2UpgradePolicy": "DEFAULT", "maxConcurrentStreams": 0, "idleTimeout": "0s"}},
        "tls": {"mode": "SIMPLE"},
    }});
    assert_eq!(found::<DestinationRule>(good), Vec::<String>::new());
    let bad = json!({
        "trafficPolicy": {
            "loadBalancer": {"simple": "FASTEST", "warmup": {"duration": "0s"}},
            "connectionPool": {
                "tcp": {"maxConnections": -1, "connectTimeout": "0s"},
                "http": {"maxRetries": -1, "h2UpgradePolicy": "ALWAYS", "http2KeepAlive": {"interval": "1us"}},
            },
            "outlierDetection": {"interval": "0s", "maxEjectionPercent": 101, "minHealthPercent": -1},
            "tls": {"mode": "NONE"},
            "portLevelSettings": [{"tls": {"mode": "simple"}}],
            "tunnel": {"protocol": "GET"},
            "proxyProtocol": {"version": "V3"},
            "retryBudget": {"percent": 200.0},
        },
        "subsets": [{"name": "v1"}, {"name": "v1"}, {}],
    });
    let policy = |path: &str| format!("invalid-value spec.trafficPolicy.{path}");
    let expected = [
        "missing-field spec".to_owned(),
        policy("loadBalancer.simple"),
        policy("loadBalancer.warmup.duration"),
        policy("connectionPool.tcp.maxConnections"),
        policy("connectionPool.tcp.connectTimeout"),
        policy("connectionPool.http.maxRetries"),
        policy("connectionPool.http.h2UpgradePolicy"),
        policy("connectionPool.http.http2KeepAlive.interval"),
        policy("outlierDetection.interval"),
        policy("outlierDetection.maxEjectionPercent"),
        policy("outlierDetection.minHealthPercent"),
        policy("tls.mode"),
        policy("portLevelSettings[0].port.number"),
        policy("portLevelSettings[0].tls.mode"),
        policy("tunnel.protocol"),
        policy("tunnel.targetPort"),
        policy("proxyProtocol.version"),
        policy("retryBudget.percent"),
        "invalid-value spec.subsets[1].name".to_owned(),
        "missing-field spec.subsets[2]".to_owned(),
    ];
    assert_eq!(found::<DestinationRule>(bad), expected);
}

#[test]
fn gateways() {
    let good = json!({"servers": [{"port": {"number": 443, "protocol": "https", "name": "x"}, "hosts": ["*"],
        "tls": {"mode": "SIMPLE", "minProtocolVersion": "TLSV1_2"}}]});
    assert_eq!(found::<Gateway>(good), Vec::<String>::new());
    let bad = json!({"servers": [{}, {"port": {"number": 80, "protocol": "HTPP"}, "hosts": ["*"],
        "tls": {"mode": "simple", "maxProtocolVersion": "1.3"}}]});
    assert_eq!(
        found::<Gateway>(bad),
        [
            "invalid-value spec.servers[0].port.number",
            "missing-field spec.servers[0].port",
            "missing-field spec.servers[0]",
            "invalid-value spec.servers[1].port.protocol",
            "invalid-value spec.servers[1].tls.mode",
            "invalid-value spec.servers[1].tls.maxProtocolVersion",
        ]
    );
    assert_eq!(found::<Gateway>(json!({})), ["missing-field spec"]);
}

#[test]
fn service_entries() {
    let bad = json!({"ports": [{"targetPort": 0}], "location": "OUTSIDE", "resolution": "dns",
        "endpoints": [{"ports": {"http": 0}}]});
    assert_eq!(
        found::<ServiceEntry>(bad),
        [
            "missing-field spec",
            "invalid-value spec.ports[0].number",
            "invalid-value spec.ports[0].targetPort",
            "missing-field spec.ports[0]",
            "invalid-value spec.location",
            "invalid-value spec.resolution",
            "invalid-value spec.endpoints[0].ports[\"http\"]",
        ]
    );
}

#[test]
fn names_of_objects() {
    for (namespace, name, bad) in [
        ("shop", "checkout.v2", 0),
        ("shop", "endpoints/checkout", 0),
        ("Shop", "checkout", 1),
        ("shop", "-x", 1),
        ("a.b", "x", 1),
        ("", "", 2),
    ] {
        let key = ObjectKey::new(crate::Kind::EndpointSlice, namespace, name);
        assert_eq!(names(&key).len(), bad, "{key}");
    }
}
