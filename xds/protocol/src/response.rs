//! What the client is told, not yet rendered to bytes.

use std::fmt;
use std::sync::Arc;

use crate::{Collection, Name, Resource, ResourceType, Revision, Version};

/// Identifies a response within its stream (R10): 16 lower-case hexadecimal digits on the wire, so that every
/// response has its nonce in the same number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub(crate) u64);

impl Nonce {
    /// Whether a request quotes this nonce.
    pub fn is(self, quoted: &str) -> bool {
        quoted.len() == 16 && u64::from_str_radix(quoted, 16) == Ok(self.0)
    }
}

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One response; the resources are shared, so cloning it copies none.
#[derive(Clone, Debug)]
pub struct Response {
    /// The type.
    pub resource_type: ResourceType,
    /// The version of everything of this type that the client has been told, this response included.
    pub version: Version,
    /// What the client has to quote.
    pub nonce: Nonce,
    /// The event that the state stems from.
    pub revision: Revision,
    /// Resources that are new or changed; in SotW, for types with full state, all of them (R34).
    pub resources: Contents,
    /// Names that do not exist, or no longer do; always empty in SotW.
    pub removed: Arc<[Name]>,
}

/// The resources of a response.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Everything in a collection; responses with the same pointer have the same resources in the same order.
    Whole(Arc<Collection>),
    /// Some resources, in the order of their names.
    Some(Arc<[Resource]>),
}

impl Contents {
    /// The resources, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Resource> {
        let (whole, some) = match self {
            Self::Whole(collection) => (Some(collection.iter()), None),
            Self::Some(resources) => (None, Some(resources.iter())),
        };
        whole.into_iter().flatten().chain(some.into_iter().flatten())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Whole(collection) => collection.len(),
            Self::Some(resources) => resources.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
