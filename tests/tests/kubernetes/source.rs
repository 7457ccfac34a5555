//! The Kubernetes source against a real API server: what is written there arrives, and what is gone goes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use kube::Client;
use kube::api::DeleteParams;
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, OUR_CRDS, Observer, Options, Said, apply, apply_object, create_crds,
    istio_crds, resource,
};
use pilotage_watcher::kubernetes::{KindState, Options as Following};
use pilotage_watcher::{Code, Kind, ObjectKey};
use serde_json::json;

const OBJECTS: &str = include_str!("source/objects.yaml");

const ISTIO: &str = "networking.istio.io/v1";

/// Every kind of the manifests, with the API that it is written by and its name there.
const KINDS: [(Kind, &str, &str); 11] = [
    (Kind::Service, "v1", "checkout"),
    (Kind::EndpointSlice, "discovery.k8s.io/v1", "checkout-1"),
    (Kind::Pod, "v1", "checkout-a"),
    (Kind::VirtualService, ISTIO, "checkout"),
    (Kind::DestinationRule, ISTIO, "checkout"),
    (Kind::Gateway, ISTIO, "edge"),
    (Kind::ServiceEntry, ISTIO, "payments"),
    (Kind::WorkloadEntry, ISTIO, "payments-1"),
    (Kind::Sidecar, ISTIO, "checkout"),
    (Kind::Telemetry, "telemetry.istio.io/v1", "logs"),
    (Kind::EnvoyResources, "pilotage.dev/v1alpha1", "raw"),
];

/// The labels of an object, if it is there.
fn labels(said: &Said, key: &ObjectKey) -> Option<Vec<String>> {
    let world = &said.world;
    let (namespace, name) = (&*key.namespace, &*key.name);
    let is =
        |meta: &pilotage_watcher::resources::Meta| meta.namespace == key.namespace && meta.name == key.name;
    let meta = match key.kind {
        Kind::Service => &world.service(namespace, name)?.meta,
        Kind::EndpointSlice => {
            &world.slices_of(namespace, "checkout").into_iter().find(|it| is(&it.meta))?.meta
        }
        Kind::Pod => &world.pod(namespace, name)?.meta,
        Kind::VirtualService => &world.virtual_services().find(|it| is(&it.meta))?.meta,
        Kind::DestinationRule => &world.destination_rules().find(|it| is(&it.meta))?.meta,
        Kind::Gateway => &world.gateway(namespace, name)?.meta,
        Kind::ServiceEntry => &world.service_entries().find(|it| is(&it.meta))?.meta,
        Kind::WorkloadEntry => &world.workload_entries().find(|it| is(&it.meta))?.meta,
        Kind::Sidecar => &world.sidecars().find(|it| is(&it.meta))?.meta,
        Kind::Telemetry => &world.telemetries().find(|it| is(&it.meta))?.meta,
        Kind::EnvoyResources => &world.envoy_resources().find(|it| is(&it.meta))?.meta,
        Kind::Secret => &world.secret(namespace, name)?.meta,
        Kind::Node => return None,
        Kind::Descriptors => &world.descriptors().find(|it| is(&it.meta))?.meta,
    };
    Some(meta.labels.keys().map(ToString::to_string).collect())
}

async fn delete(client: &Client, api_version: &str, key: &ObjectKey) -> Result<()> {
    let api = resource(client, api_version, &format!("{:?}", key.kind), Some(&key.namespace))?;
    api.delete(&key.name, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives_when_it_is_created_changed_and_deleted() -> Result<()> {
    let cluster = ControlPlane::shared().await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "kinds").await?;
    let observer =
        Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Following::default()).await?;
    observer.synced().await?;

    apply(&client, namespace.name(), OBJECTS).await?;
    for (kind, api_version, name) in KINDS {
        let key = ObjectKey::new(kind, namespace.name(), name);
        observer.until(&format!("{key} being there"), |said| labels(said, &key)).await?;
        assert_eq!(observer.status().kinds[&kind], KindState::Watching);

        let api = resource(&client, api_version, &format!("{kind:?}"), Some(namespace.name()))?;
        let change = json!({"metadata": {"labels": {"changed": "yes"}}});
        api.patch(name, &Default::default(), &kube::api::Patch::Merge(change)).await?;
        observer
            .until(&format!("{key} being changed"), |said| {
                labels(said, &key)?.iter().any(|label| label == "changed").then_some(())
            })
            .await?;

        delete(&client, api_version, &key).await?;
        observer
            .until(&format!("{key} being gone"), |said| said.deleted.contains(&key).then_some(()))
            .await?;
        assert_eq!(labels(&observer.said(), &key), None);
    }
    assert_eq!(observer.said().synced, 1);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_is_told_before_synced_with_the_age_that_the_server_gives() -> Result<()> {
    let cluster = ControlPlane::shared().await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "before").await?;
    let applied = apply(&client, namespace.name(), OBJECTS).await?;
    let created =
        applied.iter().find(|object| object.types.as_ref().unwrap().kind == "VirtualService").unwrap();
    let created = created.metadata.creation_timestamp.clone().unwrap().0.as_second();

    let observer =
        Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Following::default()).await?;
    // Not a moment later: an answer without one of these would be a wrong one.
    let said =
        observer.until("everything being listed", |said| (said.synced > 0).then(|| said.clone())).await?;
    for (kind, _, name) in KINDS {
        assert!(labels(&said, &ObjectKey::new(kind, namespace.name(), name)).is_some(), "{kind:?}");
    }
    let rule = said.world.virtual_services().find(|it| &*it.meta.namespace == namespace.name()).unwrap();
    assert_eq!((rule.meta.created, rule.meta.generation), (Some(created), Some(1)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_known_by_their_places_and_config_maps_by_their_label() -> Result<()> {
    let cluster = ControlPlane::shared().await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "places").await?;
    let observer =
        Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Following::default()).await?;
    observer.synced().await?;

    let name: Arc<str> = format!("node-of-{}", namespace.name()).into();
    let node = |zone: &str| {
        json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}})
    };
    for zone in ["eu-a", "eu-b"] {
        apply_object(&client, None, &node(zone)).await?;
        let stands =
            |said: &Said| (said.world.place(Some(&name)).zone.as_deref() == Some(zone)).then_some(());
        observer.until(&format!("the Node in {zone}"), stands).await?;
    }
    resource(&client, "v1", "Node", None)?.delete(&name, &DeleteParams::default()).await?;
    let gone = ObjectKey::new(Kind::Node, "", name.clone());
    observer.until("the Node being gone", |said| said.deleted.contains(&gone).then_some(())).await?;
    assert_eq!(observer.said().world.place(Some(&name)).zone, None);

    // One service `S` with the method `M`, which is idempotent.
    let good = json!({"s.binpb": "Cg8yDQoBUxIICgFNIgOQAgI="});
    let config_map = |name: &str, marked: &str, data: &serde_json::Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "binaryData": data,
            "metadata": {"name": name, "labels": {"pilotage.dev/descriptors": marked}}})
    };
    let write = async |name: &str, marked: &str, data: &serde_json::Value| {
        apply_object(&client, Some(namespace.name()), &config_map(name, marked, data)).await
    };
    let known = |said: &Said| -> Vec<String> {
        let ours = said.world.descriptors().filter(|it| &*it.meta.namespace == namespace.name());
        ours.filter(|it| it.spec.services.contains_key("S")).map(|it| it.meta.name.to_string()).collect()
    };
    write("other", "false", &good).await?;
    write("marked", "true", &good).await?;
    observer.until("the descriptors", |said| (known(said) == ["marked"]).then_some(())).await?;
    // What cannot be read is told, and the last good version stays.
    write("marked", "true", &json!({"s.binpb": "AAAA"})).await?;
    let problem = observer.until("the problem", |said| said.problems.values().next().cloned()).await?;
    assert_eq!(problem[0].code, Code::InvalidDescriptors, "{}", problem[0]);
    assert_eq!(known(&observer.said()), ["marked"]);
    // Who takes the mark away takes the descriptors away.
    write("marked", "false", &good).await?;
    let none = |said: &Said| (known(said).is_empty() && said.problems.is_empty()).then_some(());
    observer.until("no descriptors", none).await
}

/// The routing kinds but for VirtualServices.
const OTHERS: &[&str] = &["destinationrules", "gateways", "serviceentries", "workloadentries", "sidecars"];

/// A role that lets Pilotage read some resources of the routing kinds, and everything of the others.
async fn allow(client: &Client, routing: &[&str]) -> Result<()> {
    let verbs = json!(["get", "list", "watch"]);
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "pilotage"},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "pods", "nodes", "configmaps"], "verbs": verbs},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": verbs},
            {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": verbs},
            {"apiGroups": ["networking.istio.io"], "resources": routing, "verbs": verbs},
            {"apiGroups": ["telemetry.istio.io", "pilotage.dev"], "resources": ["*"], "verbs": verbs},
        ],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "pilotage"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pilotage"},
        "subjects": [{"kind": "User", "name": Identity::Pilotage.user()}],
    });
    for object in [role, binding] {
        apply_object(client, None, &object).await?;
    }
    Ok(())
}

/// The server of this test does not stream lists, so that pages are tried as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_may_not_be_read_is_a_problem_until_it_may() -> Result<()> {
    let options = Options { api_server: &["--feature-gates=WatchList=false"] };
    let mut cluster = ControlPlane::start(options).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    allow(&client, OTHERS).await?;
    let namespace = Namespace::create(&client, "rights").await?;
    apply(&client, namespace.name(), OBJECTS).await?;
    for index in 0..7 {
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("paged-{index}")},
            "spec": {"ports": [{"name": "grpc", "port": 80}]},
        });
        apply_object(&client, Some(namespace.name()), &service).await?;
    }

    let following = Following {
        page: 3,
        patience: Duration::from_millis(500),
        recheck: Duration::from_secs(2),
        ..Following::default()
    };
    let observer = Observer::start(&cluster.kubeconfig(Identity::Pilotage)?, following).await?;
    observer.synced().await?;
    let said = observer.said();
    // Seven, ours and the API server's own.
    assert_eq!(said.world.services().count(), 9);
    assert_eq!(said.world.virtual_services().count(), 0);
    assert_eq!(said.world.gateways().count(), 1);
    let (_, problems) = said.problems.iter().next().expect("there is a problem");
    assert_eq!((said.problems.len(), problems[0].code), (1, Code::Forbidden));
    let text = problems[0].to_string();
    assert!(text.contains("virtualservices.networking.istio.io") && text.contains("role"), "{text}");
    assert!(matches!(observer.status().kinds[&Kind::VirtualService], KindState::Forbidden(_)));

    allow(&client, &[&["virtualservices"], OTHERS].concat()).await?;
    let read =
        |said: &Said| (said.world.virtual_services().count() == 1 && said.problems.is_empty()).then_some(());
    observer.until("the kind being read", read).await?;

    // A watch that runs is not cut when its right is taken away; the next one is refused.
    allow(&client, OTHERS).await?;
    cluster.kill_api_server().await;
    cluster.start_api_server().await?;
    let problem = observer.until("the problem", |said| said.problems.values().next().cloned()).await?;
    assert!(problem[0].to_string().contains("1 that were read before stay"), "{}", problem[0]);
    let said = observer.said();
    assert_eq!((said.world.virtual_services().count(), said.deleted.len()), (1, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_ten_thousand_services_arrives_and_is_listed_fast() -> Result<()> {
    const SERVICES: usize = 10_000;
    const WRITERS: usize = 16;
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "burst").await?;
    let kubeconfig = cluster.kubeconfig(Identity::Administrator)?;
    let observer = Observer::start(&kubeconfig, Following::default()).await?;
    observer.synced().await?;

    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let (client, namespace) = (client.clone(), namespace.clone());
        writers.spawn(async move {
            let api = resource(&client, "v1", "Service", Some(namespace.name()))?;
            for index in (writer..SERVICES).step_by(WRITERS) {
                let service = serde_json::from_value(json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": format!("s{index}")},
                    // Without an address of its own, of which the API server gives out few a second.
                    "spec": {"clusterIP": "None", "ports": [{"name": "grpc", "port": 80}]},
                }))?;
                api.create(&Default::default(), &service).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    // The API server has one Service of its own.
    let all = |said: &Said| (said.world.services().count() == SERVICES + 1).then_some(said.batches);
    observer.until("every Service being there", all).await?;
    assert_eq!(observer.said().problems, Default::default());

    let began = Instant::now();
    let second = Observer::start(&kubeconfig, Following::default()).await?;
    second.synced().await?;
    assert_eq!(second.said().world.services().count(), SERVICES + 1);
    eprintln!("{SERVICES} Services listed in {:?}", began.elapsed());
    Ok(())
}
