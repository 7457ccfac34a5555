//! One file of a folder: what it says now, and what it keeps from when it was last good.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::scan::{Content, Stamp, beginning};
use crate::manifest::{self, Document, Format, Outcome};
use crate::position::Anchor;
use crate::resources::{Descriptors, Meta, WithMeta};
use crate::{Code, Kind, Object, ObjectKey, Problem};

/// Of so many problems of one document each is told; nobody reads more at once.
const MAX_PROBLEMS: usize = 100;

/// A file as it was last read.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// By which a walk knows that the file has not changed; none when it is to be read in any case.
    pub(super) stamp: Option<Stamp>,
    pub(super) documents: Vec<Document>,
    /// The objects that the file stands for, be it by its present text or by an earlier one.
    pub(super) held: BTreeMap<ObjectKey, Held>,
    pub(super) problems: Vec<Problem>,
}

/// An object of a file.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) object: Object,
    pub(super) anchor: Anchor,
}

impl Held {
    /// Whether this is the same object at the same place, not merely an equal one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.object.is_same(&other.object) && self.anchor.is_same(&other.anchor)
    }
}

impl File {
    /// What a file is after its content was read; nothing where it is gone.
    pub(super) fn read(
        previous: Option<&Self>,
        name: &Arc<str>,
        format: Format,
        content: Content,
    ) -> Option<Self> {
        match content {
            Content::Gone => None,
            Content::Refused(stamp, problem) => Some(Self::kept(previous, name, stamp, problem)),
            Content::Bytes(stamp, bytes) => Some(Self::descriptors(previous, name, stamp, &bytes)),
            Content::Text(stamp, text) if text.trim().is_empty() => {
                let problem = Problem::new(Code::EmptyFile, "the file is empty")
                    .hint("delete it if its objects should go")
                    .at(beginning(name));
                Some(Self::kept(previous, name, stamp, problem))
            }
            Content::Text(stamp, text) => {
                let known = previous.map_or(&[][..], |file| &file.documents);
                let documents = manifest::read(&text, format, known);
                Some(Self::assembled(previous, name, format, stamp, documents))
            }
        }
    }

    /// A file of which nothing can be used; everything that it held stays.
    fn kept(previous: Option<&Self>, name: &Arc<str>, stamp: Stamp, problem: Problem) -> Self {
        let held = previous.map(|file| file.held.clone()).unwrap_or_default();
        let mut problems = vec![problem];
        problems.extend(kept_last_good(name, held.keys()));
        Self { stamp: Some(stamp), documents: Vec::new(), held, problems }
    }

    /// A file of protobuf descriptors, which holds one object that is named like the file.
    fn descriptors(previous: Option<&Self>, name: &Arc<str>, stamp: Stamp, bytes: &[u8]) -> Self {
        let spec = match Descriptors::decode(bytes) {
            Ok(spec) => spec,
            Err(error) => {
                let problem = Problem::new(Code::InvalidDescriptors, error.to_string())
                    .hint(
                        "write it with protoc --descriptor_set_out, buf build, or pilotage descriptors fetch",
                    )
                    .at(beginning(name));
                return Self::kept(previous, name, stamp, problem);
            }
        };
        let stem = Path::new(&**name).file_stem().unwrap_or_default().to_string_lossy();
        let meta = Meta { name: stem.as_ref().into(), ..Meta::default() };
        let object = Object::Descriptors(Arc::new(WithMeta { meta, spec }));
        let anchor = Anchor {
            file: name.clone(),
            format: Format::Descriptors,
            text: "".into(),
            first_line: 1,
            at: "".into(),
        };
        let held = BTreeMap::from([(object.key(), Held { object, anchor })]);
        Self { stamp: Some(stamp), documents: Vec::new(), held, problems: Vec::new() }
    }

    fn assembled(
        previous: Option<&Self>,
        name: &Arc<str>,
        format: Format,
        stamp: Stamp,
        documents: Vec<Document>,
    ) -> Self {
        let mut held: BTreeMap<ObjectKey, Held> = BTreeMap::new();
        let mut problems = Vec::new();
        let mut rejected = Vec::new();
        let mut unidentified = false;
        for document in &documents {
            problems.extend(placed(document, name));
            for item in &document.reading.items {
                let anchor = || Anchor {
                    file: name.clone(),
                    format,
                    text: document.text.clone(),
                    first_line: document.first_line,
                    at: item.at.clone(),
                };
                match &item.outcome {
                    Outcome::PassedOver(_) => {}
                    Outcome::Unidentified => unidentified = true,
                    Outcome::Rejected(key) => rejected.push(key.clone()),
                    Outcome::Served(objects) => {
                        for object in objects {
                            let key = object.key();
                            match held.get(&key) {
                                Some(first) => problems.push(duplicate(key, &first.anchor, &anchor())),
                                None => {
                                    held.insert(key, Held { object: object.clone(), anchor: anchor() });
                                }
                            }
                        }
                    }
                }
            }
        }
        // Where a broken document does not say who it is, it may be any of those that are missing.
        let before = previous.into_iter().flat_map(|file| &file.held);
        let missing = before.filter(|(key, _)| !held.contains_key(*key));
        let kept: Vec<_> = missing
            .filter(|(key, _)| unidentified || rejected.iter().any(|rejected| is_part_of(key, rejected)))
            .map(|(key, held)| (key.clone(), held.clone()))
            .collect();
        problems.extend(kept_last_good(name, kept.iter().map(|(key, _)| key)));
        held.extend(kept);
        Self { stamp: Some(stamp), documents, held, problems }
    }
}

/// The problems of a document at their places in its file.
fn placed(document: &Document, name: &Arc<str>) -> impl Iterator<Item = Problem> {
    let found = &document.reading.problems;
    let place = |problem: &Problem| {
        let mut problem = problem.clone();
        if let Some(position) = &mut problem.position {
            position.file.clone_from(name);
            position.line += document.first_line - 1;
        }
        problem
    };
    let more = found.get(MAX_PROBLEMS).map(|first| Problem {
        message: format!(
            "{} more like this are not listed, of which this is the first: {}",
            found.len() - MAX_PROBLEMS,
            first.message
        ),
        ..place(first)
    });
    found.iter().take(MAX_PROBLEMS).map(place).chain(more)
}

/// Whether a key is this object's; an Endpoints object has several slices.
fn is_part_of(key: &ObjectKey, whole: &ObjectKey) -> bool {
    key == whole
        || key.kind == Kind::EndpointSlice
            && key.namespace == whole.namespace
            && whole.name.starts_with("endpoints/")
            && key.name.strip_prefix(&*whole.name).is_some_and(|rest| rest.starts_with('/'))
}

/// That an object is written a second time; the first one is served.
pub(super) fn duplicate(key: ObjectKey, first: &Anchor, second: &Anchor) -> Problem {
    let first = first.locate("metadata.name");
    Problem::new(Code::DuplicateObject, format!("written already at {first}, which is what is served"))
        .hint("remove one of the two, or rename it")
        .at(second.locate("metadata.name"))
        .on(key, "")
}

fn kept_last_good<'a>(
    name: &Arc<str>,
    keys: impl ExactSizeIterator<Item = &'a ObjectKey>,
) -> Option<Problem> {
    let count = keys.len();
    if count == 0 {
        return None;
    }
    let mut names: Vec<_> = keys.take(3).map(ToString::to_string).collect();
    if count > names.len() {
        names.push(format!("{} more", count - names.len()));
    }
    let message =
        format!("until this file is repaired, the last good version is served of {}", names.join(", "));
    Some(Problem::new(Code::KeptLastGood, message).at(beginning(name)))
}
