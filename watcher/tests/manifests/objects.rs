//! What good manifests become.

use std::net::IpAddr;

use pilotage_watcher::resources::{ServiceAddress, TargetPort};
use pilotage_watcher::{Change, Kind, ObjectKey, World};

use super::{Read, read};

fn world(read: &Read) -> World {
    let mut world = World::default();
    for change in &read.reading.changes {
        if let Change::Apply(object) = change {
            world.apply(object.clone());
        }
    }
    world
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_list_as_kubectl_prints_it() {
    let read = read(&[(
        "list.yaml",
        r"
apiVersion: v1
kind: List
metadata: {resourceVersion: ''}
items:
- apiVersion: v1
  kind: Service
  metadata:
    name: shop
    creationTimestamp: '2026-03-01T10:00:00Z'
    generation: 4
    uid: 7c1f
  spec:
    clusterIP: 10.0.0.7
    clusterIPs: [10.0.0.7, 'fd00::7']
    ports:
    - {name: grpc-api, port: 80, targetPort: api}
    - {name: admin, port: 81, targetPort: 9001, protocol: TCP}
  status: {loadBalancer: {}}
- apiVersion: v1
  kind: Service
  metadata: {name: bad}
  spec: {ports: [{port: many}]}
- kind: Deployment
  apiVersion: apps/v1
---
apiVersion: v1
kind: PodList
items:
- metadata: {name: p, namespace: team, labels: {app: shop}}
  spec: {nodeName: n1}
  status: {phase: Running, podIPs: [{ip: 10.1.0.1}]}
",
    )]);
    assert_eq!(read.served, ["Service default/shop", "Pod team/p"]);
    assert_eq!(
        read.problems,
        ["list.yaml:23:25: error[wrong-type]: Service default/bad: spec.ports[0].port: \
          expected a whole number, found the string \"many\""]
    );
    let world = world(&read);
    let service = world.service("default", "shop").unwrap();
    assert_eq!(service.spec.address, ServiceAddress::ClusterIp(vec![ip("10.0.0.7"), ip("fd00::7")]));
    assert_eq!(service.spec.ports[0].target, TargetPort::Name("api".into()));
    assert_eq!(service.spec.ports[1].target, TargetPort::Number(9001));
    assert_eq!((service.meta.created, service.meta.generation), (None, None), "a folder gives no age");
    assert_eq!(world.pod("team", "p").unwrap().spec.ips, [ip("10.1.0.1")]);
    let key = ObjectKey::new(Kind::Service, "default", "shop");
    let place = read.reading.positions.locate(&key, "spec.ports[1].targetPort").unwrap();
    assert_eq!((place.line, place.column), (18, 43));
}

#[test]
fn endpoints_by_hand() {
    let read = read(&[(
        "endpoints.yaml",
        r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: shop-v1
  labels: {kubernetes.io/service-name: shop, topology.kubernetes.io/region: eu}
  annotations: {pilotage.dev/endpoint-labels: "version=v1, track=stable"}
addressType: IPv4
ports: [{name: grpc-api, port: 7070}]
endpoints:
- addresses: [127.0.0.1]
  zone: eu-a
- addresses: [not-an-address]
- addresses: [127.0.0.2]
  conditions: {ready: false, serving: true, terminating: true}
  targetRef: {kind: Pod, name: shop-0}
---
apiVersion: v1
kind: Endpoints
metadata: {name: legacy}
subsets:
- addresses: [{ip: 10.0.0.1}]
  notReadyAddresses: [{ip: 10.0.0.2}]
  ports: [{name: http, port: 80}]
- addresses: [{ip: 10.0.0.3}]
  ports: [{name: http, port: 8080}]
"#,
    )]);
    assert_eq!(
        read.problems,
        [
            "endpoints.yaml:13:15: warning[invalid-endpoint]: EndpointSlice default/shop-v1: endpoints[1].addresses[0]: \
          \"not-an-address\" is not an IP address; the endpoint is left out \
          (for a DNS name write a ServiceEntry with resolution DNS)"
        ]
    );
    let world = world(&read);
    let slice = world.slices_of("default", "shop")[0];
    assert_eq!(slice.region().map(|region| &**region), Some("eu"));
    let [first, second] = &slice.spec.endpoints[..] else { panic!("{:?}", slice.spec.endpoints) };
    let labels = first.labels.as_ref().unwrap();
    assert_eq!(
        (labels.get("version").map(|v| &**v), labels.get("track").map(|v| &**v)),
        (Some("v1"), Some("stable"))
    );
    assert_eq!(
        (first.ready, first.serving, first.terminating, first.zone.as_deref()),
        (true, true, false, Some("eu-a"))
    );
    assert_eq!((second.ready, second.serving, second.terminating), (false, true, true));
    assert_eq!(second.pod.as_deref(), Some("shop-0"));

    let mirrored = world.slices_of("default", "legacy");
    let ports: Vec<_> = mirrored.iter().map(|slice| slice.spec.ports[0].port).collect();
    let ready: Vec<_> =
        mirrored.iter().flat_map(|slice| &slice.spec.endpoints).map(|endpoint| endpoint.ready).collect();
    assert_eq!((ports, ready), (vec![80, 8080], vec![true, false, true]));
    assert!(mirrored.iter().all(|slice| slice.spec.mirrored));
}

#[test]
fn services_of_every_sort() {
    let read = read(&[(
        "services.yaml",
        "
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: x}}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: api.example.org.}
---
apiVersion: v1
kind: Service
metadata: {name: local}
spec: {internalTrafficPolicy: Local, sessionAffinity: ClientIP, publishNotReadyAddresses: true, ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: unnamed}
spec: {ports: [{port: 80}, {name: b, port: 81}]}
",
    )]);
    let world = world(&read);
    let spec = |name: &str| world.service("default", name).map(|service| service.spec.clone());
    assert_eq!(spec("headless").unwrap().address, ServiceAddress::Headless);
    assert_eq!(spec("outside").unwrap().address, ServiceAddress::ExternalName("api.example.org".into()));
    let local = spec("local").unwrap();
    assert!(local.internal_traffic_local && local.client_ip_affinity && local.publish_not_ready);
    assert_eq!(spec("unnamed"), None);
    assert_eq!(read.problems.len(), 1);
    assert!(
        read.problems[0]
            .contains("error[missing-field]: Service default/unnamed: spec.ports[0]: a port of a")
    );
}

#[test]
fn places_of_fields_with_dots_in_their_names() {
    let read = read(&[(
        "f.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  annotations:\n    example.org/a.b: x\nspec: {ports: [{port: 80}]}\n",
    )]);
    let key = ObjectKey::new(Kind::Service, "default", "a");
    let place = |path: &str| {
        let place = read.reading.positions.locate(&key, path).unwrap();
        (place.line, place.column)
    };
    assert_eq!(place("metadata.annotations[\"example.org/a.b\"]"), (6, 22));
    assert_eq!(place("metadata.annotations.example.org/a.b"), (6, 22));
    assert_eq!(place("metadata.annotations.other"), (5, 3));
    assert_eq!(place("spec.ports[7].port"), (7, 8));
    assert_eq!(place("nowhere[0].x"), (1, 1));
    assert_eq!(read.reading.positions.locate(&ObjectKey::new(Kind::Pod, "default", "a"), ""), None);
}

/// A ConfigMap may hold anything, so that descriptors are marked; what is no descriptor is told.
#[test]
fn config_maps_are_read_where_they_are_marked() {
    // One service `S` with the method `M`, which is idempotent.
    const GOOD: &str = "Cg8yDQoBUxIICgFNIgOQAgI=";
    let manifest = |name: &str, label: &str, field: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, labels: {{{label}}}}}\n{field}: {{s.binpb: {value}}}\n---\n"
        )
    };
    let marked = "pilotage.dev/descriptors: 'true'";
    let text = manifest("marked", marked, "binaryData", GOOD)
        + &manifest("other", "a: b", "data", "x")
        + &manifest("broken", marked, "data", "words");
    let read = read(&[("c.yaml", &text)]);
    let world = world(&read);
    let services: Vec<_> =
        world.descriptors().map(|found| (&*found.meta.name, found.spec.services.contains_key("S"))).collect();
    assert_eq!(services, [("marked", true)]);
    let problems = &read.problems;
    assert!(problems.len() == 1, "{problems:?}");
    assert!(problems[0].contains("invalid-descriptors") && problems[0].contains("data"), "{problems:?}");
}

/// A Node has no namespace, and nothing of it matters but where it stands.
#[test]
fn nodes_say_where_they_stand() {
    let read = read(&[(
        "n.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/zone: eu-a, \
         topology.kubernetes.io/region: ''}}\nstatus: {phase: x}\n",
    )]);
    let world = world(&read);
    let place = world.place(Some(&"n1".into()));
    assert_eq!((place.zone.as_deref(), place.region.as_deref()), (Some("eu-a"), None));
    assert_eq!(world.place(Some(&"n2".into())).zone, None);
    assert_eq!(read.reading.positions.locate(&ObjectKey::new(Kind::Node, "", "n1"), "").unwrap().line, 1);
}
