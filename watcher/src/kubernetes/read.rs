//! One object of the API, from its JSON to what the rest of the program knows.
//!
//! The kinds that Kubernetes defines are taken by its own types: the API server has checked them, and a field that we
//! do not know is one of a newer server. The routing kinds go the way of a manifest, with every problem named.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use crate::manifest::{Format, Outcome, read_document};
use crate::resources::{Labels, Meta, WithMeta, convert};
use crate::{Code, Kind, Object, ObjectKey, Problem, Severity};

/// An annotation that repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who an object is, which every object says in one way.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) key: ObjectKey,
    /// A hash of `metadata.resourceVersion`: equal for equal content.
    pub(super) version: u64,
    created: Option<i64>,
    generation: Option<i64>,
}

/// What became of an object.
#[derive(Debug)]
pub(super) struct Reading {
    /// The object, unless it is broken.
    pub(super) object: Option<Object>,
    /// All that is wrong with it.
    pub(super) problems: Vec<Problem>,
}

#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    creation_timestamp: Option<Time>,
    #[serde(default)]
    generation: Option<i64>,
}

/// An object of which the API server sends the metadata alone.
#[derive(Deserialize)]
struct MetadataOnly {
    metadata: ObjectMeta,
}

/// Reads who an object is and the version of the list that it is of; none for what is no object at all.
pub(super) fn head(kind: Kind, json: &str) -> Option<(Head, String)> {
    let Written { metadata } = serde_json::from_str(json).ok()?;
    let head = Head {
        key: ObjectKey::new(kind, metadata.namespace, metadata.name),
        version: xxh3_64(metadata.resource_version.as_bytes()),
        created: metadata.creation_timestamp.map(|time| time.0.as_second()),
        generation: metadata.generation,
    };
    Some((head, metadata.resource_version))
}

/// Reads an object. It is told as broken where a manifest of the same content would be.
pub(super) fn read(head: &Head, json: &str) -> Reading {
    let mut reading = match head.key.kind {
        Kind::Service => built_in(head, json, convert::service, Object::Service),
        Kind::EndpointSlice => built_in(head, json, convert::endpoint_slice, Object::EndpointSlice),
        Kind::Pod => built_in(
            head,
            json,
            |pod| {
                let mut pod = convert::pod(pod);
                // Nothing asks for what is written on Pods but for their labels, and there are many Pods.
                pod.meta.annotations = Labels::new();
                (pod, Vec::new())
            },
            Object::Pod,
        ),
        Kind::Node => built_in(
            head,
            json,
            |node: MetadataOnly| (convert::node(node.metadata), Vec::new()),
            Object::Node,
        ),
        Kind::Secret => {
            let mut reading =
                built_in(head, json, |secret| (convert::secret(secret), Vec::new()), Object::Secret);
            // The reader's words may hold what it read.
            for problem in &mut reading.problems {
                "the object is not what a Secret is".clone_into(&mut problem.message);
            }
            reading
        }
        Kind::Descriptors => built_in(head, json, convert::descriptors, Object::Descriptors),
        Kind::VirtualService
        | Kind::DestinationRule
        | Kind::Gateway
        | Kind::ServiceEntry
        | Kind::WorkloadEntry
        | Kind::Sidecar
        | Kind::Telemetry
        | Kind::EnvoyResources => routing(head, json),
    };
    if reading.problems.iter().any(|problem| problem.severity == Severity::Error) {
        reading.object = None;
    }
    reading
}

fn built_in<K: DeserializeOwned, T>(
    head: &Head,
    json: &str,
    convert: impl FnOnce(K) -> (WithMeta<T>, Vec<Problem>),
    wrap: impl FnOnce(Arc<WithMeta<T>>) -> Object,
) -> Reading {
    match serde_json::from_str(json) {
        Ok(found) => {
            let (mut object, problems) = convert(found);
            object.meta.annotations.remove(LAST_APPLIED);
            Reading { object: Some(wrap(Arc::new(object))), problems }
        }
        Err(error) => Reading { object: None, problems: vec![unreadable(head, &error)] },
    }
}

fn routing(head: &Head, json: &str) -> Reading {
    let found = read_document(json, Format::Json);
    let mut problems = found.problems;
    for problem in &mut problems {
        // A place in the server's JSON is of no use to anyone; the field's path is.
        problem.position = None;
        problem.object.get_or_insert_with(|| head.key.clone());
    }
    let served = found.items.into_iter().next().map(|item| item.outcome);
    let object = match served {
        Some(Outcome::Served(objects)) => objects.into_iter().next().map(|object| aged(head, object)),
        _ => None,
    };
    Reading { object, problems }
}

/// The same object with the age that the API server gives it, which decides between objects.
fn aged(head: &Head, mut object: Object) -> Object {
    fn set<T: Clone>(head: &Head, object: &mut Arc<WithMeta<T>>) {
        let meta: &mut Meta = &mut Arc::make_mut(object).meta;
        meta.created = head.created;
        meta.generation = head.generation;
        meta.annotations.remove(LAST_APPLIED);
    }
    match &mut object {
        Object::Service(object) => set(head, object),
        Object::EndpointSlice(object) => set(head, object),
        Object::Pod(object) => set(head, object),
        Object::Node(object) => set(head, object),
        Object::VirtualService(object) => set(head, object),
        Object::DestinationRule(object) => set(head, object),
        Object::Gateway(object) => set(head, object),
        Object::ServiceEntry(object) => set(head, object),
        Object::WorkloadEntry(object) => set(head, object),
        Object::Sidecar(object) => set(head, object),
        Object::Telemetry(object) => set(head, object),
        Object::EnvoyResources(object) => set(head, object),
        Object::Secret(object) => set(head, object),
        Object::Descriptors(object) => set(head, object),
    }
    object
}

fn unreadable(head: &Head, error: &serde_json::Error) -> Problem {
    let message = error.to_string();
    let reason = message.split(" at line ").next().unwrap_or_default();
    Problem::new(Code::WrongType, format!("the object cannot be read: {reason}"))
        .hint("Pilotage may be too old for this API server")
        .on(head.key.clone(), "")
}

#[cfg(test)]
mod tests;
