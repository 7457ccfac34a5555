//! What a field does: a golden world with the field, compared with the world without it.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use pilotage_compile::{Settings, compile};
use pilotage_tests::golden::{Header, header};
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, Code, Problem, World};
use serde_json::Value;

use crate::schema::{Kinds, Occurrence, Path as FieldPath, Step};

/// What a field does where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It changes what proxies are told, or settles a problem.
    Translated,
    /// It has a problem: its code, and its words.
    Told(Code, String),
    /// It does nothing.
    Silent,
    /// No golden world has it.
    Absent,
}

/// A golden world.
pub(crate) struct Golden {
    header: Header,
    documents: Vec<Value>,
    outcome: Outcome,
}

/// What a world comes to, for all who look at it.
#[derive(PartialEq, Eq)]
struct Outcome {
    resources: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Golden {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut documents = Vec::new();
        let text = std::fs::read_to_string(folder.join("world.yaml"))?;
        for file in ["world.yaml", "secrets.yaml"] {
            let path = folder.join(file);
            if path.is_file() {
                let found = serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(&path)?);
                documents.extend(found.map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?);
            }
        }
        documents.retain(|document| !document.is_null());
        let header = header(&text).map_err(anyhow::Error::msg)?;
        let outcome = outcome(&header, &documents).with_context(|| folder.display().to_string())?;
        Ok(Self { header, documents, outcome })
    }

    /// Whether the world has a value of an enumeration.
    pub(crate) fn has_choice(&self, field: &FieldPath, choice: &str, kinds: &Kinds) -> bool {
        self.of_field(field, kinds).any(|(_, found)| found.value.as_str() == Some(choice))
    }

    fn of_field(&self, field: &FieldPath, kinds: &Kinds) -> impl Iterator<Item = (usize, Occurrence)> {
        let of_kind = self.documents.iter().enumerate().filter(|(_, object)| object["kind"] == *field.kind);
        of_kind.flat_map(|(index, object)| {
            let found = kinds.occurrences(object).into_iter();
            found.filter(|found| found.field == field.path).map(move |found| (index, found))
        })
    }

    /// The world without a value.
    fn without(&self, index: usize, steps: &[Step]) -> Result<Outcome> {
        let mut documents = self.documents.clone();
        remove(&mut documents[index], steps);
        outcome(&self.header, &documents)
    }

    /// The problem that stands at a place of a document, or around it.
    fn problem_at(&self, index: usize, place: &str) -> Option<&Problem> {
        let object = &self.documents[index];
        self.outcome
            .problems
            .iter()
            .filter(|problem| is_of(problem, object) && covers(&problem.path, place))
            .max_by_key(|problem| problem.path.len())
    }
}

/// What a field does, wherever that shows best.
pub(crate) fn effect(field: &FieldPath, kinds: &Kinds, goldens: &[Golden]) -> Result<Effect> {
    let mut best = Effect::Absent;
    for golden in goldens {
        for (index, found) in golden.of_field(field, kinds) {
            let without = golden.without(index, &found.steps)?;
            let object = &golden.documents[index];
            // What a field settles is told of without it.
            let settled = without
                .problems
                .iter()
                .any(|problem| is_of(problem, object) && !golden.outcome.problems.contains(problem));
            if without.resources != golden.outcome.resources || settled {
                return Ok(Effect::Translated);
            }
            if let Effect::Told(..) = best {
                continue;
            }
            let gone = golden.outcome.problems.iter().find(|problem| {
                is_of(problem, object)
                    && (covers(&problem.path, &found.place) || covers(&found.place, &problem.path))
                    && !without.problems.contains(problem)
            });
            best = match gone {
                Some(problem) => Effect::Told(problem.code, problem.message.clone()),
                None => Effect::Silent,
            };
        }
    }
    Ok(best)
}

/// The problem of what a field is part of, where that says that nothing of it is served.
pub(crate) fn told_around(field: &FieldPath, kinds: &Kinds, goldens: &[Golden]) -> Option<Effect> {
    let mut path = field.path.as_str();
    loop {
        let around = FieldPath { kind: field.kind.clone(), path: path.to_owned() };
        for golden in goldens {
            for (index, found) in golden.of_field(&around, kinds) {
                if let Some(problem) = golden.problem_at(index, &found.place)
                    && problem.code == Code::NotSupported
                {
                    return Some(Effect::Told(problem.code, problem.message.clone()));
                }
            }
        }
        path = path.rsplit_once('.')?.0;
    }
}

/// The values of enumerations that have a problem where they stand, with its words.
pub(crate) fn unserved_choices(kinds: &Kinds, goldens: &[Golden]) -> Vec<(FieldPath, String, Problem)> {
    let mut found = Vec::new();
    for (field, choice) in kinds.choices() {
        let told = goldens.iter().find_map(|golden| {
            golden.of_field(&field, kinds).filter(|(_, found)| found.value == *choice).find_map(
                |(index, found)| {
                    let object = &golden.documents[index];
                    golden.outcome.problems.iter().find(|problem| {
                        problem.code == Code::NotSupported
                            && is_of(problem, object)
                            && problem.path == found.place
                    })
                },
            )
        });
        found.extend(told.map(|problem| (field, choice, problem.clone())));
    }
    found
}

fn is_of(problem: &Problem, object: &Value) -> bool {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    problem.object.as_ref().is_some_and(|key| {
        object["kind"] == format!("{:?}", key.kind)
            && object["metadata"]["name"] == *key.name
            && *key.namespace == *namespace
    })
}

/// Whether a path is another, or one above it.
fn covers(above: &str, path: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn remove(value: &mut Value, steps: &[Step]) {
    let Some((last, steps)) = steps.split_last() else { return };
    let parent = steps.iter().try_fold(value, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    });
    match (parent, last) {
        (Some(Value::Object(fields)), Step::Key(key)) => drop(fields.remove(key)),
        (Some(Value::Array(items)), Step::Index(index)) => drop(items.remove(*index)),
        _ => {}
    }
}

fn outcome(header: &Header, documents: &[Value]) -> Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let text: Vec<String> = documents.iter().map(ToString::to_string).collect();
    std::fs::write(folder.path().join("world.yaml"), text.join("\n---\n"))?;
    let mut world = World::default();
    let mut problems: Vec<Problem> = Vec::new();
    for change in read_directory(folder.path())?.changes {
        match change {
            Change::Apply(object) => drop(world.apply(object)),
            Change::Problems { problems: found, .. } => problems.extend(found),
            Change::Delete(_) | Change::Synced(_) => {}
        }
    }
    world.set_time(header.time);
    let mut resources = BTreeSet::new();
    for viewer in &header.viewers {
        let compiled = compile(&world, &viewer.group, &Settings::default(), &viewer.asked, None);
        for (resource_type, collection) in compiled.snapshot().iter() {
            resources.extend(collection.iter().map(|resource| {
                format!("{} {resource_type} {} {}", viewer.name, resource.name(), resource.version())
            }));
        }
        problems.extend(compiled.problems().cloned());
    }
    // Where in a file it stands is not what is compared.
    problems.iter_mut().for_each(|problem| problem.position = None);
    Ok(Outcome { resources, problems })
}
