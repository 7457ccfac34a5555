//! The published schemas: of the routing kinds as a cluster with Istio's CRDs has them, of Kubernetes' own as its API
//! server says them.

use std::path::Path;

use anyhow::{Context, Result};
use pilotage::tools::Cache;
use serde_json::Value;

use super::toolchain::{go, modules, run};
use super::{ControlPlane, Identity};

/// The CustomResourceDefinitions that are shipped.
pub const OUR_CRDS: &str = include_str!("../../../deploy/kubernetes/crds.yaml");

/// The CustomResourceDefinitions of `istio.io/api`, fetched through the Go module proxy and checked by `go.sum`.
///
/// # Errors
/// The module cannot be fetched, or is not what was expected.
pub async fn istio_crds() -> Result<String> {
    let cache = Cache::from_env()?;
    let go = go(&cache).await?;
    let told = run(&go, &modules("schemas"), &["mod", "download", "-json", "istio.io/api"]).await?;
    let told: Value = serde_json::from_str(&told).context("go mod download -json")?;
    let folder = told["Dir"].as_str().context("go mod download names no folder")?;
    let path = Path::new(folder).join("kubernetes/customresourcedefinitions.gen.yaml");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The schemas of an API group and version, such as `api/v1` or `apis/discovery.k8s.io/v1`, as an OpenAPI document.
///
/// # Errors
/// The API server does not know the group.
pub async fn openapi(control_plane: &ControlPlane, group_version: &str) -> Result<Value> {
    let client = control_plane.client(Identity::Administrator).await?;
    let path = format!("/openapi/v3/{group_version}");
    let request = http::Request::get(&path).body(Vec::new())?;
    client.request(request).await.with_context(|| path)
}
