//! Contents that so many clients have rejected that others like them are not tried with them.
//!
//! Invariant: it names contents, not names: a resource that changes is tried again, on every client.

use std::collections::BTreeMap;

use crate::{Name, Resource, ResourceType, Version};

/// What the clients of a group are spared, until it changes; see [`crate::Session::handle_spared`].
///
/// ```
/// use pilotage_protocol::{Resource, ResourceType, Spared};
///
/// let bad = Resource::new("a", "bad");
/// let spared = Spared::default().with(ResourceType::Cluster, &bad);
/// assert!(spared.covers(&ResourceType::Cluster, &bad));
/// assert!(!spared.covers(&ResourceType::Cluster, &Resource::new("a", "better")));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spared(BTreeMap<ResourceType, BTreeMap<Name, Version>>);

impl Spared {
    /// The same, with this content spared as well; it replaces another content of the same name.
    #[must_use]
    pub fn with(mut self, resource_type: ResourceType, resource: &Resource) -> Self {
        let contents = self.0.entry(resource_type).or_default();
        contents.insert(resource.name().clone(), resource.version());
        self
    }

    /// Whether this content is spared.
    pub fn covers(&self, resource_type: &ResourceType, resource: &Resource) -> bool {
        let contents = self.0.get(resource_type);
        contents.and_then(|contents| contents.get(resource.name())) == Some(&resource.version())
    }

    /// Whether nothing of this type is spared.
    pub fn is_empty_of(&self, resource_type: &ResourceType) -> bool {
        !self.0.contains_key(resource_type)
    }
}
