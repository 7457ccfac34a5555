//! Kinds that come and go with their definitions, served in the versions that a cluster has.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::Result;
use kube::Client;
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, Observer, Options, Said, apply_object, create_crds, delete_crd,
};
use pilotage_watcher::Kind;
use pilotage_watcher::kubernetes::{KindState, Options as Following};
use serde_json::{Value, json};

const DEFINITION: &str = "virtualservices.networking.istio.io";

/// A definition that lets everything pass, as definitions of early versions did.
fn definition(versions: &[&str]) -> String {
    let versions: Vec<Value> = versions
        .iter()
        .enumerate()
        .map(|(index, version)| {
            json!({
                "name": version, "served": true, "storage": index == 0,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            })
        })
        .collect();
    let names = json!({
        "kind": "VirtualService", "listKind": "VirtualServiceList", "plural": "virtualservices",
        "singular": "virtualservice",
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": DEFINITION},
        "spec": {"group": "networking.istio.io", "scope": "Namespaced", "names": names, "versions": versions},
    })
    .to_string()
}

async fn write(
    client: &Client,
    namespace: &Namespace,
    version: &str,
    name: &str,
    retries: Value,
) -> Result<()> {
    let object = json!({
        "apiVersion": format!("networking.istio.io/{version}"), "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {
            "hosts": [name],
            "http": [{"route": [{"destination": {"host": name}}], "retries": retries}],
        },
    });
    apply_object(client, Some(namespace.name()), &object).await?;
    Ok(())
}

fn attempts(said: &Said, name: &str) -> Option<i64> {
    let found = said.world.virtual_services().find(|it| &*it.meta.name == name)?;
    found.spec.http[0].retries.as_ref()?.attempts
}

fn rules(said: &Said) -> usize {
    said.world.virtual_services().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_is_followed_from_the_moment_that_its_definition_is_there() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    let namespace = Namespace::create(&client, "definitions").await?;
    // So long that only the definition's own events can be what brings the kind back.
    let following = Following { recheck: Duration::from_secs(3600), ..Following::default() };
    let observer = Observer::start(&cluster.kubeconfig(Identity::Administrator)?, following).await?;
    observer.synced().await?;
    for kind in [Kind::VirtualService, Kind::DestinationRule, Kind::Gateway, Kind::ServiceEntry] {
        assert_eq!(observer.status().kinds[&kind], KindState::Absent);
    }
    assert_eq!(observer.said().problems, Default::default());

    // A version that is read, though not the preferred one.
    create_crds(&client, &definition(&["v1alpha3"])).await?;
    write(&client, &namespace, "v1alpha3", "old", json!({"attempts": 1})).await?;
    observer.until("the object of the new kind", |said| attempts(said, "old")).await?;

    // An object that does not fit is told; the last version that did stays, and the rest goes on.
    write(&client, &namespace, "v1alpha3", "broken", json!({"attempts": 2})).await?;
    observer.until("the object while it is well", |said| attempts(said, "broken")).await?;
    write(&client, &namespace, "v1alpha3", "broken", json!({"attempts": "three"})).await?;
    let problems = observer.until("its problem", |said| said.problems.values().next().cloned()).await?;
    let text = problems[0].to_string();
    assert!(text.contains("/broken: spec.http[0].retries.attempts: expected"), "{text}");
    write(&client, &namespace, "v1alpha3", "next", json!({"attempts": 4})).await?;
    observer.until("the object after it", |said| attempts(said, "next")).await?;
    assert_eq!(attempts(&observer.said(), "broken"), Some(2));
    write(&client, &namespace, "v1alpha3", "broken", json!({"attempts": 5})).await?;
    let mended =
        |said: &Said| (attempts(said, "broken") == Some(5) && said.problems.is_empty()).then_some(());
    observer.until("the object being mended", mended).await?;

    delete_crd(&client, DEFINITION).await?;
    observer.until("its objects being gone", |said| (rules(said) == 0).then_some(())).await?;
    let absent =
        || async { (observer.status().kinds[&Kind::VirtualService] == KindState::Absent).then_some(()) };
    pilotage_tests::eventually("the kind being absent", absent).await?;

    create_crds(&client, &definition(&["v1", "v1beta1"])).await?;
    write(&client, &namespace, "v1beta1", "new", json!({"attempts": 6})).await?;
    observer.until("the object of the kind that is back", |said| attempts(said, "new")).await?;
    let said = observer.said();
    let version = said.world.virtual_services().map(|it| it.meta.api_version.clone()).next();
    assert_eq!(version.as_deref(), Some("networking.istio.io/v1"));
    assert_eq!((rules(&said), said.synced), (1, 1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_without_a_version_that_is_read_holds_nothing_up() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &definition(&["v2"])).await?;
    let following = Following { patience: Duration::from_millis(300), ..Following::default() };
    let observer = Observer::start(&cluster.kubeconfig(Identity::Administrator)?, following).await?;
    observer.synced().await?;
    let said = observer.said();
    let text = said.problems.values().flatten().map(ToString::to_string).collect::<Vec<_>>();
    assert!(
        text.len() == 1 && text[0].contains("unknown-version") && text[0].contains(DEFINITION),
        "{text:?}"
    );
    Ok(())
}
