//! The objects that a resource was made from: the origin of every resource, by which a rejection names its cause.

use std::fmt;
use std::sync::Arc;

use pilotage_watcher::ObjectKey;

/// The objects that a resource was made from.
#[derive(Clone)]
pub struct Sources(Origin);

#[derive(Clone)]
enum Origin {
    Listed(Box<[ObjectKey]>),
    /// Of a resource that is made from thousands: gathered when someone asks, which is seldom.
    Gathered(Arc<dyn Fn() -> Vec<ObjectKey> + Send + Sync>),
}

impl Sources {
    pub(crate) fn listed(objects: impl IntoIterator<Item = ObjectKey>) -> Self {
        Self(Origin::Listed(objects.into_iter().collect()))
    }

    pub(crate) fn gathered(gather: impl Fn() -> Vec<ObjectKey> + Send + Sync + 'static) -> Self {
        Self(Origin::Gathered(Arc::new(gather)))
    }

    /// The objects; where one overrides another it comes later.
    pub fn objects(&self) -> Vec<ObjectKey> {
        match &self.0 {
            Origin::Listed(objects) => objects.to_vec(),
            Origin::Gathered(gather) => gather(),
        }
    }
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sources").field(&self.objects()).finish()
    }
}
