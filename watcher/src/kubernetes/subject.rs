//! What a follower follows: all objects of a kind, or one object by its name.

use std::fmt;

use super::Signal;
use super::kind::Watched;
use super::request::encoded;
use super::secrets::source_name;
use crate::{Change, Kind, NamespacedName, ObjectKey, SourceName};

/// A kind, or one of its objects.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    pub(super) watched: &'static Watched,
    /// Namespace and name of the one object; none for all.
    pub(super) name: Option<NamespacedName>,
    /// What refers to the one object, to be told where it cannot be read.
    pub(super) referrer: Option<ObjectKey>,
}

impl Subject {
    /// All objects of a kind.
    pub(super) fn all(watched: &'static Watched) -> Self {
        Self { watched, name: None, referrer: None }
    }

    pub(super) fn kind(&self) -> Kind {
        self.watched.kind
    }

    /// The path to ask for it, with its query begun. A role can name the object that a field selector names, so that
    /// one Secret can be watched by who may not see its neighbours.
    pub(super) fn locator(&self, version: &str) -> String {
        match &self.name {
            None => {
                let path = self.watched.path(version);
                match self.watched.label {
                    Some((key, value)) => {
                        format!("{path}?labelSelector={}%3D{}&", encoded(key), encoded(value))
                    }
                    None => format!("{path}?"),
                }
            }
            Some((namespace, name)) => {
                let path = self.watched.path_in(version, &encoded(namespace));
                format!("{path}?fieldSelector=metadata.name%3D{}&", encoded(name))
            }
        }
    }

    /// What it is, within a sentence.
    pub(super) fn described(&self) -> String {
        match &self.name {
            None => self.watched.qualified(),
            Some((namespace, name)) => {
                format!("the {:?} {namespace}/{name}, which this refers to,", self.kind())
            }
        }
    }

    /// The scope of problems with it as a whole.
    pub(super) fn scope(&self) -> SourceName {
        match &self.name {
            None => format!("kubernetes {}", self.watched.qualified()).into(),
            Some(name) => source_name(name),
        }
    }

    /// What says that it has been listed.
    pub(super) fn settled(&self) -> Signal {
        match &self.name {
            None => Signal::Settled(self.kind()),
            Some(name) => Signal::said(vec![Change::Synced(source_name(name))]),
        }
    }
}

/// As logs have it.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            None => write!(f, "{:?}", self.kind()),
            Some((namespace, name)) => write!(f, "{:?} {namespace}/{name}", self.kind()),
        }
    }
}
