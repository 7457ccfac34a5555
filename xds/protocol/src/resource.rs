//! One resource as the protocol sees it: a name, a version, bytes, and the names it refers to.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::ResourceType;
use crate::name::normalised;

/// A resource name, shared by everything that mentions it.
pub type Name = Arc<str>;

/// Where a resource came from, opaque to this crate; handed back in outcomes so that a rejection can name its source.
pub type Origin = Arc<dyn Any + Send + Sync>;

/// A content hash; equal content has an equal version on every replica and after every restart.
///
/// On the wire it is 16 lower-case hexadecimal digits.
///
/// ```
/// use pilotage_protocol::Version;
///
/// let version = Version::of(b"an encoded message");
/// assert_eq!(version.to_string().parse(), Ok(version));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of some bytes.
    pub fn of(content: &[u8]) -> Self {
        Self(xxh3_64(content))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Version {
    /// Reads the 16 digits that [`Version`]'s `Display` writes, and nothing else; many times as fast as parsing.
    pub(crate) fn from_digits(digits: &[u8]) -> Option<Self> {
        let digits: &[u8; 16] = digits.try_into().ok()?;
        let mut number = 0;
        for digit in digits {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            number = number << 4 | u64::from(value);
        }
        Some(Self(number))
    }
}

impl FromStr for Version {
    type Err = std::num::ParseIntError;

    /// Reads what [`Version`]'s `Display` writes; anything else is a version that this server never sent.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A resource that another one needs before it can be used: a cluster its endpoints, a route its clusters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// The type referred to.
    pub resource_type: ResourceType,
    /// The name referred to.
    pub name: Name,
}

impl Reference {
    /// A reference to the resource of this type and name.
    pub fn new(resource_type: ResourceType, name: impl Into<Name>) -> Self {
        Self { resource_type, name: name.into() }
    }
}

/// One immutable resource; cloning it counts a reference and copies nothing.
///
/// ```
/// use std::time::Duration;
/// use pilotage_protocol::{Reference, Resource, ResourceType};
///
/// let route = Resource::new("local", &b"an encoded RouteConfiguration"[..])
///     .with_references([Reference::new(ResourceType::Cluster, "red")])
///     .with_ttl(Duration::from_secs(60));
/// assert_eq!((&**route.name(), route.references().len()), ("local", 1));
/// // Equal bytes have an equal version, on every replica.
/// assert_eq!(route.version(), Resource::new("other", route.body().clone()).version());
/// ```
#[derive(Clone)]
pub struct Resource(Arc<Content>);

#[derive(Clone)]
struct Content {
    name: Name,
    version: Version,
    body: Body,
    ttl: Option<Duration>,
    references: Arc<[Reference]>,
    origin: Option<Origin>,
}

/// An encoded message in one piece, or in several: a table of many parts of which one changed shares all others.
#[derive(Clone)]
enum Body {
    Whole(Bytes),
    Pieces { pieces: Arc<[Bytes]>, len: usize },
}

impl Resource {
    /// A resource whose version is the hash of its encoded message.
    ///
    /// A name of the `xdstp:` form is normalised (R64). `body` is the protobuf encoding of the message itself, without its `Any`.
    pub fn new(name: impl Into<Name>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self::versioned(name, Version::of(&body), body)
    }

    /// A resource under a version computed elsewhere, where encoded bytes are not a stable identity.
    pub fn versioned(name: impl Into<Name>, version: Version, body: impl Into<Bytes>) -> Self {
        Self::of(name.into(), version, Body::Whole(body.into()))
    }

    /// A resource whose encoded message is these pieces, one after the other, under a version computed elsewhere.
    pub fn in_pieces(name: impl Into<Name>, version: Version, pieces: impl Into<Arc<[Bytes]>>) -> Self {
        let pieces = pieces.into();
        let len = pieces.iter().map(Bytes::len).sum();
        Self::of(name.into(), version, Body::Pieces { pieces, len })
    }

    fn of(name: Name, version: Version, body: Body) -> Self {
        let name = match normalised(&name) {
            Cow::Borrowed(_) => name,
            Cow::Owned(name) => name.into(),
        };
        let references = Arc::default();
        Self(Arc::new(Content { name, version, body, ttl: None, references, origin: None }))
    }

    /// The same resource under a version computed elsewhere, where encoded bytes are not a stable identity.
    pub fn with_version(mut self, version: Version) -> Self {
        Arc::make_mut(&mut self.0).version = version;
        self
    }

    /// The same resource with a time to live (R61).
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        Arc::make_mut(&mut self.0).ttl = Some(ttl);
        self
    }

    /// The same resource with the names it refers to, in any order.
    pub fn with_references(mut self, references: impl IntoIterator<Item = Reference>) -> Self {
        let mut references: Vec<Reference> = references.into_iter().collect();
        references.sort_unstable();
        references.dedup();
        Arc::make_mut(&mut self.0).references = references.into();
        self
    }

    /// The same resource with the references of another one: a table of many routes has thousands, which hardly ever
    /// change from one to its successor.
    pub fn with_references_of(mut self, other: &Self) -> Self {
        Arc::make_mut(&mut self.0).references = other.0.references.clone();
        self
    }

    /// The same resource with a note of where it came from.
    pub fn with_origin(mut self, origin: Origin) -> Self {
        Arc::make_mut(&mut self.0).origin = Some(origin);
        self
    }

    /// The name that clients subscribe to.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// The content hash.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The encoded message; one of several pieces is joined, at the cost of a copy.
    pub fn body(&self) -> Bytes {
        match &self.0.body {
            Body::Whole(body) => body.clone(),
            Body::Pieces { pieces, .. } => pieces.concat().into(),
        }
    }

    /// The pieces of the encoded message, in order.
    pub fn body_pieces(&self) -> &[Bytes] {
        match &self.0.body {
            Body::Whole(body) => std::slice::from_ref(body),
            Body::Pieces { pieces, .. } => pieces,
        }
    }

    /// The length of the encoded message, in bytes.
    pub fn body_len(&self) -> usize {
        match &self.0.body {
            Body::Whole(body) => body.len(),
            Body::Pieces { len, .. } => *len,
        }
    }

    /// How long a client may keep the resource without a heartbeat; `None` is for ever.
    pub fn ttl(&self) -> Option<Duration> {
        self.0.ttl
    }

    /// What this resource refers to, sorted and without duplicates.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }

    /// Where the resource came from.
    pub fn origin(&self) -> Option<&Origin> {
        self.0.origin.as_ref()
    }
}

/// Resources are equal when name and version are: the version stands for the content.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.version() == other.version() && self.name() == other.name())
    }
}

impl Eq for Resource {}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body stays out: it may be a secret.
        f.debug_struct("Resource")
            .field("name", &self.0.name)
            .field("version", &self.0.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_as_they_are_written_and_not_otherwise() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let version = Version(number);
            assert_eq!(Version::from_digits(version.to_string().as_bytes()), Some(version));
        }
        for other in
            ["", "0", "00000000000000000", "000000000000000A", "+00000000000000f", "00000000 0000000"]
        {
            assert_eq!(Version::from_digits(other.as_bytes()), None, "{other:?}");
        }
    }
}
