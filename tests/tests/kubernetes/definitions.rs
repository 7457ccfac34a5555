//! Kinds that come and go with their definitions, served in the versions that a cluster has.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use kube::Client;
use kube::api::{DeleteParams, PostParams};
use pilotage_tests::kubernetes::{
    ControlPlane, Identity, Namespace, Observer, Options, Said, apply_object, create_crds, delete_crd,
    resource,
};
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::kubernetes::{KindState, Options as Following};
use pilotage_watcher::{Change, Kind, Severity};
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

const REFUSED: &str = include_str!("definitions/refused.yaml");

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

async fn our_definitions() -> Result<String> {
    let output = tokio::process::Command::new(pilotage_tests::pilotage()?).arg("crds").output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// `PILOTAGE_BLESS=1` writes the file anew.
#[tokio::test]
async fn the_definitions_that_are_shipped_are_those_that_are_printed() -> Result<()> {
    let path = root().join("deploy/kubernetes/crds.yaml");
    let printed = our_definitions().await?;
    if std::env::var_os("PILOTAGE_BLESS").is_some() {
        std::fs::write(&path, &printed)?;
    }
    let shipped = std::fs::read_to_string(&path).unwrap_or_default();
    ensure!(
        shipped == printed,
        "deploy/kubernetes/crds.yaml is not current; run this test with PILOTAGE_BLESS=1"
    );
    Ok(())
}

/// What the parser says of a manifest: none where it takes it.
fn refusal_by_parser(object: &Value) -> Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("object.json"), object.to_string())?;
    let problems = read_directory(folder.path())?.changes.into_iter().filter_map(|change| match change {
        Change::Problems { problems, .. } => Some(problems),
        _ => None,
    });
    Ok(problems
        .flatten()
        .find(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.to_string()))
}

/// The routing objects of the manifests below a folder.
fn routing_objects(folder: &Path) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            objects.extend(routing_objects(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let documents =
                serde_saphyr::from_multiple::<Value>(&text).map_err(|error| anyhow::anyhow!("{error}"))?;
            objects.extend(documents.into_iter().filter(|object| {
                object["apiVersion"]
                    .as_str()
                    .is_some_and(|version| version.starts_with("networking.istio.io/"))
            }));
        }
    }
    Ok(objects)
}

#[tokio::test(flavor = "multi_thread")]
async fn our_definitions_refuse_what_the_parser_refuses_and_take_what_it_takes() -> Result<()> {
    let cluster = ControlPlane::start(Options::default()).await?;
    let client = cluster.client(Identity::Administrator).await?;
    create_crds(&client, &our_definitions().await?).await?;
    let namespace = Namespace::create(&client, "ours").await?;
    let mut differ = Vec::new();

    let refused =
        serde_saphyr::from_multiple::<Value>(REFUSED).map_err(|error| anyhow::anyhow!("{error}"))?;
    assert!(refused.len() > 80);
    for object in refused {
        if refusal_by_parser(&object)?.is_none() {
            differ.push(format!("the parser takes {object}"));
        }
        let kind = object["kind"].as_str().unwrap();
        let version = object["apiVersion"].as_str().unwrap();
        let api = resource(&client, version, kind, Some(namespace.name()))?;
        match api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await {
            Ok(_) => differ.push(format!("the API server takes {object}")),
            // Refused for what it is, and not because it could not be asked.
            Err(kube::Error::Api(status)) if status.is_invalid() => {}
            Err(error) => differ.push(format!("{object}: {error:#}")),
        }
    }

    let mut taken = 0;
    for folder in ["xds/compile/tests/golden", "deploy/examples", "watcher/tests/fixtures"] {
        for mut object in routing_objects(&root().join(folder))? {
            if refusal_by_parser(&object)?.is_some() {
                continue;
            }
            taken += 1;
            object["metadata"]["namespace"] = json!(namespace.name());
            let (kind, version) = (object["kind"].as_str().unwrap(), object["apiVersion"].as_str().unwrap());
            let name = object["metadata"]["name"].as_str().unwrap();
            match apply_object(&client, None, &object).await {
                // Another folder may have one of this name, and what is applied over it would be another object.
                Ok(_) => drop(
                    resource(&client, version, kind, Some(namespace.name()))?
                        .delete(name, &DeleteParams::default())
                        .await?,
                ),
                Err(error) => differ.push(format!("the API server refuses {object}: {error:#}")),
            }
        }
    }
    assert!(taken > 30, "{taken} good objects");
    assert!(differ.is_empty(), "{}:\n{}", differ.len(), differ.join("\n"));
    Ok(())
}
