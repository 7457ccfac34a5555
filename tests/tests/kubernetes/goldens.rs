//! Every golden world, applied to a real API server, means what it means as a folder.
//!
//! The folder is what the API server has made of the world, as `kubectl get -o json` would write it: it gives Services
//! addresses, and objects their defaults.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use kube::Client;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, TypeMeta};
use pilotage_compile::{Group, Location, Settings, compile};
use pilotage_protocol::Name;
use pilotage_tests::eventually;
use pilotage_tests::golden::{self, Viewer, header};
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, OUR_CRDS, Observer, Options, apply_object, create_crds, istio_crds,
    resource,
};
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::kubernetes::Options as Following;
use pilotage_watcher::{Change, World};
use serde_json::{Value, json};

/// The kinds of golden worlds, with the API that they are written by.
const KINDS: [(&str, &str); 12] = [
    ("Service", "v1"),
    ("EndpointSlice", "discovery.k8s.io/v1"),
    ("Pod", "v1"),
    ("Node", "v1"),
    ("VirtualService", "networking.istio.io/v1"),
    ("DestinationRule", "networking.istio.io/v1"),
    ("Gateway", "networking.istio.io/v1"),
    ("ServiceEntry", "networking.istio.io/v1"),
    ("WorkloadEntry", "networking.istio.io/v1"),
    ("Sidecar", "networking.istio.io/v1"),
    ("Telemetry", "telemetry.istio.io/v1"),
    ("EnvoyResources", "pilotage.dev/v1alpha1"),
];

/// Applies a world in the order of names, so that age and name decide alike. Gives what the API server refuses.
async fn apply_world(client: &Client, text: &str) -> Result<Vec<String>> {
    let documents = serde_saphyr::from_multiple::<Value>(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let mut documents: Vec<Value> = documents.into_iter().filter(|document| !document.is_null()).collect();
    let text = |value: &Value| value.as_str().unwrap_or("default").to_owned();
    documents
        .sort_by_key(|object| (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"])));
    let mut refused = Vec::new();
    for mut object in documents {
        let namespace = text(&object["metadata"]["namespace"]);
        Namespace::ensure(client, &namespace).await?;
        let is_pod = object["kind"] == "Pod";
        if is_pod {
            object["spec"]["containers"] = json!([{"name": "app", "image": "example.com/app"}]);
        }
        let namespaced = (object["kind"] != "Node").then_some(&*namespace);
        if let Err(error) = apply_object(client, namespaced, &object).await {
            refused.push(format!("{error:#}"));
        } else if is_pod {
            // Who writes an object does not write its status with it.
            let status = json!({"apiVersion": "v1", "kind": "Pod", "status": object["status"]});
            let pods = resource(client, "v1", "Pod", Some(&namespace))?;
            let name = text(&object["metadata"]["name"]);
            pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await?;
        }
    }
    Ok(refused)
}

/// The world that the API server has, by way of a folder.
async fn world_of_folder(client: &Client) -> Result<World> {
    let folder = tempfile::tempdir()?;
    for (kind, api_version) in KINDS {
        for mut object in resource(client, api_version, kind, None)?.list(&ListParams::default()).await? {
            object.types = Some(TypeMeta { api_version: api_version.into(), kind: kind.into() });
            let metadata = &object.metadata;
            let namespace = metadata.namespace.as_deref().unwrap_or_default();
            let name = metadata.name.as_ref().unwrap();
            let file = folder.path().join(format!("{kind}.{namespace}.{name}.json"));
            std::fs::write(file, serde_json::to_vec(&object)?)?;
        }
    }
    let mut world = World::default();
    for change in read_directory(folder.path())?.changes {
        if let Change::Apply(object) = change {
            world.apply(object);
        }
    }
    Ok(world)
}

async fn delete_world(client: &Client) -> Result<()> {
    for (kind, api_version) in KINDS {
        for object in resource(client, api_version, kind, None)?.list(&ListParams::default()).await? {
            let (namespace, name) = (object.metadata.namespace, object.metadata.name.unwrap());
            if name != "kubernetes" {
                let api = resource(client, api_version, kind, namespace.as_deref())?;
                api.delete(&name, &DeleteParams::default().grace_period(0)).await?;
            }
        }
    }
    Ok(())
}

/// What a group is told, as versions by name, and what is wrong.
fn told(world: &World, group: &Group, asked: &BTreeSet<Name>) -> BTreeSet<String> {
    let compiled = compile(world, group, &Settings::default(), asked, None);
    let resources = compiled.snapshot().iter().flat_map(|(resource_type, collection)| {
        let told = move |resource: &_| describe(&resource_type.to_string(), resource);
        collection.iter().map(told).collect::<Vec<_>>()
    });
    resources.chain(compiled.problems().map(ToString::to_string)).collect()
}

fn describe(resource_type: &str, resource: &pilotage_protocol::Resource) -> String {
    format!("{resource_type} {} {}", resource.name(), resource.version())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_golden_world_means_the_same_in_a_cluster_and_in_a_folder() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &istio_crds().await?).await?;
    create_crds(&client, OUR_CRDS).await?;
    let observer =
        Observer::start(&cluster.kubeconfig(Identity::Administrator)?, Following::default()).await?;
    observer.synced().await?;
    let (mut compared, mut all_refused) = (0, 0);
    for folder in golden::folders()? {
        let text = std::fs::read_to_string(folder.join("world.yaml"))?;
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let refused = apply_world(&client, &text).await?;
        // Golden worlds hold mistakes as well, some of which a schema sees, and fields newer than the published one.
        let by_schema =
            |error: &String| error.contains("is invalid") || error.contains("field not declared in schema");
        assert!(refused.iter().all(by_schema), "{name}: {refused:#?}");
        all_refused += refused.len();
        let expected = world_of_folder(&client).await?;
        for Viewer { name: viewer, group, asked } in header(&text).map_err(anyhow::Error::msg)?.viewers {
            // Where a proxy runs is nothing that the two could differ by.
            let group = Group { location: Location::default(), ..group };
            let expected = told(&expected, &group, &asked);
            let same = || async { (told(&observer.said().world, &group, &asked) == expected).then_some(()) };
            let outcome = eventually("the same in both", same).await;
            let found = told(&observer.said().world, &group, &asked);
            let differences: Vec<_> = found.symmetric_difference(&expected).collect();
            outcome.with_context(|| format!("{name}: {viewer}: {differences:#?}"))?;
            compared += expected.len();
        }
        delete_world(&client).await?;
    }
    assert!(compared > 100, "{compared} resources and problems were compared");
    assert!(all_refused < 20, "{all_refused} objects were refused");
    Ok(())
}
