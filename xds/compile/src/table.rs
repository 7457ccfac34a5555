//! One type's resources: what did not change keeps its bytes, and a collection in which nothing changed stays the same.
//!
//! Equal versions mean equal data, so that data is let go once it is encoded. What an operator wrote in Envoy's own
//! words lies over what the world means.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pilotage_protocol::{Collection, Name, Resource, ResourceType, Version};
use xxhash_rust::xxh3::Xxh3;

use crate::raw::{Operation, Raw, Written, misplaced};
use crate::report::Report;
use crate::sources::Sources;

/// Changes whenever equal data is encoded to other messages than before: versions must change with them.
///
/// A test holds a digest of every golden output beside this number.
pub const ENCODER_REVISION: u32 = 3;

/// The revision that versions are made with.
static REVISION: AtomicU32 = AtomicU32::new(ENCODER_REVISION);

/// Makes versions as another revision would, from here on: for tests of an upgrade, which have but one encoder. To be
/// called before anything is translated.
#[doc(hidden)]
pub fn pretend_encoder_revision(revision: u32) {
    REVISION.store(revision, Ordering::Relaxed);
}

/// The version of a resource: of the data that it is made from, since encoded bytes are not stable.
pub(crate) fn version(data: &impl Hash) -> Version {
    let mut hasher = Xxh3::new();
    REVISION.load(Ordering::Relaxed).hash(&mut hasher);
    data.hash(&mut hasher);
    Version(hasher.finish())
}

/// The successor of a collection in which these are added, replaced or, where there is no data, taken away.
///
/// `encode` makes a resource under its version, which is that of the data.
pub(crate) fn updated<T: Hash>(
    collection: &Arc<Collection>,
    changes: BTreeMap<Name, Option<T>>,
    encode: impl Fn(T, Version) -> Resource,
) -> Arc<Collection> {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    for (name, data) in changes {
        let Some(data) = data else {
            removals.push(name);
            continue;
        };
        let version = version(&data);
        if collection.get(&name).is_none_or(|known| known.version() != version) {
            upserts.push(encode(data, version));
        }
    }
    with_changes(collection, upserts, removals)
}

/// The changes by which exactly these are left of a collection.
pub(crate) fn replacing<T>(collection: &Collection, data: BTreeMap<Name, T>) -> BTreeMap<Name, Option<T>> {
    let gone = collection.iter().map(Resource::name).filter(|name| !data.contains_key(*name)).cloned();
    let gone: Vec<Name> = gone.collect();
    gone.into_iter()
        .map(|name| (name, None))
        .chain(data.into_iter().map(|(n, data)| (n, Some(data))))
        .collect()
}

pub(crate) fn with_changes(
    collection: &Arc<Collection>,
    upserts: Vec<Resource>,
    removals: Vec<Name>,
) -> Arc<Collection> {
    if upserts.is_empty() && removals.is_empty() {
        return collection.clone();
    }
    let next = collection.with_changes(upserts, removals);
    match next.is_same(collection) {
        true => collection.clone(),
        false => Arc::new(next),
    }
}

/// One type's resources as the world means them, and as they are told with what is written over them.
#[derive(Clone, Default)]
pub(crate) struct Layers {
    pub(crate) meant: Arc<Collection>,
    pub(crate) told: Arc<Collection>,
}

impl Layers {
    /// The successor with another meaning; `before` and `now` are what is written of this type.
    pub(crate) fn updated(
        &self,
        meant: Arc<Collection>,
        before: Option<&Written>,
        now: Option<&Written>,
    ) -> Self {
        if now.is_none_or(BTreeMap::is_empty) {
            return Self { told: meant.clone(), meant };
        }
        let mut names = meant.changed_since(&self.meant);
        names.extend(before.into_iter().chain(now).flat_map(|written| written.keys().cloned()));
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for name in names {
            let is_meant = meant.get(&name);
            match (now.and_then(|now| now.get(&name)), is_meant) {
                (Some((raw, Operation::Replace, _)), _) | (Some((raw, _, _)), None) => {
                    upserts.push(written(&name, raw));
                }
                (_, Some(meant)) => upserts.push(meant.clone()),
                (None, None) => removals.push(name),
            }
        }
        Self { told: with_changes(&self.told, upserts, removals), meant }
    }

    /// Says what is written to no effect, or over nothing.
    pub(crate) fn tell(&self, resource_type: &ResourceType, written: Option<&Written>, report: &mut Report) {
        for (name, (_, operation, place)) in written.into_iter().flatten() {
            report.extend(misplaced(resource_type, name, *operation, place, self.meant.contains(name)));
        }
    }
}

/// A resource in Envoy's own words.
fn written(name: &Name, raw: &Raw) -> Resource {
    Resource::versioned(name.clone(), version(raw), raw.body.clone())
        .with_origin(Arc::new(Sources::listed([raw.source.clone()])))
}
