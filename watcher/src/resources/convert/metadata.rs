//! Object metadata.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::resources::{Labels, Meta};

/// The metadata that matters; a namespace that is not named is `default`.
pub fn meta(api_version: &str, metadata: ObjectMeta) -> Meta {
    Meta {
        namespace: metadata.namespace.filter(|text| !text.is_empty()).as_deref().unwrap_or("default").into(),
        name: metadata.name.unwrap_or_default().into(),
        api_version: api_version.into(),
        labels: shared(metadata.labels),
        annotations: shared(metadata.annotations),
        created: metadata.creation_timestamp.map(|time| time.0.as_second()),
        generation: metadata.generation,
    }
}

pub(super) fn shared(labels: Option<std::collections::BTreeMap<String, String>>) -> Labels {
    labels.into_iter().flatten().map(|(key, value)| (Arc::from(key), Arc::from(value))).collect()
}
