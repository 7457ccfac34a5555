//! A stream's move into another group: the new group's snapshot is not taken while it lacks what the client needs.
//!
//! Invariant: the move withdraws no name that the new group is going to hold. The names that the client asked for and
//! has are demanded for the new group; until its snapshot holds them, or for a bounded time, the client keeps what it
//! was told.

use std::time::{Duration, Instant};

use pilotage_protocol::{Interest, Name, ResourceType, Session, Snapshot};

/// How long the owner may take to publish what the client asked for by name; then the names are taken for gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// A move that has not ended.
pub(crate) struct Transfer {
    needed: Vec<(ResourceType, Name)>,
    until: Instant,
    /// The new group's latest snapshot.
    snapshot: Option<Snapshot>,
}

impl Transfer {
    /// A move of a session that was last told `former`.
    pub(crate) fn new(session: &Session, former: Option<&Snapshot>, now: Instant) -> Self {
        let mut needed = Vec::new();
        for resource_type in session.resource_types() {
            let held = former.and_then(|former| former.collection(resource_type));
            let named = session.interest(resource_type).map(Interest::named).unwrap_or_default();
            let held = named.iter().filter(|name| held.is_some_and(|held| held.contains(name)));
            needed.extend(held.map(|name| (resource_type.clone(), name.clone())));
        }
        Self { needed, until: now + PATIENCE, snapshot: None }
    }

    /// Takes in a snapshot of the new group, if there is a newer one, and returns what the session is to be told.
    pub(crate) fn advance(&mut self, newer: Option<Snapshot>, now: Instant) -> Option<Snapshot> {
        if let Some(newer) = newer {
            self.snapshot = Some(newer);
        }
        let snapshot = self.snapshot.as_ref()?;
        let holds = |(resource_type, name): &(ResourceType, Name)| {
            snapshot.collection(resource_type).is_some_and(|collection| collection.contains(name))
        };
        if now >= self.until || self.needed.iter().all(holds) { self.snapshot.take() } else { None }
    }

    /// When the move ends whatever the new group holds; `None` while it has no snapshot, for which there is no limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.snapshot.as_ref().map(|_| self.until)
    }
}
