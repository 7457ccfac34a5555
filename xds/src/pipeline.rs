//! The one loop that owns the world: changes come in, snapshots go out, clients ask and answer.
//!
//! Endpoints have a lane of their own, without a debounce; everything else is compiled on another thread from a clone
//! of the world, so that a long compile never delays an endpoint. Nothing is published before every source has said
//! `Synced`: an empty answer would wipe a fleet (R40).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use pilotage_compile::{Compiled, Group, LabelKeys};
use pilotage_protocol::{Name, Revision};
use pilotage_server::{Cache, ClientEvent};
use pilotage_watcher::{Batch, Change, SourceName, Touched, World};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

mod clients;
mod compiling;
mod debounce;
mod journal;

use compiling::{Compiling, Outcome};
use debounce::Debounce;
use journal::Journal;

/// What the pipeline is told: by sources, and by clients.
#[derive(Debug)]
pub struct Inputs {
    /// Batches of changes, each from one event of a source.
    pub sources: mpsc::Receiver<Batch>,
    /// What clients ask for and answer.
    pub clients: mpsc::UnboundedReceiver<ClientEvent<Group>>,
}

/// The world, and what was made of it for each group.
#[derive(Debug)]
pub struct Pipeline {
    settings: Arc<pilotage_compile::Settings>,
    cache: Cache<Group>,
    /// Which labels matter, for the server to tell a node's group by.
    label_keys: Arc<RwLock<LabelKeys>>,
    linger: Duration,
    world: World,
    /// The last event that was taken in.
    revision: Revision,
    /// Sources that have not told everything yet.
    unsynced: BTreeSet<SourceName>,
    groups: BTreeMap<Group, Member>,
    debounce: Debounce,
    /// What configuration changed since the last compile of it began.
    touched: Touched,
    compiling: Option<Compiling>,
    journal: Journal,
}

/// One group, and what it is told.
#[derive(Debug, Default)]
struct Member {
    compiled: Option<Arc<Compiled>>,
    /// Names that clients asked for, beyond what follows from the world.
    demanded: BTreeSet<Name>,
    /// When the last client left.
    deserted: Option<Instant>,
}
