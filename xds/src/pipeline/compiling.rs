//! A compile of configuration on another thread, while this one goes on with endpoints.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilotage_compile::{Compiled, Group, Settings, check, compile};
use pilotage_protocol::{Name, Revision};
use pilotage_watcher::{Problem, Touched, World};
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
    /// All that is wrong with the world as it was.
    pub(super) problems: Vec<Problem>,
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
    /// Begins to compile `orders` from the world as it is now.
    pub(super) fn start(
        world: World,
        settings: Arc<Settings>,
        orders: Vec<Order>,
        revision: Revision,
    ) -> Self {
        let job = tokio::task::spawn_blocking(move || {
            let started = Instant::now();
            let compiled = orders
                .into_iter()
                .map(|order| {
                    let previous = order.previous.as_deref();
                    let compiled = compile(&world, &order.group, &settings, &order.demanded, previous);
                    (order.group, compiled)
                })
                .collect();
            let took = started.elapsed();
            Outcome { compiled, problems: check(&world, &settings), took }
        });
        Self { job, revision, overtaken: Touched::default() }
    }
}
