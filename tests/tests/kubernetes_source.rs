//! The Kubernetes source against a real API server that the tests here share, each in a namespace of its own.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use anyhow::Result;
use kube::api::{DeleteParams, Patch, PatchParams};
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, Observer, Said, apply, apply_object, create_crds, istio_crds, resource,
};
use pilotage_watcher::kubernetes::{KindState, Options};
use pilotage_watcher::{Kind, ObjectKey};
use serde_json::json;

const OBJECTS: &str = include_str!("kubernetes_source/objects.yaml");

/// Every kind of the manifests, with the API it is written by and its name.
const KINDS: [(Kind, &str, &str, &str); 7] = [
    (Kind::Service, "v1", "Service", "checkout"),
    (Kind::EndpointSlice, "discovery.k8s.io/v1", "EndpointSlice", "checkout-1"),
    (Kind::Pod, "v1", "Pod", "checkout-a"),
    (Kind::VirtualService, "networking.istio.io/v1", "VirtualService", "checkout"),
    (Kind::DestinationRule, "networking.istio.io/v1", "DestinationRule", "checkout"),
    (Kind::Gateway, "networking.istio.io/v1", "Gateway", "edge"),
    (Kind::ServiceEntry, "networking.istio.io/v1", "ServiceEntry", "payments"),
];

fn has(said: &Said, kind: Kind, namespace: &str, name: &str) -> bool {
    let world = &said.world;
    match kind {
        Kind::Service => world.service(namespace, name).is_some(),
        Kind::EndpointSlice => world.slices_of(namespace, "checkout").iter().any(|slice| &*slice.meta.name == name),
        Kind::Pod => world.pod(namespace, name).is_some(),
        Kind::VirtualService => world.virtual_services().any(|it| is(&it.meta, namespace, name)),
        Kind::DestinationRule => world.destination_rules().any(|it| is(&it.meta, namespace, name)),
        Kind::Gateway => world.gateway(namespace, name).is_some(),
        Kind::ServiceEntry => world.service_entries().any(|it| is(&it.meta, namespace, name)),
    }
}

fn is(meta: &pilotage_watcher::resources::Meta, namespace: &str, name: &str) -> bool {
    &*meta.namespace == namespace && &*meta.name == name
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_arrives_when_it_is_created_changed_and_deleted() -> Result<()> {
    let cluster = ControlPlane::start(Default::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?, |kind| KINDS.iter().any(|(_, _, known, _)| *known == kind)).await?;
    let namespace = Namespace::create(&client, "kinds").await?;
    let namespace = namespace.name();
    let observer = Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Options::default()).await?;
    observer.synced().await?;

    apply(&client, namespace, OBJECTS).await?;
    for (kind, _, _, name) in KINDS {
        let what = format!("{kind:?} {name} being there");
        observer.until(&what, |said| has(said, kind, namespace, name).then_some(())).await?;
        assert_eq!(observer.status().kinds[&kind], KindState::Watching);
    }
    assert_eq!(observer.said().problems, Default::default());
    Ok(())
}
