//! Objects put in by hand as a source: for tests, and for whoever brings changes of their own.

use std::time::Instant;

use tokio::sync::mpsc;

use crate::{Batch, Change, Object, ObjectKey, SourceName};

/// A source that says what it is told to; clones speak for the same source.
///
/// Each call is one batch. The receiver sees them in the order of the calls.
#[derive(Clone, Debug)]
pub struct Memory {
    name: SourceName,
    batches: mpsc::UnboundedSender<Batch>,
}

/// That nobody listens to a source any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source has no receiver any more")]
pub struct Closed;

impl Memory {
    /// A source of this name, and what it will say. Nothing is served before [`Memory::synced`] is called.
    pub fn new(name: impl Into<SourceName>) -> (Self, mpsc::UnboundedReceiver<Batch>) {
        let (batches, receiver) = mpsc::unbounded_channel();
        (Self { name: name.into(), batches }, receiver)
    }

    /// The name.
    pub fn name(&self) -> &SourceName {
        &self.name
    }

    /// Says that an object exists with this content.
    ///
    /// # Errors
    ///
    /// [`Closed`], as for every call.
    pub fn apply(&self, object: Object) -> Result<(), Closed> {
        self.send([Change::Apply(object)])
    }

    /// Says that an object is gone.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn delete(&self, key: ObjectKey) -> Result<(), Closed> {
        self.send([Change::Delete(key)])
    }

    /// Says that everything that was there at the start has been said.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn synced(&self) -> Result<(), Closed> {
        self.send([Change::Synced(self.name.clone())])
    }

    /// Says several things at once, to be served together.
    ///
    /// # Errors
    ///
    /// [`Closed`].
    pub fn send(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), Closed> {
        let batch = Batch { seen: Instant::now(), changes: changes.into_iter().collect() };
        self.batches.send(batch).map_err(|_| Closed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::resources::{Service, WithMeta};
    use crate::{Kind, World};

    #[test]
    fn says_what_it_is_told_in_order() {
        let (memory, mut receiver) = Memory::new("memory:test");
        let mut service = WithMeta::<Service>::default();
        service.meta.name = "shop".into();
        let object = Object::Service(service.into());
        memory.apply(object.clone()).unwrap();
        memory.synced().unwrap();
        memory.delete(object.key()).unwrap();

        let mut world = World::default();
        let mut said = Vec::new();
        while let Ok(batch) = receiver.try_recv() {
            for change in batch.changes {
                match change {
                    Change::Apply(object) => said.push(format!("{:?}", world.apply(object).config)),
                    Change::Delete(key) => said.push(format!("{:?}", world.delete(&key).config)),
                    Change::Synced(name) => said.push(name.to_string()),
                    Change::Problems { .. } => {}
                }
            }
        }
        let touched =
            format!("{:?}", std::collections::BTreeSet::from([ObjectKey::new(Kind::Service, "", "shop")]));
        assert_eq!(said, [touched.clone(), "memory:test".to_owned(), touched]);
        drop(receiver);
        assert_eq!(memory.synced(), Err(Closed));
    }
}
