//! What tests do through the API: namespaces of their own, manifests applied, CRDs put in place.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::{Api, Client, Config, ResourceExt};
use serde_json::{Value, json};

use crate::eventually;

/// An object of any kind.
pub type AnyObject = DynamicObject;

/// Who the API server is told has written a field.
const FIELD_MANAGER: &str = "test";

/// A namespace that a test has for itself.
#[derive(Clone, Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// A new namespace whose name begins with `prefix`.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn create(client: &Client, prefix: &str) -> Result<Self> {
        let metadata = ObjectMeta { generate_name: Some(format!("{prefix}-")), ..ObjectMeta::default() };
        let namespace = v1::Namespace { metadata, ..v1::Namespace::default() };
        let created = Api::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        Ok(Self { name: created.name_any() })
    }

    /// The namespace `name`, made if it is not there.
    ///
    /// # Errors
    /// The API server refuses it.
    pub async fn ensure(client: &Client, name: &str) -> Result<Self> {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let namespace = v1::Namespace { metadata, ..v1::Namespace::default() };
        let parameters = PatchParams::apply(FIELD_MANAGER);
        let namespaces: Api<v1::Namespace> = Api::all(client.clone());
        namespaces.patch(name, &parameters, &Patch::Apply(namespace)).await?;
        Ok(Self { name: name.to_owned() })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The API of a kind, by its `apiVersion` and `kind`, in a namespace or, without one, in the whole cluster.
///
/// # Errors
/// The `apiVersion` is none.
pub fn resource(
    client: &Client,
    api_version: &str,
    kind: &str,
    namespace: Option<&str>,
) -> Result<Api<AnyObject>> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    ensure!(!version.is_empty() && !kind.is_empty(), "{api_version:?} {kind:?} is no kind");
    let kind = GroupVersionKind::gvk(group, version, kind);
    let resource = match &*kind.kind {
        // It is a plural already.
        "EnvoyResources" => ApiResource::from_gvk_with_plural(&kind, "envoyresources"),
        _ => ApiResource::from_gvk(&kind),
    };
    Ok(match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}

/// Applies every object of some manifests, as `kubectl apply --server-side` does; those that name no namespace go into
/// `namespace`.
///
/// # Errors
/// An object is refused; the error names it.
pub async fn apply(client: &Client, namespace: &str, manifests: &str) -> Result<Vec<AnyObject>> {
    let mut applied = Vec::new();
    for document in
        serde_saphyr::from_multiple::<Value>(manifests).map_err(|error| anyhow::anyhow!("{error}"))?
    {
        if document.is_null() {
            continue;
        }
        applied.push(apply_object(client, Some(namespace), &document).await?);
    }
    Ok(applied)
}

/// Applies every object of some manifests that name their namespaces themselves, or have none.
///
/// # Errors
/// An object is refused; the error names it.
pub async fn apply_cluster(client: &Client, manifests: &str) -> Result<()> {
    for document in
        serde_saphyr::from_multiple::<Value>(manifests).map_err(|error| anyhow::anyhow!("{error}"))?
    {
        apply_object(client, None, &document).await?;
    }
    Ok(())
}

/// Applies one object; one that names no namespace goes into `namespace`, or is of the whole cluster where that is none.
///
/// # Errors
/// It is refused; the error names it.
pub async fn apply_object(client: &Client, namespace: Option<&str>, object: &Value) -> Result<AnyObject> {
    let kind = object["kind"].as_str().context("an object without a kind")?;
    let name = object["metadata"]["name"].as_str().with_context(|| format!("a {kind} without a name"))?;
    let api_version =
        object["apiVersion"].as_str().with_context(|| format!("{kind} {name} has no apiVersion"))?;
    let namespace = object["metadata"]["namespace"].as_str().or(namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    let api = resource(client, api_version, kind, namespace)?;
    let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
    applied.with_context(|| format!("{kind} {}/{name}", namespace.unwrap_or_default()))
}

/// The kinds that are read, by the groups that define them.
const READ: [(&str, &[&str]); 3] = [
    (
        "networking.istio.io",
        &["VirtualService", "DestinationRule", "Gateway", "ServiceEntry", "WorkloadEntry", "Sidecar"],
    ),
    ("telemetry.istio.io", &["Telemetry"]),
    ("pilotage.dev", &["EnvoyResources"]),
];

/// Puts those CustomResourceDefinitions of some manifests in place that are of kinds that are read and that are not
/// there yet, and waits until they are served.
///
/// # Errors
/// One is refused, or not served in time.
pub async fn create_crds(client: &Client, manifests: &str) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let documents = serde_saphyr::from_multiple::<CustomResourceDefinition>(manifests);
    let mut names = Vec::new();
    for crd in documents.map_err(|error| anyhow::anyhow!("{error}"))? {
        let (group, kind) = (&*crd.spec.group, &*crd.spec.names.kind);
        let is_read = READ.iter().any(|(known, kinds)| *known == group && kinds.contains(&kind));
        if is_read && crds.get_opt(&crd.name_any()).await?.is_none() {
            crds.create(&PostParams::default(), &crd).await.with_context(|| crd.name_any())?;
            names.push(crd.name_any());
        }
    }
    for name in names {
        let established = || async {
            let conditions = crds.get(&name).await.ok()?.status?.conditions?;
            conditions.iter().any(|it| it.type_ == "Established" && it.status == "True").then_some(())
        };
        eventually(&format!("{name} being served"), established).await?;
    }
    Ok(())
}

/// Deletes a CustomResourceDefinition with all objects of its kind, and waits until it is gone.
///
/// # Errors
/// It is not there, or not gone in time.
pub async fn delete_crd(client: &Client, name: &str) -> Result<()> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    crds.delete(name, &DeleteParams::default()).await?;
    eventually(&format!("{name} being gone"), || async {
        crds.get_opt(name).await.ok()?.is_none().then_some(())
    })
    .await
}

/// A token of a service account, as a Pod has one mounted; `spec` is that of the TokenRequest.
///
/// # Errors
/// There is no such service account, or the request is refused.
pub async fn token(client: &Client, namespace: &str, account: &str, spec: &Value) -> Result<String> {
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let request = http::Request::post(path).header("content-type", "application/json");
    let answer: Value = client.request(request.body(serde_json::to_vec(&body)?)?).await?;
    Ok(answer["status"]["token"].as_str().context("a token")?.to_owned())
}

/// Whether the API server has made what it makes by itself, after which addresses can be given to Services.
pub(super) async fn has_default_service(client: &Client) -> bool {
    let services: Api<v1::Service> = Api::namespaced(client.clone(), "default");
    services.get_opt("kubernetes").await.is_ok_and(|service| service.is_some())
}

/// The answer to a JSON body that is posted to a plain HTTP server.
pub(super) async fn post(server: &str, path: &str, body: &Value) -> Result<Value> {
    let client = Client::try_from(Config::new(server.parse()?))?;
    let request = http::Request::post(path).header("content-type", "application/json");
    Ok(client.request(request.body(serde_json::to_vec(body)?)?).await?)
}
