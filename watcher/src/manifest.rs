//! Manifests: the text of a file to typed objects, and everything that is wrong with it at its place.
//!
//! A file is split into documents first and each is read alone, so that nothing in one can hide another. The way of a
//! document: text → tree ([`node`]) → kind ([`group`]) → typed value ([`decode`]) → checks → object ([`object`]).

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::{Problem, parallel};

pub(crate) use object::{Outcome, Reading, read_document, tree};
pub(crate) use path::locate;

mod decode;
mod flat;
mod group;
mod json;
mod node;
mod object;
mod path;
mod secret;
mod stream;
#[cfg(test)]
mod tests;
mod yaml;

/// Why a text is not taken in, and where.
type Refusal = Box<(node::Mark, Problem)>;

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A stream of YAML documents.
    Yaml,
    /// One JSON value.
    Json,
    /// Protobuf descriptors, which are no text.
    Descriptors,
}

impl Format {
    /// By the name's ending: `.yaml`, `.yml` or `.json`, and for descriptors `.binpb`, `.pb` or `.protoset`; other files are none of ours.
    pub(crate) fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "binpb" | "pb" | "protoset" => Some(Self::Descriptors),
            _ => None,
        }
    }
}

/// A document and what it says; it does not change when the document moves within its file.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) hash: u64,
    pub(crate) text: Arc<str>,
    pub(crate) first_line: u32,
    pub(crate) reading: Arc<Reading>,
}

/// Reads the documents of a file; those that `known` has by hash and text are not read again.
pub(crate) fn read(text: &str, format: Format, known: &[Document]) -> Vec<Document> {
    let documents = match format {
        Format::Yaml => stream::split(text),
        Format::Json if text.trim().is_empty() => Vec::new(),
        Format::Json => vec![stream::Document { text, first_line: 1 }],
        Format::Descriptors => Vec::new(),
    };
    let known: HashMap<u64, &Document> = known.iter().map(|document| (document.hash, document)).collect();
    let read = |document: stream::Document<'_>| {
        let hash = xxh3_64(document.text.as_bytes());
        let same = known.get(&hash).filter(|known| *known.text == *document.text);
        let (text, reading) = match same {
            Some(known) => (known.text.clone(), known.reading.clone()),
            None => (document.text.into(), Arc::new(read_document(document.text, format))),
        };
        Document { hash, text, first_line: document.first_line, reading }
    };
    parallel::map(documents, read)
}

/// The candidate that a text was probably meant to be, if any is near enough.
pub(crate) fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let limit = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&text, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}
