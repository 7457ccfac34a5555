//! Resources that an operator wrote in Envoy's own words: held to Envoy's API here, and told as they are.
//!
//! A field that Envoy does not have is a problem at its path, and the resource is left out; what only Envoy can judge it
//! rejects, which comes back as a problem of the same object.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use bytes::Bytes;
use pilotage_protocol::{Name, ResourceType};
use pilotage_protos::json::{JsonError, any_from_json};
use pilotage_watcher::resources::{EnvoyResources, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Problem, World};
use serde_json::Value;

use crate::report::{Place, Report};
use crate::{Group, ProxyKind, Settings};

/// A resource as it is written and as it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    json: Value,
    pub(crate) body: Bytes,
    pub(crate) source: ObjectKey,
}

/// Whether a resource may stand in the place of one that translation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Add,
    Replace,
}

/// The resources of a group by type and name, each with its place.
pub(crate) type RawResources = BTreeMap<ResourceType, Written>;

/// The resources of one type by name.
pub(crate) type Written = BTreeMap<Name, (Raw, Operation, Place)>;

/// By what is written: encoded bytes are not stable where a message holds a map.
impl PartialEq for Raw {
    fn eq(&self, other: &Self) -> bool {
        (&self.json, &self.source) == (&other.json, &other.source)
    }
}

impl Eq for Raw {}

impl Hash for Raw {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Keys are sorted, so that equal values read equal.
        self.json.to_string().hash(state);
        self.source.hash(state);
    }
}

/// The resources that are written for a group.
pub(crate) fn raw_resources(
    world: &World,
    group: &Group,
    settings: &Settings,
    report: &mut Report,
) -> RawResources {
    let mut sorted: Vec<_> =
        world.envoy_resources().filter(|object| selects(object, group, settings)).collect();
    sorted.sort_by_key(|object| object.precedence());
    let mut found = RawResources::new();
    for object in sorted {
        let meta = &object.meta;
        let source = ObjectKey::new(Kind::EnvoyResources, meta.namespace.clone(), meta.name.clone());
        let operation = match object.spec.operation.as_deref() {
            Some("Replace") => Operation::Replace,
            _ => Operation::Add,
        };
        for (index, json) in object.spec.resources.iter().enumerate() {
            let place = Place::new(source.clone(), "spec.resources").index(index);
            let Some((resource_type, name, raw)) = resource(json, &source, &place, report) else { continue };
            let of_type = found.entry(resource_type).or_default();
            if let Some((first, _, _)) = of_type.get(&name) {
                let message = format!("{} has {name:?} and comes first: this one is not used", first.source);
                let problem = place.field("name").problem(Code::DuplicateResource, message);
                report.add(problem.hint("give it another name"));
            } else {
                of_type.insert(name, (raw, operation, place));
            }
        }
    }
    found
}

/// What is wrong with where a resource is written, by whether translation makes one of its name.
pub(crate) fn misplaced(
    resource_type: &ResourceType,
    name: &Name,
    operation: Operation,
    place: &Place,
    is_meant: bool,
) -> Option<Problem> {
    match (operation, is_meant) {
        (Operation::Add, true) => {
            let message = format!("{resource_type} {name:?} is there already: this one is not used");
            let problem = place.field("name").problem(Code::DuplicateResource, message);
            Some(problem.hint("give it another name, or set operation: Replace"))
        }
        (Operation::Replace, false) => {
            let message = format!("there is no {resource_type} {name:?} to replace: it is added");
            let problem = place.field("name").problem(Code::NoEffect, message);
            Some(problem.hint("set operation: Add, or correct the name"))
        }
        (Operation::Replace, true) | (Operation::Add, false) => None,
    }
}

fn selects(object: &WithMeta<EnvoyResources>, group: &Group, settings: &Settings) -> bool {
    let proxies = &object.spec.proxies;
    let kind = match group.kind {
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted => "sidecar",
        ProxyKind::Gateway => "gateway",
        ProxyKind::Grpc => "grpc",
    };
    let here = object.meta.namespace == group.namespace || *object.meta.namespace == *settings.root_namespace;
    here && (proxies.kinds.is_empty() || proxies.kinds.iter().any(|known| known == kind))
        && group.has_labels(&proxies.labels)
}

fn resource(
    json: &Value,
    source: &ObjectKey,
    place: &Place,
    report: &mut Report,
) -> Option<(ResourceType, Name, Raw)> {
    let Value::Object(fields) = json else {
        report.add(place.problem(Code::WrongType, "a resource is a mapping with @type and its fields"));
        return None;
    };
    let Some(Value::String(type_url)) = fields.get("@type") else {
        let problem = place.problem(Code::MissingField, "the resource has no @type");
        report.add(
            problem.hint("write \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, or the like"),
        );
        return None;
    };
    let resource_type = ResourceType::from_type_url(type_url);
    if matches!(resource_type, ResourceType::Other(_)) {
        let known = ResourceType::KNOWN.map(|known| known.type_url().to_owned());
        let message = format!("{type_url} is not a type that is served by itself");
        let problem = place.field("@type").problem(Code::InvalidValue, message);
        report.add(match crate::hosts::nearest(type_url, known.iter().map(String::as_str)) {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem.hint("put it into the listener, cluster or route that uses it"),
        });
        return None;
    }
    let named_by = if resource_type == ResourceType::Endpoint { "cluster_name" } else { "name" };
    let Some(name) = fields.get(named_by).and_then(Value::as_str).filter(|name| !name.is_empty()) else {
        let problem = place.problem(Code::MissingField, format!("the resource has no {named_by}"));
        report.add(problem.hint("name it; by the name it is asked for"));
        return None;
    };
    let mut message = fields.clone();
    message.remove("@type");
    let message = Value::Object(message);
    match any_from_json(type_url, &message) {
        Ok(body) => {
            let raw = Raw { json: message, body, source: source.clone() };
            Some((resource_type, Name::from(name), raw))
        }
        Err(error) => {
            let (path, text) = match &error {
                JsonError::Json { path, source, .. } => (path.as_str(), source.to_string()),
                other => ("", other.to_string()),
            };
            let place = if path.is_empty() { place.clone() } else { place.field(path) };
            let message = format!("{text}: the resource is left out");
            let problem = place.problem(Code::InvalidResource, message);
            report.add(problem.hint("names and values are those of Envoy's documentation of the type"));
            None
        }
    }
}
