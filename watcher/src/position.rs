//! Where an object's fields stand in the files of a folder.
//!
//! Objects hold no positions: a comment added above one must not change it. The text of each document is kept, and is
//! looked into when a problem is printed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::manifest::{Format, locate, tree};
use crate::{ObjectKey, Position, Problem};

/// The places of a source's objects; clones share one table, which the source keeps up to date.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<RwLock<HashMap<ObjectKey, Anchor>>>);

/// Where an object is written.
#[derive(Clone, Debug)]
pub(crate) struct Anchor {
    pub(crate) file: Arc<str>,
    pub(crate) format: Format,
    /// The document's text.
    pub(crate) text: Arc<str>,
    /// The line of the file on which the text begins, from 1.
    pub(crate) first_line: u32,
    /// The path of the object within the document, such as `items[3]`; empty where it is the document.
    pub(crate) at: Arc<str>,
}

impl Positions {
    /// The place of a field, such as `spec.http[0].route[1].weight`, or of the nearest ancestor that is written;
    /// nothing where the object is in no file. Parses the object's document.
    pub fn locate(&self, object: &ObjectKey, path: &str) -> Option<Position> {
        let anchor = self.0.read().unwrap_or_else(PoisonError::into_inner).get(object).cloned()?;
        Some(anchor.locate(path))
    }

    /// The file that an object is in, if it is in one.
    pub fn file(&self, object: &ObjectKey) -> Option<Arc<str>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.get(object).map(|anchor| anchor.file.clone())
    }

    /// Gives a problem its place, where it has none and its object is in a file.
    pub fn place(&self, problem: &mut Problem) {
        if problem.position.is_none()
            && let Some(object) = &problem.object
        {
            problem.position = self.locate(object, &problem.path);
        }
    }

    pub(crate) fn set(&self, entries: impl IntoIterator<Item = (ObjectKey, Option<Anchor>)>) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, anchor) in entries {
            match anchor {
                Some(anchor) => table.insert(key, anchor),
                None => table.remove(&key),
            };
        }
    }
}

impl Anchor {
    /// Whether this is the same place of the same document.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text) && self.first_line == other.first_line && self.at == other.at
    }

    pub(crate) fn locate(&self, path: &str) -> Position {
        let full = match (self.at.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => self.at.to_string(),
            (false, false) => format!("{}.{path}", self.at),
        };
        let (line, column) = match tree(&self.text, self.format) {
            Some(root) => {
                let mark = locate(&root, &full);
                (mark.line, mark.column)
            }
            None => (1, 1),
        };
        Position { file: self.file.clone(), line: self.first_line + line - 1, column }
    }
}
