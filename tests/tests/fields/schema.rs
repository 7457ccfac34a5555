//! The fields of the published schemas: every leaf of every version's `spec`, as a path without indices.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use serde_json::Value;

/// The kinds that are served, of those that Istio publishes.
const SERVED: &[&str] = &[
    "DestinationRule",
    "Gateway",
    "ServiceEntry",
    "Sidecar",
    "Telemetry",
    "VirtualService",
    "WorkloadEntry",
];

/// Kubernetes' own kinds: where the API server publishes each, under which name, and whether its fields are in `spec`.
pub(crate) const NATIVE: &[(&str, &str, &str)] = &[
    ("Service", "api/v1", "io.k8s.api.core.v1.ServiceSpec"),
    ("EndpointSlice", "apis/discovery.k8s.io/v1", "io.k8s.api.discovery.v1.EndpointSlice"),
];

/// What every object has.
const OF_ANY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A field of a kind, such as `http.match.headers.*.exact` of a VirtualService.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path {
    pub(crate) kind: String,
    pub(crate) path: String,
}

impl Path {
    /// The field and what it is directly part of.
    pub(crate) fn message(&self) -> String {
        let mut parts: Vec<&str> = self.path.rsplit('.').take(2).collect();
        parts.reverse();
        parts.join(".")
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.path)
    }
}

/// What a value may look like.
#[derive(Clone, Debug)]
enum Shape {
    Object(BTreeMap<String, Self>),
    Map(Box<Self>),
    List(Box<Self>),
    Leaf(BTreeSet<String>),
}

/// The shapes of the kinds that are served.
#[derive(Debug)]
pub(crate) struct Kinds(BTreeMap<String, Shape>);

/// A value of an object: the field that it is of, and where it stands as problems say it.
pub(crate) struct Occurrence {
    pub(crate) field: String,
    pub(crate) place: String,
    /// The keys and indices that lead to it.
    pub(crate) steps: Vec<Step>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

impl Kinds {
    pub(crate) fn parse(crds: &str) -> Result<Self> {
        let documents =
            serde_saphyr::from_multiple::<Value>(crds).map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut kinds: BTreeMap<String, Shape> = BTreeMap::new();
        for document in documents {
            let kind = document["spec"]["names"]["kind"].as_str().unwrap_or_default().to_owned();
            if !SERVED.contains(&kind.as_str()) {
                continue;
            }
            for version in document["spec"]["versions"].as_array().context("versions")? {
                let shape = shape(&version["schema"]["openAPIV3Schema"]["properties"]["spec"]);
                match kinds.get_mut(&kind) {
                    Some(known) => merge(known, shape),
                    None => drop(kinds.insert(kind.clone(), shape)),
                }
            }
        }
        anyhow::ensure!(kinds.len() == SERVED.len(), "the schemas have {:?}", kinds.keys());
        Ok(Self(kinds))
    }

    /// Adds one of Kubernetes' own kinds, out of what the API server publishes.
    pub(crate) fn add(&mut self, kind: &str, name: &str, published: &Value) -> Result<()> {
        let schemas = &published["components"]["schemas"];
        let mut shape = shape(&resolved(&schemas[name], schemas));
        let Shape::Object(fields) = &mut shape else { anyhow::bail!("{name} is published with no fields") };
        fields.retain(|name, _| !OF_ANY_OBJECT.contains(&name.as_str()));
        self.0.insert(kind.to_owned(), shape);
        Ok(())
    }

    /// Every leaf.
    pub(crate) fn fields(&self) -> BTreeSet<Path> {
        self.leaves().map(|(path, _)| path).collect()
    }

    /// Every value of every enumeration.
    pub(crate) fn choices(&self) -> Vec<(Path, String)> {
        self.leaves()
            .flat_map(|(path, choices)| choices.into_iter().map(move |choice| (path.clone(), choice)))
            .collect()
    }

    fn leaves(&self) -> impl Iterator<Item = (Path, BTreeSet<String>)> {
        self.0.iter().flat_map(|(kind, shape)| {
            let mut found = Vec::new();
            leaves(shape, String::new(), &mut found);
            found.into_iter().map(|(path, choices)| (Path { kind: kind.clone(), path }, choices))
        })
    }

    /// Every value of an object's `spec`, those within others too.
    pub(crate) fn occurrences(&self, object: &Value) -> Vec<Occurrence> {
        let mut found = Vec::new();
        let Some(kind) = object["kind"].as_str() else { return found };
        if let Some(shape) = self.0.get(kind) {
            if kind == "EndpointSlice" {
                occurrences(shape, object, "", "", &[], &mut found);
            } else {
                occurrences(shape, &object["spec"], "", "spec", &[Step::Key("spec".to_owned())], &mut found);
            }
        }
        found
    }
}

/// A schema with what it refers to in its place.
fn resolved(schema: &Value, schemas: &Value) -> Value {
    let all = schema["allOf"].as_array().and_then(|all| all.first()).unwrap_or(schema);
    if let Some(name) = all["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return resolved(&schemas[name], schemas);
    }
    match schema {
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(key, value)| (key.clone(), resolved(value, schemas))).collect())
        }
        other => other.clone(),
    }
}

fn shape(schema: &Value) -> Shape {
    if let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) {
        return Shape::Object(
            properties.iter().map(|(name, schema)| (name.clone(), shape(schema))).collect(),
        );
    }
    if schema["items"].is_object() {
        return Shape::List(Box::new(shape(&schema["items"])));
    }
    if schema["additionalProperties"].is_object() {
        return Shape::Map(Box::new(shape(&schema["additionalProperties"])));
    }
    let choices = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // Kubernetes lists what is the same as nothing.
    let choices = choices.filter(|choice| !choice.is_empty());
    Shape::Leaf(choices.map(str::to_owned).collect())
}

fn merge(known: &mut Shape, other: Shape) {
    match (known, other) {
        (Shape::Object(known), Shape::Object(other)) => {
            for (name, shape) in other {
                match known.get_mut(&name) {
                    Some(known) => merge(known, shape),
                    None => drop(known.insert(name, shape)),
                }
            }
        }
        (Shape::List(known), Shape::List(other)) | (Shape::Map(known), Shape::Map(other)) => {
            merge(known, *other);
        }
        (Shape::Leaf(known), Shape::Leaf(other)) => known.extend(other),
        (known, other) => *known = other,
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn leaves(shape: &Shape, path: String, found: &mut Vec<(String, BTreeSet<String>)>) {
    match shape {
        Shape::Object(fields) => {
            for (name, shape) in fields {
                leaves(shape, below(&path, name), found);
            }
        }
        Shape::List(item) => leaves(item, path, found),
        Shape::Map(value) => match &**value {
            Shape::Leaf(_) => found.push((path, BTreeSet::new())),
            value => leaves(value, below(&path, "*"), found),
        },
        Shape::Leaf(choices) => found.push((path, choices.clone())),
    }
}

fn occurrences(
    shape: &Shape,
    value: &Value,
    field: &str,
    place: &str,
    steps: &[Step],
    found: &mut Vec<Occurrence>,
) {
    let steps_to = |step| [steps, &[step]].concat();
    if !field.is_empty() && !value.is_null() {
        let value = value.clone();
        found.push(Occurrence {
            field: field.to_owned(),
            place: place.to_owned(),
            steps: steps.to_vec(),
            value,
        });
    }
    match (shape, value) {
        (Shape::Object(fields), Value::Object(values)) => {
            for (name, value) in values {
                if let Some(shape) = fields.get(name) {
                    let steps = steps_to(Step::Key(name.clone()));
                    occurrences(shape, value, &below(field, name), &below(place, name), &steps, found);
                }
            }
        }
        (Shape::Map(inner), Value::Object(values)) if !matches!(&**inner, Shape::Leaf(_)) => {
            for (key, value) in values {
                let steps = steps_to(Step::Key(key.clone()));
                occurrences(inner, value, &below(field, "*"), &format!("{place}[{key:?}]"), &steps, found);
            }
        }
        (Shape::List(item), Value::Array(values)) => {
            for (index, value) in values.iter().enumerate() {
                let steps = steps_to(Step::Index(index));
                occurrences(item, value, field, &format!("{place}[{index}]"), &steps, found);
            }
        }
        _ => {}
    }
}
