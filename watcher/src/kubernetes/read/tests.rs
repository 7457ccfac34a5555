#![allow(clippy::unwrap_used)]

use super::*;

fn reading(kind: Kind, json: &str) -> Reading {
    read(&head(kind, json).unwrap().0, json)
}

#[test]
fn a_routing_object_has_the_age_that_the_server_gives_it() {
    let json = r#"{
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {
            "name": "checkout", "namespace": "shop", "resourceVersion": "17", "generation": 4, "uid": "u",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "kept"},
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
        },
        "spec": {"hosts": ["checkout"], "http": [{"route": [{"destination": {"host": "checkout"}}]}]},
        "status": {"anything": true}
    }"#;
    let Reading { object, problems } = reading(Kind::VirtualService, json);
    assert_eq!(problems, []);
    let Some(Object::VirtualService(object)) = object else { panic!("it is a VirtualService") };
    assert_eq!((object.meta.created, object.meta.generation), (Some(1_767_323_045), Some(4)));
    assert_eq!(object.meta.annotations.keys().map(|key| &**key).collect::<Vec<_>>(), ["mine"]);
    assert_eq!(&*object.spec.hosts[0], "checkout");
}

#[test]
fn a_routing_object_that_does_not_fit_is_told_by_its_field() {
    let json = r#"{
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {"hosts": ["checkout"], "http": [{"retries": {"attempts": "three"}, "timeuot": "1s"}]}
    }"#;
    let Reading { object, problems } = reading(Kind::VirtualService, json);
    assert!(object.is_none());
    let paths: Vec<_> = problems.iter().map(|problem| (problem.code, problem.path.as_str())).collect();
    assert!(paths.contains(&(Code::WrongType, "spec.http[0].retries.attempts")), "{problems:?}");
    assert!(paths.contains(&(Code::UnknownField, "spec.http[0].timeuot")), "{problems:?}");
    assert!(problems.iter().all(|problem| problem.position.is_none()));
    let key = ObjectKey::new(Kind::VirtualService, "shop", "checkout");
    assert!(problems.iter().all(|problem| problem.object.as_ref() == Some(&key)), "{problems:?}");
}

#[test]
fn a_field_of_a_newer_server_is_no_problem() {
    let json = r#"{
        "metadata": {"name": "a", "namespace": "shop", "invented": 1},
        "spec": {"ports": [{"port": 80, "invented": true}], "clusterIP": "10.0.0.1", "invented": {}}
    }"#;
    let Reading { object, problems } = reading(Kind::Service, json);
    assert_eq!(problems, []);
    assert!(object.is_some());
}

#[test]
fn what_cannot_be_read_is_a_problem_of_that_object() {
    let json = r#"{"metadata": {"name": "a", "namespace": "shop"}, "spec": {"ports": "none"}}"#;
    let Reading { object, problems } = reading(Kind::Service, json);
    assert!(object.is_none());
    assert_eq!(problems[0].to_string().split(": ").next(), Some("error[wrong-type]"));
    assert_eq!(problems[0].object, Some(ObjectKey::new(Kind::Service, "shop", "a")));
}

#[test]
fn of_a_pod_only_what_is_used_is_kept() {
    let json = r#"{
        "metadata": {"name": "a", "namespace": "shop", "labels": {"app": "a"}, "annotations": {"long": "text"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}]}
    }"#;
    let Some(Object::Pod(pod)) = reading(Kind::Pod, json).object else { panic!("it is a Pod") };
    assert!(pod.meta.annotations.is_empty());
    assert_eq!(pod.meta.labels.len(), 1);
    assert_eq!(pod.spec.ips, ["10.0.0.9".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((pod.spec.node.as_deref(), pod.spec.phase.as_deref()), (Some("n"), Some("Running")));
}

#[test]
fn what_is_no_object_has_no_head() {
    for json in ["", "[]", "null", "{}", r#"{"metadata":{}}"#, r#"{"metadata":{"name":1}}"#] {
        assert!(head(Kind::Pod, json).is_none(), "{json}");
    }
}
