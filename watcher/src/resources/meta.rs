//! The metadata that matters of any object.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Labels or annotations.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// Who an object is, and what is written on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The namespace; `default` where a manifest names none.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
    /// The API version as written, such as `networking.istio.io/v1`.
    pub api_version: Arc<str>,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: Labels,
    /// Creation time in seconds since 1970; none in a folder, where nothing has an age.
    pub created: Option<i64>,
    /// `metadata.generation`, where the API server gives one.
    pub generation: Option<i64>,
}

/// An object: its metadata and its content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WithMeta<T> {
    /// Who it is.
    pub meta: Meta,
    /// What it says.
    pub spec: T,
}

impl<T> WithMeta<T> {
    /// The order of precedence between objects that claim the same thing: age, then namespace, then name.
    pub fn precedence(&self) -> (i64, &str, &str) {
        (self.meta.created.unwrap_or(0), &self.meta.namespace, &self.meta.name)
    }
}
