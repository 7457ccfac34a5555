//! The source of a resource, as metadata: `istio.config` for the tools that know it, `pilotage` for our own.
//!
//! Only who the object is, never where it stands or how old it is: metadata is content, and a comment added above an
//! object must not drain a listener.

use std::collections::HashMap;

use pilotage_protos::envoy::core::Metadata;
use pilotage_protos::envoy::protobuf::value::Kind as Json;
use pilotage_protos::envoy::{Struct, Value};
use pilotage_watcher::{Kind, ObjectKey};

/// Metadata for what comes from an object.
pub(super) fn of_source(source: &ObjectKey) -> Metadata {
    let mut filters = HashMap::new();
    filters.insert("pilotage".to_owned(), object([("source", text(&source.to_string()))]));
    if let Some(path) = istio_path(source) {
        filters.insert("istio".to_owned(), object([("config", text(&path))]));
    }
    Metadata { filter_metadata: filters, ..Metadata::default() }
}

/// Metadata of a cluster: the host, and the DestinationRule and subset where there is one.
pub(super) fn of_cluster(source: &ObjectKey, rule: Option<&ObjectKey>, subset: &str) -> Metadata {
    let mut ours = vec![("source", text(&source.to_string()))];
    let mut istio = Vec::new();
    if let Some(rule) = rule {
        ours.push(("rule", text(&rule.to_string())));
        istio.extend(istio_path(rule).map(|path| ("config", text(&path))));
    }
    if !subset.is_empty() {
        istio.push(("subset", text(subset)));
    }
    let mut filters = HashMap::from([("pilotage".to_owned(), object(ours))]);
    if !istio.is_empty() {
        filters.insert("istio".to_owned(), object(istio));
    }
    Metadata { filter_metadata: filters, ..Metadata::default() }
}

/// The path by which `istioctl proxy-config` finds the object of a route or cluster.
fn istio_path(source: &ObjectKey) -> Option<String> {
    let kind = match source.kind {
        Kind::VirtualService => "virtual-service",
        Kind::DestinationRule => "destination-rule",
        _ => return None,
    };
    Some(format!("/apis/networking.istio.io/v1/namespaces/{}/{kind}/{}", source.namespace, source.name))
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Value)>) -> Struct {
    Struct { fields: fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Json::StringValue(text.to_owned())) }
}
