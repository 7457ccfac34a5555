//! A document to objects: who it is, whether its kind is read, its typed value, and all that is wrong with it.
//!
//! An object with an error is not served: it is [`Outcome::Rejected`] as an API server would reject it, and the source
//! keeps its last good version. Positions count lines from the start of the document; [`super::read`] shifts them.

use std::sync::Arc;

use k8s_openapi::api::core;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::decode::decode;
use super::flat::Flat;
use super::group::{self, Form, Recognized};
use super::node::{Mark, Node, Value};
use super::path::locate;
use super::secret;
use super::{Format, json, yaml};
use crate::resources::{WithMeta, convert};
use crate::validation::{self, Validate};
use crate::{Code, Kind, Object, ObjectKey, Position, Problem, Severity};

/// What one document says.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) items: Vec<Item>,
    /// With lines relative to the document, and no file yet.
    pub(crate) problems: Vec<Problem>,
}

/// One object of a document; a `List` has several.
#[derive(Debug)]
pub(crate) struct Item {
    /// The path of the object within the document, such as `items[3]`; empty where it is the document.
    pub(crate) at: Arc<str>,
    pub(crate) outcome: Outcome,
}

/// What became of an object.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is served; an Endpoints object makes a slice for each of its subsets.
    Served(Vec<Object>),
    /// It is broken, and this is who it is.
    Rejected(ObjectKey),
    /// It is broken so that nobody can say who it is.
    Unidentified,
    /// It is of a kind that is not read.
    PassedOver(Arc<str>),
}

/// Reads one document.
pub(crate) fn read_document(text: &str, format: Format) -> Reading {
    let mut reading = Reading::default();
    let parsed = match format {
        Format::Yaml => yaml::parse(text),
        // Descriptors are no text; whoever brings their bytes here is told that they are no JSON.
        Format::Json | Format::Descriptors => json::parse(text),
    };
    let flat = || if format == Format::Yaml { Flat::detect(text) } else { None };
    match parsed {
        Ok(root) => match if lost_its_parts(&root) { flat() } else { None } {
            Some(flat) => reading.flat(&flat),
            None => reading.object(&root, String::new(), None),
        },
        Err(refusal) => match flat() {
            Some(flat) => reading.flat(&flat),
            None => {
                let (mark, problem) = *refusal;
                reading.problem(mark, problem);
                reading.item("", Outcome::Unidentified);
            }
        },
    }
    reading
}

/// The tree of a document, for finding places in it.
pub(crate) fn tree(text: &str, format: Format) -> Option<Node> {
    match format {
        Format::Yaml => yaml::parse(text).ok(),
        Format::Json => json::parse(text).ok(),
        Format::Descriptors => None,
    }
}

/// Whether a mapping that should hold the rest is empty.
fn lost_its_parts(root: &Node) -> bool {
    ["metadata", "spec"].iter().any(|key| root.get(key).is_some_and(|node| node.value == Value::Null))
}

/// The form in which the kinds with a `spec` are written.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written<T> {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: ObjectMeta,
    spec: T,
    #[serde(rename = "status")]
    _status: IgnoredAny,
}

impl Reading {
    fn item(&mut self, at: &str, outcome: Outcome) {
        self.items.push(Item { at: at.into(), outcome });
    }

    fn problem(&mut self, mark: Mark, problem: Problem) {
        let position = Position { file: Arc::default(), line: mark.line, column: mark.column };
        self.problems.push(problem.at(position));
    }

    fn flat(&mut self, flat: &Flat<'_>) {
        let form = flat.value("kind").and_then(group::form_of);
        let key = form.zip(flat.value("name")).map(|(form, name)| key(form, flat.value("namespace"), name));
        for (mark, mut problem) in flat.problems() {
            problem.object.clone_from(&key);
            self.problem(mark, problem);
        }
        self.item("", key.map_or(Outcome::Unidentified, Outcome::Rejected));
    }

    /// Reads an object that stands at `at` in its document; the elements of a typed list need not repeat what the list says.
    fn object(&mut self, node: &Node, at: String, list: Option<(&str, &str)>) {
        let text = |field: &str| node.get(field).and_then(Node::as_str);
        let (kind, api_version) = match list {
            Some((version, kind)) => (text("kind").or(Some(kind)), text("apiVersion").or(Some(version))),
            None => (text("kind"), text("apiVersion")),
        };
        let (Some(kind), Some(api_version)) = (kind, api_version) else {
            let (mark, problem) = not_an_object(node, kind);
            self.problem(mark, problem);
            return self.item(&at, unrecognized(node, kind));
        };
        if let Some(element) = kind.strip_suffix("List")
            && let Some(Value::List(items)) = node.get("items").map(|items| &items.value)
        {
            let inherited = (!element.is_empty()).then_some((api_version, element));
            for (index, item) in items.iter().enumerate() {
                let at =
                    if at.is_empty() { format!("items[{index}]") } else { format!("{at}.items[{index}]") };
                self.object(item, at, inherited);
            }
            return;
        }
        match group::recognize(api_version, kind) {
            Recognized::PassedOver => self.item(&at, Outcome::PassedOver(kind.into())),
            Recognized::NotServed(problem) => {
                self.problem(locate(node, "kind"), problem);
                self.item(&at, Outcome::PassedOver(kind.into()));
            }
            Recognized::Mistaken(field, problem) => {
                let outcome = unrecognized(node, Some(kind));
                let mut problem = problem;
                field.clone_into(&mut problem.path);
                if let Outcome::Rejected(key) = &outcome {
                    problem.object = Some(key.clone());
                }
                self.problem(locate(node, field), problem);
                self.item(&at, outcome);
            }
            // ConfigMaps may hold anything: those that hold descriptors are marked.
            Recognized::Form(Form::ConfigMap) if !is_marked(node) => {
                self.item(&at, Outcome::PassedOver(kind.into()));
            }
            Recognized::Form(form) => {
                let outcome = self.typed(node, form, api_version);
                self.item(&at, outcome);
            }
        }
    }

    fn typed(&mut self, node: &Node, form: Form, api_version: &str) -> Outcome {
        let Some(name) = name_of(node) else {
            let (mark, problem) = no_name(node);
            self.problem(mark, problem);
            return Outcome::Unidentified;
        };
        let key = key(form, namespace_of(node), name);
        let before = self.problems.len();
        let read = match form {
            Form::Service => {
                self.kubernetes(node, &key, |service| one(convert::service(service), Object::Service))
            }
            Form::Endpoints => self.kubernetes(node, &key, |found| {
                let (slices, problems) = convert::endpoints(found);
                (
                    slices.into_iter().map(|slice| Object::EndpointSlice(Arc::new(unaged(slice)))).collect(),
                    problems,
                )
            }),
            Form::EndpointSlice => self
                .kubernetes(node, &key, |slice| one(convert::endpoint_slice(slice), Object::EndpointSlice)),
            Form::Pod => self.kubernetes(node, &key, |pod: core::v1::Pod| {
                one((convert::pod(pod), Vec::new()), Object::Pod)
            }),
            Form::Node => self.kubernetes(node, &key, |node: core::v1::Node| {
                one((convert::node(node.metadata), Vec::new()), Object::Node)
            }),
            Form::ConfigMap => {
                self.kubernetes(node, &key, |found| one(convert::descriptors(found), Object::Descriptors))
            }
            Form::VirtualService => self.routing(node, &key, api_version, Object::VirtualService),
            Form::DestinationRule => self.routing(node, &key, api_version, Object::DestinationRule),
            Form::Gateway => self.routing(node, &key, api_version, Object::Gateway),
            Form::ServiceEntry => self.routing(node, &key, api_version, Object::ServiceEntry),
            Form::WorkloadEntry => self.routing(node, &key, api_version, Object::WorkloadEntry),
            Form::Sidecar => self.routing(node, &key, api_version, Object::Sidecar),
            Form::Telemetry => self.routing(node, &key, api_version, Object::Telemetry),
            Form::EnvoyResources => self.routing(node, &key, api_version, Object::EnvoyResources),
            Form::Secret => self.secret(node, &key),
        };
        for problem in validation::names(&key) {
            self.problem(locate(node, &problem.path), problem);
        }
        let failed = self.problems[before..].iter().any(|problem| problem.severity == Severity::Error);
        match read {
            Some(objects) if !failed => Outcome::Served(objects),
            _ => Outcome::Rejected(key),
        }
    }

    fn kubernetes<T: DeserializeOwned>(
        &mut self,
        node: &Node,
        key: &ObjectKey,
        convert: impl FnOnce(T) -> (Vec<Object>, Vec<Problem>),
    ) -> Option<Vec<Object>> {
        let before = self.problems.len();
        let (objects, problems) = convert(self.decoded(node, key)?);
        self.checked(node, key, before, problems);
        Some(objects)
    }

    fn routing<T: DeserializeOwned + Default + Validate>(
        &mut self,
        node: &Node,
        key: &ObjectKey,
        api_version: &str,
        wrap: impl FnOnce(Arc<WithMeta<T>>) -> Object,
    ) -> Option<Vec<Object>> {
        let before = self.problems.len();
        let written: Written<T> = self.decoded(node, key)?;
        if node.get("spec").is_none_or(|spec| spec.value == Value::Null) {
            let problem =
                Problem::new(Code::MissingField, "the object says nothing: `spec` is missing or empty");
            self.problem(locate(node, "spec"), problem.on(key.clone(), "spec"));
            return None;
        }
        self.checked(node, key, before, written.spec.validate());
        let meta = convert::meta(api_version, written.metadata);
        Some(vec![wrap(Arc::new(unaged(WithMeta { meta, spec: written.spec })))])
    }

    fn secret(&mut self, node: &Node, key: &ObjectKey) -> Option<Vec<Object>> {
        let before = self.problems.len();
        let written: secret::Written = self.decoded(node, key)?;
        let (entries, problems) = secret::entries(node);
        self.checked(node, key, before, problems);
        Some(vec![Object::Secret(Arc::new(unaged(WithMeta {
            meta: convert::meta("v1", ObjectMeta { annotations: None, ..written.metadata }),
            spec: convert::of_entries(entries),
        })))])
    }

    /// Takes in what checks of the values found, but for what follows from a field that could not be read: it stood at
    /// its default, and an element of a list was not there at all. `before` is how many problems there were before the
    /// object was read.
    fn checked(&mut self, node: &Node, key: &ObjectKey, before: usize, found: Vec<Problem>) {
        let failed = self.problems[before..].iter().filter(|problem| problem.severity == Severity::Error);
        let failed: Vec<_> = failed.map(|problem| problem.path.clone()).collect();
        let follows = |path: &str| {
            failed
                .iter()
                .any(|field| field.ends_with(']') || field.starts_with(path) || path.starts_with(&**field))
        };
        for mut problem in found.into_iter().filter(|problem| !follows(&problem.path)) {
            problem.object = Some(key.clone());
            self.problem(locate(node, &problem.path), problem);
        }
    }

    fn decoded<T: DeserializeOwned>(&mut self, node: &Node, key: &ObjectKey) -> Option<T> {
        let (value, problems) = decode(node);
        for (mark, mut problem) in problems {
            problem.object = Some(key.clone());
            self.problem(mark, problem);
        }
        value
    }
}

/// Who a document would be, going by its kind and name alone.
fn unrecognized(node: &Node, kind: Option<&str>) -> Outcome {
    match kind.and_then(group::form_of).zip(name_of(node)) {
        Some((form, name)) => Outcome::Rejected(key(form, namespace_of(node), name)),
        None => Outcome::Unidentified,
    }
}

fn one<T>(
    (object, problems): (WithMeta<T>, Vec<Problem>),
    wrap: impl FnOnce(Arc<WithMeta<T>>) -> Object,
) -> (Vec<Object>, Vec<Problem>) {
    (vec![wrap(Arc::new(unaged(object)))], problems)
}

/// In a folder nothing has an age: a time copied from a cluster must not decide who wins.
fn unaged<T>(mut object: WithMeta<T>) -> WithMeta<T> {
    object.meta.created = None;
    object.meta.generation = None;
    object
}

fn name_of(node: &Node) -> Option<&str> {
    node.get("metadata")?.get("name")?.as_str().filter(|name| !name.is_empty())
}

/// Whether a ConfigMap says that it holds descriptors.
fn is_marked(node: &Node) -> bool {
    let (key, value) = convert::DESCRIPTORS;
    let labels = node.get("metadata").and_then(|metadata| metadata.get("labels"));
    labels.and_then(|labels| labels.get(key)).and_then(Node::as_str) == Some(value)
}

fn namespace_of(node: &Node) -> Option<&str> {
    node.get("metadata")?.get("namespace")?.as_str()
}

fn key(form: Form, namespace: Option<&str>, name: &str) -> ObjectKey {
    let namespace = namespace.filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    let kind = match form {
        Form::Service => Kind::Service,
        Form::Endpoints => return convert::mirrored_key(namespace, name, 0),
        Form::EndpointSlice => Kind::EndpointSlice,
        Form::Pod => Kind::Pod,
        Form::Node => return ObjectKey::new(Kind::Node, "", name),
        Form::ConfigMap => Kind::Descriptors,
        Form::VirtualService => Kind::VirtualService,
        Form::DestinationRule => Kind::DestinationRule,
        Form::Gateway => Kind::Gateway,
        Form::ServiceEntry => Kind::ServiceEntry,
        Form::WorkloadEntry => Kind::WorkloadEntry,
        Form::Sidecar => Kind::Sidecar,
        Form::Telemetry => Kind::Telemetry,
        Form::EnvoyResources => Kind::EnvoyResources,
        Form::Secret => Kind::Secret,
    };
    ObjectKey::new(kind, namespace, name)
}

fn no_name(node: &Node) -> (Mark, Problem) {
    let written = node.get("metadata").and_then(|metadata| metadata.get("name"));
    let (message, hint) = match written.filter(|name| name.value != Value::Null) {
        Some(name) => (format!("the name must be a string; this is {}", name.value), "put it in quotes"),
        None => ("the object has no name".to_owned(), "write `metadata.name`"),
    };
    (locate(node, "metadata.name"), Problem::new(Code::NotAnObject, message).hint(hint))
}

fn not_an_object(node: &Node, kind: Option<&str>) -> (Mark, Problem) {
    let Value::Mapping(_) = node.value else {
        let message = format!("a manifest is a mapping with `apiVersion` and `kind`; this is {}", node.value);
        return (node.mark, Problem::new(Code::NotAnObject, message));
    };
    let missing = if kind.is_none() { "kind" } else { "apiVersion" };
    let (mark, message) = match node.entry(missing) {
        Some((key, value)) => (key.mark, format!("`{missing}` must be a string; this is {}", value.value)),
        None => (node.mark, format!("the document has no `{missing}`")),
    };
    let problem = Problem::new(Code::NotAnObject, message);
    let problem = match kind.and_then(group::api_version_of) {
        Some(version) => problem.hint(format!("write `apiVersion: {version}`")),
        None => problem.hint("keep files that are no manifests outside of the folder"),
    };
    (mark, problem)
}
