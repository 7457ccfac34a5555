//! A compile of configuration on another thread, while this one goes on with endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_compile::{Catalog, Compiled, Group};
use pilotage_protocol::{Name, Revision};
use pilotage_watcher::{Touched, World};
use tokio::task::JoinHandle;

/// One group to compile.
pub(super) struct Order {
    pub(super) group: Group,
    pub(super) demanded: BTreeSet<Name>,
    pub(super) previous: Option<Arc<Compiled>>,
}

/// What came of a compile.
pub(super) struct Outcome {
    pub(super) compiled: Vec<(Group, Compiled)>,
    /// The world as it was read.
    pub(super) catalog: Catalog,
    /// How long the groups took.
    pub(super) took: Duration,
}

/// A compile that is under way.
pub(super) struct Compiling {
    pub(super) job: JoinHandle<Outcome>,
    /// The event up to which the world is in it.
    pub(super) revision: Revision,
    /// Endpoints and secrets that changed since it began.
    pub(super) overtaken: Touched,
}

impl Compiling {
    /// Begins to compile `orders` from the world as it is now; `catalog` is what was read of it before.
    pub(super) fn start(catalog: Catalog, world: World, orders: Vec<Order>, revision: Revision) -> Self {
        let job = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let catalog = catalog.follow(&world);
            let mut compiled: Vec<(Group, Compiled)> = Vec::with_capacity(orders.len());
            for Order { group, demanded, previous } in orders {
                // What a new group is told is mostly what another of its kind is.
                let of_kind = compiled.iter().find(|(known, _)| known.kind == group.kind);
                let previous = previous.as_deref().or(of_kind.map(|(_, compiled)| compiled));
                let outcome = catalog.compile(&group, &demanded, previous);
                compiled.push((group, outcome));
            }
            Outcome { compiled, catalog, took: started.elapsed() }
        });
        Self { job, revision, overtaken: Touched::default() }
    }
}
