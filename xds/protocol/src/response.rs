//! What the client is told, not yet rendered to bytes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use xxhash_rust::xxh3::Xxh3;

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

    /// The digits: what formatting writes, without its machinery, for every response.
    pub fn digits(self) -> [u8; 16] {
        std::array::from_fn(|place| b"0123456789abcdef"[(self.0 >> (60 - 4 * place)) as usize & 0xf])
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
    /// Names that were asked for and do not exist, where the client has a better way to hear it than to be told of a
    /// removal or of nothing: errors of single resources for gRPC in SotW (R63), aliases without a resource for virtual
    /// hosts in delta (R68).
    pub missing: Arc<[Name]>,
    /// Resources whose time to live starts anew; a response with any has nothing else (R62).
    pub heartbeats: Arc<[Resource]>,
    /// Whether resources are sent with their time to live (R61).
    pub lifetimes: Lifetimes,
    /// Computed when it is first asked for, and once for all clones.
    pub(crate) fingerprint: Arc<OnceLock<Fingerprint>>,
}

/// Stands for everything in a response but its nonce: responses of one dialect with equal fingerprints are equal on
/// the wire before the nonce.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    resource_type: ResourceType,
    version: Version,
    lifetimes: Lifetimes,
    contents: u128,
}

impl Response {
    /// The response's fingerprint; costs nothing per resource where the contents are whole, or where a response that
    /// shares them was asked before.
    pub fn fingerprint(&self) -> &Fingerprint {
        self.fingerprint.get_or_init(|| self.compute_fingerprint())
    }

    fn compute_fingerprint(&self) -> Fingerprint {
        let mut hasher = Xxh3::new();
        match &self.resources {
            Contents::Whole(collection) => {
                hasher.update(b"whole");
                hasher.update(&collection.version().0.to_le_bytes());
                hasher.update(&collection.len().to_le_bytes());
            }
            Contents::Some(resources) => {
                for resource in resources.iter() {
                    hasher.update(resource.name().as_bytes());
                    hasher.update(&resource.version().0.to_le_bytes());
                }
            }
        }
        hasher.update(b"removed");
        for name in self.removed.iter() {
            hasher.update(name.as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(b"missing");
        for name in self.missing.iter() {
            hasher.update(name.as_bytes());
            hasher.update(b"\0");
        }
        hasher.update(b"heartbeats");
        for resource in self.heartbeats.iter() {
            hasher.update(resource.name().as_bytes());
            hasher.update(&resource.version().0.to_le_bytes());
        }
        let (resource_type, version, lifetimes) = (self.resource_type.clone(), self.version, self.lifetimes);
        Fingerprint { resource_type, version, lifetimes, contents: hasher.digest128() }
    }
}

/// Whether a client is told how long it may keep a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lifetimes {
    /// It keeps it until it is told otherwise.
    #[default]
    Unsaid,
    /// It is told; in SotW that takes a wrapper around the resource.
    Said,
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
