//! One type's resources with what they were made from: what did not change keeps its bytes, and a table in which
//! nothing changed keeps its collection.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use imbl::OrdMap;
use pilotage_protocol::{Collection, Name, Resource, Version};
use xxhash_rust::xxh3::Xxh3;

/// Changes whenever equal data is encoded to other messages than before: versions must change with them.
///
/// A test holds a digest of every golden output beside this number.
pub const ENCODER_REVISION: u32 = 2;

/// The version of a resource: of the data that it is made from, since encoded bytes are not stable.
pub(crate) fn version(data: &impl Hash) -> Version {
    let mut hasher = Xxh3::new();
    ENCODER_REVISION.hash(&mut hasher);
    data.hash(&mut hasher);
    Version(hasher.finish())
}

/// Resources of one type, and the data of each.
#[derive(Clone)]
pub(crate) struct Table<T> {
    entries: OrdMap<Name, (Arc<T>, Resource)>,
    collection: Arc<Collection>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: OrdMap::new(), collection: Arc::default() }
    }
}

impl<T: PartialEq> Table<T> {
    /// The successor that holds exactly these.
    pub(crate) fn replaced(&self, data: BTreeMap<Name, T>, encode: impl Fn(&T) -> Resource) -> Self {
        let removals: Vec<Name> =
            self.entries.keys().filter(|name| !data.contains_key(*name)).cloned().collect();
        self.changed(data, removals, encode)
    }

    /// The successor in which these are added or replaced, and nothing else changed.
    pub(crate) fn updated(&self, data: BTreeMap<Name, T>, encode: impl Fn(&T) -> Resource) -> Self {
        self.changed(data, Vec::new(), encode)
    }

    fn changed(&self, data: BTreeMap<Name, T>, removals: Vec<Name>, encode: impl Fn(&T) -> Resource) -> Self {
        let mut entries = self.entries.clone();
        for name in &removals {
            entries.remove(name);
        }
        let mut upserts = Vec::new();
        for (name, data) in data {
            if entries.get(&name).is_some_and(|(known, _)| **known == data) {
                continue;
            }
            let resource = encode(&data);
            upserts.push(resource.clone());
            entries.insert(name, (Arc::new(data), resource));
        }
        let collection = match upserts.is_empty() && removals.is_empty() {
            true => self.collection.clone(),
            false => Arc::new(self.collection.with_changes(upserts, removals)),
        };
        Self { entries, collection }
    }

    pub(crate) fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    pub(crate) fn resource(&self, name: &str) -> Option<&Resource> {
        self.entries.get(name).map(|(_, resource)| resource)
    }
}
