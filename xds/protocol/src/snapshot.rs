//! Everything that one group of clients is told: a [`Collection`] per type, and the revision it stems from.
//!
//! Invariant: a published snapshot never changes. Cloning one counts a reference, and "nothing of this type changed"
//! is pointer equality of its collections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::{Collection, ResourceType};

/// Which source event a snapshot is the consequence of; later events have greater revisions.
///
/// A group whose content did not change still moves to the new revision, so that "revision N has reached this
/// client" can be said of every client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One immutable state of the world as a group of clients sees it.
///
/// A type of the table ([`ResourceType::KNOWN`]) that a snapshot does not hold is known to be empty; a type outside
/// the table that it does not hold is unknown, and requests for it are not answered.
///
/// ```
/// use std::sync::Arc;
/// use pilotage_protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
///
/// let clusters: Collection = [Resource::new("red", &b"encoded"[..])].into_iter().collect();
/// let snapshot = Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters));
/// assert_eq!(snapshot.collection(&ResourceType::Cluster).map(|clusters| clusters.len()), Some(1));
/// assert!(snapshot.collection(&ResourceType::Listener).is_none());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    revision: Revision,
    collections: Arc<BTreeMap<ResourceType, Arc<Collection>>>,
}

impl Snapshot {
    /// A snapshot that holds nothing yet.
    pub fn new(revision: Revision) -> Self {
        Self { revision, collections: Arc::default() }
    }

    /// The same snapshot with this collection in place of the type's former one.
    pub fn with(mut self, resource_type: ResourceType, collection: Arc<Collection>) -> Self {
        Arc::make_mut(&mut self.collections).insert(resource_type, collection);
        self
    }

    /// The same content as the consequence of another event.
    pub fn at(mut self, revision: Revision) -> Self {
        self.revision = revision;
        self
    }

    /// The resources of a type.
    pub fn collection(&self, resource_type: &ResourceType) -> Option<&Arc<Collection>> {
        self.collections.get(resource_type)
    }

    /// The collections, in the order in which their types are sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&ResourceType, &Arc<Collection>)> {
        self.collections.iter()
    }

    /// The event that this is the consequence of.
    pub fn revision(&self) -> Revision {
        self.revision
    }
}
