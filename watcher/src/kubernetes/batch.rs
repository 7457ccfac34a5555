//! What the followers of all kinds say, joined into batches.
//!
//! What is there at once goes together: a burst becomes few batches, and a single event waits for nothing.

use std::collections::{BTreeSet, HashMap};

use tokio::sync::mpsc;

use super::Signal;
use super::kind::WATCHED;
use crate::{Batch, Change, Kind, ObjectKey, SourceName};

/// At most so many signals become one batch.
const JOINED_AT_ONCE: usize = 4096;

/// The joint of all followers.
pub(super) struct Joined {
    name: SourceName,
    signals: mpsc::Receiver<Signal>,
    /// The kinds that have not been listed; `Synced` is said when there are none, once.
    unsettled: BTreeSet<Kind>,
}

impl Joined {
    pub(super) fn new(name: SourceName, signals: mpsc::Receiver<Signal>) -> Self {
        Self { name, signals, unsettled: WATCHED.iter().map(|watched| watched.kind).collect() }
    }

    /// Sends batches until there is nobody left to hear them.
    pub(super) async fn forward(mut self, batches: mpsc::Sender<Batch>) {
        let mut signals = Vec::new();
        while self.signals.recv_many(&mut signals, JOINED_AT_ONCE).await > 0 {
            if let Some(batch) = self.join(signals.drain(..))
                && batches.send(batch).await.is_err()
            {
                return;
            }
        }
    }

    fn join(&mut self, signals: impl Iterator<Item = Signal>) -> Option<Batch> {
        let mut joined: Option<Batch> = None;
        let mut settled = false;
        for signal in signals {
            match signal {
                Signal::Changes(batch) => match &mut joined {
                    None => joined = Some(batch),
                    Some(joined) => {
                        joined.seen = joined.seen.min(batch.seen);
                        joined.changes.extend(batch.changes);
                    }
                },
                Signal::Settled(kind) => {
                    settled |= self.unsettled.remove(&kind) && self.unsettled.is_empty();
                }
            }
        }
        if let Some(batch) = &mut joined {
            batch.changes = in_order(std::mem::take(&mut batch.changes));
        }
        if settled {
            let synced = Change::Synced(self.name.clone());
            let batch =
                joined.get_or_insert_with(|| Batch { seen: std::time::Instant::now(), changes: Vec::new() });
            batch.changes.push(synced);
        }
        joined
    }
}

/// The last word on every object, with objects that are gone after all others, so that nothing is taken away before
/// what replaces it is there.
fn in_order(changes: Vec<Change>) -> Vec<Change> {
    let mut last: HashMap<ObjectKey, usize> = HashMap::with_capacity(changes.len());
    for (index, change) in changes.iter().enumerate() {
        if let Some(key) = key(change) {
            last.insert(key, index);
        }
    }
    let (mut kept, mut gone) = (Vec::with_capacity(changes.len()), Vec::new());
    for (index, change) in changes.into_iter().enumerate() {
        match key(&change) {
            Some(key) if last.get(&key) != Some(&index) => {}
            Some(_) if matches!(change, Change::Delete(_)) => gone.push(change),
            _ => kept.push(change),
        }
    }
    kept.append(&mut gone);
    kept
}

fn key(change: &Change) -> Option<ObjectKey> {
    match change {
        Change::Apply(object) => Some(object.key()),
        Change::Delete(key) => Some(key.clone()),
        Change::Problems { .. } | Change::Synced(_) => None,
    }
}

#[cfg(test)]
mod tests;
