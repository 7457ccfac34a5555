//! A Kubernetes API server as a source: every kind listed, then followed by watches that outlive what interrupts them.
//!
//! A list that fails, a server that is away or a right that was lost withdraws nothing. Only what the API server itself
//! says is gone is gone: by an event, or by a complete list without it. `follow` does the waiting for one kind,
//! `table` knows what is held of it, `batch` joins what the kinds say.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::batch::Joined;
use self::follow::Follower;
use self::kind::WATCHED;
use self::secrets::Secrets;
use self::status::Board;
use self::subject::Subject;
use crate::{Batch, Change, SourceName};

mod backoff;
mod batch;
mod call;
mod connect;
mod crd;
mod definitions;
mod follow;
mod kind;
mod lines;
mod read;
mod request;
mod secrets;
mod status;
mod subject;
mod table;
mod token;
mod trouble;

pub use call::{CallError, call, has_conditions, kind_path, status_path};
pub use connect::{ConnectError, Connection, connect, connect_in_cluster};
pub use crd::custom_resource_definitions;
pub use kind::kind_scope;
pub use secrets::{SecretReferences, source_name as secret_source_name};
pub use status::{KindState, Status};
pub use token::{Review, ReviewError, review_token};

/// What a kind's follower has to say.
enum Signal {
    /// Changes that belong together, in order.
    Changes(Batch),
    /// The kind has been listed, or it has become clear that it will not be.
    Settled(crate::Kind),
}

impl Signal {
    /// Changes that become known now.
    fn said(changes: Vec<Change>) -> Self {
        Self::Changes(Batch { seen: Instant::now(), changes })
    }
}

/// Signals that wait for being joined; a follower that is faster waits itself.
const SIGNALS_AHEAD: usize = 4096;

/// How an API server is followed.
#[derive(Clone, Debug)]
pub struct Options {
    /// Objects of a page, where lists are paged; default 500.
    pub page: u32,
    /// How long a kind may be refused (403), or served in no version that is read, before it counts as never allowed
    /// and the rest is served without it; default 10 s. An API server that has just started refuses everything for a
    /// moment.
    pub patience: Duration,
    /// How long an API server that is away is left alone at most before it is tried again; default 5 s.
    pub longest_wait: Duration,
    /// How often a kind that is absent or refused is looked at again where nothing announces it; default 30 s.
    pub recheck: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            page: 500,
            patience: Duration::from_secs(10),
            longest_wait: Duration::from_secs(5),
            recheck: Duration::from_secs(30),
        }
    }
}

/// An API server that is to be followed.
#[derive(Debug)]
pub struct KubernetesSource {
    connection: Connection,
    options: Options,
    board: Arc<Board>,
    /// The Secrets that are to be followed.
    secrets: watch::Sender<SecretReferences>,
}

impl KubernetesSource {
    /// A source over `connection`. Nothing is asked before [`KubernetesSource::run`].
    pub fn new(connection: Connection, options: Options) -> Self {
        Self { connection, options, board: Arc::default(), secrets: watch::Sender::default() }
    }

    /// `kubernetes:` and the address of the API server.
    pub fn name(&self) -> SourceName {
        format!("kubernetes:{}", self.connection.address()).into()
    }

    /// The way to the API server.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What is known of each kind; stays up to date while the source runs.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.board.subscribe()
    }

    /// Takes the names of the Secrets that are to be followed, each by its own watch; none are before any is named.
    /// They do not hold up the source's own `Synced`; each has one of its own, by [`secret_source_name`].
    pub fn secrets(&self) -> watch::Sender<SecretReferences> {
        self.secrets.clone()
    }

    /// Sends what the API server holds and then what changes, until `shutdown` is done or nobody receives any more.
    ///
    /// `Synced` comes once, when every kind has been listed or is known to be absent or never allowed. An API server
    /// that cannot be reached is waited for.
    pub async fn run(self, batches: mpsc::Sender<Batch>, shutdown: impl Future<Output = ()>) {
        let name = self.name();
        let (signals, joined) = mpsc::channel(SIGNALS_AHEAD);
        let (definitions, changed) = watch::channel(0);
        // Dropping the set ends every task in it.
        let mut tasks = JoinSet::new();
        tasks.spawn(definitions::watch(self.connection.clone(), definitions));
        for watched in WATCHED {
            let follower = Follower::new(
                Subject::all(watched),
                self.connection.clone(),
                self.options.clone(),
                self.board.clone(),
                changed.clone(),
                signals.clone(),
            );
            tasks.spawn(follower.run());
        }
        let secrets = Secrets {
            connection: self.connection.clone(),
            options: self.options.clone(),
            board: self.board.clone(),
            definitions: changed,
            signals,
        };
        tasks.spawn(secrets.follow(self.secrets.subscribe()));
        tokio::select! {
            () = shutdown => {}
            () = Joined::new(name, joined).forward(batches) => {}
        }
    }
}
