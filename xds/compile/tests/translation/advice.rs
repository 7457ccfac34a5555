//! What is told of objects that each do what they say, and together do not do what was meant.

use pilotage_compile::{Settings, check};
use pilotage_watcher::{Problem, Severity};

use crate::world::written;

/// The places and the severities of the problems of one code.
fn found(text: &str, code: &str) -> Vec<(String, String, Severity)> {
    let problems = check(&written(text), &Settings::default());
    let of_code = problems.iter().filter(|problem| problem.code.name() == code);
    let place = |problem: &Problem| {
        let object = problem.object.as_ref().map(ToString::to_string).unwrap_or_default();
        (object, problem.path.clone(), problem.severity)
    };
    of_code.map(place).collect()
}

fn expected(object: &str, path: &str) -> Vec<(String, String, Severity)> {
    vec![(object.to_owned(), path.to_owned(), Severity::Warning)]
}

fn gateway(name: &str, selector: &str, certificate: &str) -> String {
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}, namespace: edge}}
spec:
  selector: {{app: {selector}}}
  servers:
    - port: {{number: 443, name: https, protocol: HTTPS}}
      hosts: [{name}.example.com]
      tls: {{mode: SIMPLE, credentialName: {certificate}}}
"
    )
}

#[test]
fn a_certificate_of_two_gateways_is_told_of_the_second() {
    let two = gateway("a", "edge", "shared") + &gateway("b", "edge", "shared");
    let found_in_two = found(&two, "shared-certificate");
    assert_eq!(found_in_two, expected("Gateway edge/b", "spec.servers[0].tls"));
    let apart = gateway("a", "edge", "shared") + &gateway("b", "other", "shared");
    assert_eq!(found(&apart, "shared-certificate"), []);
    let own = gateway("a", "edge", "a") + &gateway("b", "edge", "b");
    assert_eq!(found(&own, "shared-certificate"), []);
}

const CANARY: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: edge}
spec:
  hosts: [web.example]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: edge}
spec:
  host: web.example
  subsets: [{name: v1, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: canary, namespace: edge}
spec:
  hosts: [web.example]
  http: [{route: [{destination: {host: web.example, subset: v1}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: way-in, namespace: edge}
spec:
  hosts: [a.example.com]
  gateways: [a]
";

#[test]
fn a_way_in_past_the_subsets_of_the_mesh_is_told() {
    let past = "  http: [{route: [{destination: {host: web.example}}]}]\n";
    let text = format!("{CANARY}{past}{}", gateway("a", "edge", "a"));
    let place = "spec.http[0].route[0].destination";
    assert_eq!(found(&text, "bypassed-rules"), expected("VirtualService edge/way-in", place));
    let named = "  http: [{route: [{destination: {host: web.example, subset: v1}}]}]\n";
    let text = format!("{CANARY}{named}{}", gateway("a", "edge", "a"));
    assert_eq!(found(&text, "bypassed-rules"), []);
}

#[test]
fn a_selector_that_selects_no_pod_is_told_where_pods_are_known() {
    let sidecar = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: cart, namespace: shop}
spec:
  workloadSelector: {labels: {app: cart}}
  egress: [{hosts: [\"*/*\"]}]
";
    let pod = |name: &str, app: &str| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\n"
        )
    };
    assert_eq!(found(sidecar, "unmatched-selector"), []);
    let none = format!("{sidecar}{}", pod("a", "till"));
    assert_eq!(found(&none, "unmatched-selector"), expected("Sidecar shop/cart", "spec.workloadSelector"));
    assert_eq!(found(&format!("{none}{}", pod("b", "cart")), "unmatched-selector"), []);
}

#[test]
fn services_that_call_one_port_of_a_workload_by_two_protocols_are_told() {
    let service = |name: &str, port: &str| {
        format!(
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{app: cart}}
  ports: [{{name: {port}, port: 80, targetPort: 8080}}]
"
        )
    };
    let two = service("a", "grpc") + &service("b", "http");
    assert_eq!(found(&two, "conflicting-ports"), expected("Service shop/b", "spec.ports"));
    assert_eq!(found(&(service("a", "grpc") + &service("b", "grpc-web")), "conflicting-ports").len(), 1);
    assert_eq!(found(&(service("a", "grpc") + &service("b", "grpc-api")), "conflicting-ports"), []);
}

/// What is wrong for redirected connections alone is no warning, since nobody says that there are any.
#[test]
fn what_only_redirected_connections_suffer_from_is_information() {
    let nowhere = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec:
  hosts: [db.example]
  resolution: STATIC
  ports: [{name: tcp, number: 5432, protocol: TCP}]
  endpoints: [{address: 10.0.0.1}]
";
    let info = |path: &str| vec![("ServiceEntry shop/db".to_owned(), path.to_owned(), Severity::Info)];
    assert_eq!(found(nowhere, "no-effect"), info("spec"));
    let addressed = nowhere.replace("  resolution", "  addresses: [10.96.0.1]\n  resolution");
    assert_eq!(found(&addressed, "no-effect"), []);
}

const RAW: &str = "
apiVersion: pilotage.dev/v1alpha1
kind: EnvoyResources
metadata: {name: raw, namespace: shop}
spec:
  operation: OPERATION
  resources:
    - {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: \"outbound|80||db.example\", type: STATIC}
    - {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: nobody, type: STATIC}
    - {\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: 127.0.0.1_15001}
    - {\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: virtualOutbound}
    - {\"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration, name: egress}
    - {\"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment, cluster_name: \"outbound|80||db.example\"}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec:
  hosts: [db.example]
  resolution: STATIC
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
";

/// What some proxy has is there to be replaced, and nothing of it may be added.
#[test]
fn resources_over_nothing_and_beside_another_are_told() {
    let place = |index: usize| {
        let path = format!("spec.resources[{index}].name");
        ("EnvoyResources shop/raw".to_owned(), path, Severity::Warning)
    };
    let replacing = RAW.replace("OPERATION", "Replace");
    assert_eq!(found(&replacing, "no-effect"), [place(1)]);
    let adding = RAW.replace("OPERATION", "Add");
    let error = |index| (place(index).0, place(index).1, Severity::Error);
    assert_eq!(found(&adding, "duplicate-resource"), [error(0), error(2), error(3), error(4), error(5)]);
}
