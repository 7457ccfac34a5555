//! A cluster in which Pilotage is installed as the manifests that are shipped do it: its kinds, its role, its account.

use anyhow::{Context, Result};
use kube::Client;
use serde_json::json;

use super::{
    Audit, ControlPlane, Identity, Namespace, OUR_CRDS, apply, apply_cluster, create_crds, istio_crds, token,
};

/// The role that is shipped, with its account and namespace.
pub const ROLE: &str = include_str!("../../../deploy/kubernetes/base/rbac.yaml");

/// A cluster with the kinds that are read and the role that is shipped, whose API server keeps a log; and the namespace
/// `demo`, where [`Proxy`](crate::Proxy)s live.
pub struct Installation {
    /// The cluster.
    pub cluster: ControlPlane,
    /// What its API server is asked for.
    pub audit: Audit,
    /// Its administrator.
    pub client: Client,
}

impl Installation {
    /// Starts one.
    ///
    /// # Errors
    /// As of [`ControlPlane::start`]; or what is to be installed is refused.
    pub async fn start() -> Result<Self> {
        let (cluster, audit) = Audit::start(&[]).await?;
        let client = cluster.client(Identity::Administrator).await?;
        create_crds(&client, &istio_crds().await?).await?;
        create_crds(&client, OUR_CRDS).await?;
        apply_cluster(&client, ROLE).await?;
        Namespace::ensure(&client, "demo").await?;
        Ok(Self { cluster, audit, client })
    }

    /// The path of a kubeconfig file with a token of the account that the manifests give Pilotage.
    ///
    /// # Errors
    /// There is no token, or the file cannot be written.
    pub async fn kubeconfig(&self) -> Result<String> {
        let token = token(&self.client, "pilotage-system", "pilotage", &json!({})).await?;
        let path = self.cluster.kubeconfig_with(&token)?;
        Ok(path.to_str().context("a path that is text")?.to_owned())
    }

    /// A Pod of the namespace `demo` with these labels (a YAML mapping), and a token that is bound to it, for `audience`.
    ///
    /// # Errors
    /// One of them is refused.
    pub async fn pod_token(&self, pod: &str, labels: &str, audience: &str) -> Result<String> {
        let manifest = format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: web}}\n---\napiVersion: v1\nkind: Pod\nmetadata: \
             {{name: {pod}, labels: {labels}}}\nspec: {{serviceAccountName: web, containers: [{{name: a, image: a}}]}}\n"
        );
        let applied = apply(&self.client, "demo", &manifest).await?;
        let uid = applied[1].metadata.uid.clone().context("a uid")?;
        let bound = json!({"kind": "Pod", "apiVersion": "v1", "name": pod, "uid": uid});
        token(&self.client, "demo", "web", &json!({"audiences": [audience], "boundObjectRef": bound})).await
    }
}
