//! Secrets, each watched by its own name for as long as something refers to it. No list of all of them is ever asked
//! for, so that a role can be held to those that are needed.
//!
//! Whoever refers to them says so through [`KubernetesSource::secrets`](super::KubernetesSource::secrets), and hears
//! `Synced` by the name of [`source_name`] when a Secret has been read for the first time, or will not be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::follow::Follower;
use super::kind::SECRETS;
use super::status::Board;
use super::subject::Subject;
use super::{Connection, Options, Signal};
use crate::{Change, Kind, NamespacedName, ObjectKey, SourceName};

/// A refusal is believed sooner than that of a kind: references come from an API server that answers.
const PATIENCE: Duration = Duration::from_secs(2);

/// The Secrets that something refers to, by namespace and name, with one of the objects that do.
pub type SecretReferences = BTreeMap<NamespacedName, ObjectKey>;

/// The name by which `Synced` is said of a single Secret.
pub fn source_name((namespace, name): &NamespacedName) -> SourceName {
    format!("kubernetes, by reference: Secret {namespace}/{name}").into()
}

/// What the followers of Secrets share.
pub(super) struct Secrets {
    pub(super) connection: Connection,
    pub(super) options: Options,
    pub(super) board: Arc<Board>,
    pub(super) definitions: watch::Receiver<u64>,
    pub(super) signals: mpsc::Sender<Signal>,
}

/// A follower; dropping it ends it.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Secrets {
    /// Follows what is referred to, until nobody can refer to anything any more.
    pub(super) async fn follow(self, mut references: watch::Receiver<SecretReferences>) {
        let mut running: HashMap<NamespacedName, Running> = HashMap::new();
        loop {
            let wanted = references.borrow_and_update().clone();
            let over: Vec<_> = running.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
            for name in over {
                if let Some(mut follower) = running.remove(&name)
                    && self.end(&mut follower, &name).await.is_err()
                {
                    return;
                }
            }
            for (name, referrer) in wanted {
                running.entry(name).or_insert_with_key(|name| self.start(name.clone(), referrer));
            }
            if references.changed().await.is_err() {
                return;
            }
        }
    }

    fn start(&self, name: NamespacedName, referrer: ObjectKey) -> Running {
        let subject = Subject { watched: &SECRETS, name: Some(name), referrer: Some(referrer) };
        let options = Options { patience: self.options.patience.min(PATIENCE), ..self.options.clone() };
        let follower = Follower::new(
            subject,
            self.connection.clone(),
            options,
            self.board.clone(),
            self.definitions.clone(),
            self.signals.clone(),
        );
        Running(tokio::spawn(follower.run()))
    }

    /// Ends a follower, and takes back what it has said.
    async fn end(
        &self,
        follower: &mut Running,
        name: &NamespacedName,
    ) -> Result<(), mpsc::error::SendError<Signal>> {
        follower.0.abort();
        // It must not speak after its object has been taken back; that it was aborted is what was wanted.
        let _ = (&mut follower.0).await;
        self.board.forget(name);
        let key = ObjectKey::new(Kind::Secret, name.0.clone(), name.1.clone());
        let solved = |scope| Change::Problems { scope, problems: Vec::new() };
        let changes =
            vec![solved(source_name(name)), solved(format!("kubernetes {key}").into()), Change::Delete(key)];
        self.signals.send(Signal::said(changes)).await
    }
}
