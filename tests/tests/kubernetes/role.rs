//! The role that is shipped: Pilotage runs under it, uses each of its rights, and asks for nothing else.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use pilotage_tests::kubernetes::{
    Audit, Identity, Namespace, OUR_CRDS, Observer, ROLE, apply, apply_cluster, create_crds, istio_crds,
    token,
};
use pilotage_tests::{Mesh, eventually};
use pilotage_watcher::Kind;
use pilotage_watcher::kubernetes::{KindState, Options as Following, Review, connect, review_token};
use serde_json::{Value, json};

const OBJECTS: &str = include_str!("source/objects.yaml");

const USER: &str = "system:serviceaccount:pilotage-system:pilotage";

/// A rule that leads nowhere.
const UNRESOLVED: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: unresolved}
spec:
  hosts: [nowhere.example]
  http: [{route: [{destination: {host: nowhere.example}}]}]
";

/// A right: API group, resource and verb.
type Right = (String, String, String);

/// The rights that the role gives.
fn given() -> Result<BTreeSet<Right>> {
    let documents = serde_saphyr::from_multiple::<Value>(ROLE).map_err(|error| anyhow::anyhow!("{error}"))?;
    let is_role = |object: &Value| object["kind"] == "ClusterRole" || object["kind"] == "Role";
    let roles: Vec<Value> = documents.into_iter().filter(is_role).collect();
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in roles.iter().filter_map(|role| role["rules"].as_array()).flatten() {
        for group in texts(&rule["apiGroups"]) {
            for resource in texts(&rule["resources"]) {
                rights.extend(
                    texts(&rule["verbs"]).into_iter().map(|verb| (group.clone(), resource.clone(), verb)),
                );
            }
        }
    }
    Ok(rights)
}

/// The rights that the user has asked for.
fn used(audit: &Audit) -> BTreeSet<Right> {
    let used =
        audit.events().into_iter().filter(|event| event["user"]["username"] == USER).filter_map(|event| {
            let object = event["objectRef"].as_object()?;
            let part = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let resource = match part("subresource") {
                sub if sub.is_empty() => part("resource"),
                sub => format!("{}/{sub}", part("resource")),
            };
            Some((part("apiGroup"), resource, event["verb"].as_str()?.to_owned()))
        });
    // What every user may ask has no resource, such as which kinds there are.
    used.filter(|(_, resource, _)| !resource.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_role_gives_what_is_used_and_no_more() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A server that streams lists is asked for no other ones; both must be allowed.
    let (cluster, audit) = Audit::start(&["--feature-gates=WatchList=false"]).await?;
    let client = cluster.client(Identity::Administrator).await?;
    apply_cluster(&client, ROLE).await?;
    let kubeconfig =
        cluster.kubeconfig_with(&token(&client, "pilotage-system", "pilotage", &json!({})).await?)?;

    let observer = Observer::start(&kubeconfig, Following::default()).await?;
    observer.synced().await?;
    assert_eq!(observer.status().kinds[&Kind::VirtualService], KindState::Absent);
    create_crds(&client, &istio_crds().await?).await?;
    // The kind of ours that nobody else defines.
    create_crds(&client, OUR_CRDS).await?;
    let namespace = Namespace::create(&client, "role").await?;
    // The whole server, which writes as well. It finds something wrong, and ends in order.
    let text = kubeconfig.to_str().context("a path that is text")?;
    let settings = folder.path().join("pilotage.yaml");
    std::fs::write(&settings, "status: {write: true, leaseSeconds: 3}\n")?;
    let settings = settings.to_str().context("a path that is text")?;
    let arguments = ["--kubernetes", "--kubeconfig", text, "--config", settings];
    let mut mesh = Mesh::start_with(&[], &arguments).await?;
    apply(&client, namespace.name(), UNRESOLVED).await?;
    apply(&client, namespace.name(), OBJECTS).await?;
    let following = || async {
        observer.status().kinds.values().all(|state| *state == KindState::Watching).then_some(())
    };
    eventually("every kind being followed", following).await?;
    let everything = |said: &pilotage_tests::kubernetes::Said| {
        let world = &said.world;
        let here =
            world.virtual_services().count() == 2 && world.pod(namespace.name(), "checkout-a").is_some();
        here.then_some(())
    };
    observer.until("the objects", everything).await?;
    assert_eq!(observer.said().problems, Default::default());

    let connection = connect(&kubeconfig, None).await?;
    let review = review_token(&connection, "nonsense", &["pilotage".to_owned()]).await?;
    assert!(matches!(review, Review::Bad(_)), "{review:?}");

    let written = || async {
        let patched = used(&audit).into_iter().filter(|(_, resource, _)| resource.ends_with("/status"));
        let renewed =
            used(&audit).contains(&("coordination.k8s.io".into(), "leases".into(), "update".into()));
        (patched.count() == 8 && renewed).then_some(())
    };
    eventually("the status of every kind being written, and a lease renewed", written).await?;
    mesh.stop_server().await?;

    let given = given()?;
    assert!(given.len() > 10, "{given:?}");
    // The log is written a moment after the answer.
    let equal = || async { (used(&audit) == given).then_some(()) };
    let outcome = eventually("every right being used, and no other", equal).await;
    let used = used(&audit);
    outcome.with_context(|| format!("{:#?}", used.symmetric_difference(&given).collect::<Vec<_>>()))?;
    Ok(())
}
