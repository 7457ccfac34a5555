//! Every open stream: who it is, and for each type what was sent, accepted and rejected.
//!
//! Invariant: a stream writes only its own entry, and the entry is gone when the stream is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dashmap::DashMap;
use pilotage_protocol::{Dialect, Holding, ResourceType, Revision, Version};
use pilotage_protos::discovery::Node;
use tokio::sync::{Notify, oneshot};

use crate::GroupKey;
use crate::group::{Errand, Listener};

/// Identifies a stream within this process.
///
/// ```
/// use std::collections::HashMap;
/// use pilotage_server::{Observer, StreamId, StreamStatus};
///
/// /// The ids of the nodes that are connected now.
/// #[derive(Default)]
/// struct Connected(std::sync::Mutex<HashMap<StreamId, String>>);
///
/// impl<K> Observer<K> for Connected {
///     fn opened(&self, stream: &StreamStatus<K>) {
///         self.0.lock().unwrap().insert(stream.id, stream.node.id.clone());
///     }
///     fn closed(&self, stream: StreamId) {
///         self.0.lock().unwrap().remove(&stream);
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub(crate) u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The open streams; a clone is another handle to the same registry.
pub struct Streams<K> {
    entries: Arc<DashMap<StreamId, Arc<Entry<K>>>>,
    last_id: Arc<AtomicU64>,
    progress: Arc<Notify>,
}

/// One stream as it stood when it was looked at.
///
/// ```
/// use pilotage_server::Streams;
///
/// /// A line for each client, for an operator.
/// fn table(streams: &Streams<String>) -> String {
///     let lines = streams.list().into_iter().map(|one| format!("{} {} {:?}", one.node.id, one.group, one.settled));
///     lines.collect::<Vec<_>>().join("\n")
/// }
/// ```
#[derive(Clone, Debug)]
pub struct StreamStatus<K> {
    /// The stream.
    pub id: StreamId,
    /// The client's group.
    pub group: K,
    /// The node that the client sent first, without its list of extensions.
    pub node: Arc<Node>,
    /// SotW or delta.
    pub dialect: Dialect,
    /// The address that the client connected from.
    pub peer: Option<SocketAddr>,
    /// When the stream was opened.
    pub since: SystemTime,
    /// The revision that the client has in full; what it does not have of it, it has rejected.
    pub settled: Option<Revision>,
    /// What was said about each type.
    pub types: BTreeMap<ResourceType, TypeStatus>,
}

/// Where one type stands on a stream.
///
/// ```
/// use pilotage_server::TypeStatus;
///
/// /// Whether a client runs with the latest that it was sent.
/// fn is_in_sync(status: &TypeStatus) -> bool {
///     status.sent.map(|mark| mark.version) == status.acked.map(|mark| mark.version)
/// }
/// # assert!(is_in_sync(&TypeStatus::default()));
/// ```
#[derive(Clone, Debug, Default)]
pub struct TypeStatus {
    /// The latest response.
    pub sent: Option<Mark>,
    /// The latest response that the client accepted.
    pub acked: Option<Mark>,
    /// The latest response that the client rejected, and its words.
    pub nacked: Option<(Mark, String)>,
}

/// A version, and when something happened to it.
///
/// ```
/// use std::time::Duration;
/// use pilotage_server::TypeStatus;
///
/// /// How long a client took to accept what it was sent last, as far as the clock can tell.
/// fn delay(status: &TypeStatus) -> Option<Duration> {
///     status.acked?.at.duration_since(status.sent?.at).ok()
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The version.
    pub version: Version,
    /// The event that it was the consequence of.
    pub revision: Revision,
    /// When.
    pub at: SystemTime,
}

impl Mark {
    pub(crate) fn now(version: Version, revision: Revision) -> Self {
        Self { version, revision, at: SystemTime::now() }
    }
}

/// A stream's own entry; dropping it takes the stream out of the registry.
pub(crate) struct Registration<K: GroupKey> {
    pub(crate) entry: Arc<Entry<K>>,
    streams: Streams<K>,
}

pub(crate) struct Entry<K> {
    pub(crate) id: StreamId,
    group: Mutex<K>,
    pub(crate) node: Arc<Node>,
    pub(crate) listener: Arc<Listener>,
    dialect: Dialect,
    peer: Option<SocketAddr>,
    since: SystemTime,
    /// In the order of their first mention: they are few, and a map would have room for many.
    types: Mutex<Vec<(ResourceType, TypeStatus)>>,
}

impl<K: GroupKey> Streams<K> {
    pub(crate) fn new(progress: Arc<Notify>) -> Self {
        Self { entries: Arc::default(), last_id: Arc::default(), progress }
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One stream, if it is open.
    pub fn get(&self, id: StreamId) -> Option<StreamStatus<K>> {
        let entry = self.entries.get(&id)?.clone();
        Some(entry.status())
    }

    /// What the client of a stream has, was sent or has rejected; `None` if the stream is not open, or ends meanwhile.
    ///
    /// ```no_run
    /// # use pilotage_server::{StreamId, Streams};
    /// # async fn example(streams: Streams<String>, id: StreamId) {
    /// for holding in streams.holdings(id).await.unwrap_or_default() {
    ///     println!("{holding:?}");
    /// }
    /// # }
    /// ```
    pub async fn holdings(&self, id: StreamId) -> Option<Vec<Holding>> {
        let listener = self.entries.get(&id)?.listener.clone();
        let (reply, answer) = oneshot::channel();
        listener.send_on(Errand::Report(reply));
        answer.await.ok()
    }

    /// All open streams, by id.
    pub fn list(&self) -> Vec<StreamStatus<K>> {
        // The map is left before the entries are locked.
        let entries: Vec<Arc<Entry<K>>> = self.entries.iter().map(|entry| entry.value().clone()).collect();
        let mut list: Vec<_> = entries.iter().map(|entry| entry.status()).collect();
        list.sort_by_key(|status| status.id);
        list
    }

    /// Waits until every open stream has this revision in full.
    ///
    /// A stream that opens meanwhile is waited for as well, and one that closes is not; without any stream this returns
    /// at once.
    ///
    /// ```no_run
    /// # use pilotage_server::{Cache, Streams};
    /// # use pilotage_server::protocol::{Revision, Snapshot};
    /// # async fn example(cache: Cache<String>, streams: Streams<String>, state: Snapshot) {
    /// cache.publish(&"everyone".to_owned(), state.at(Revision(7)));
    /// streams.reached(Revision(7)).await;
    /// // Every client now runs with it, or has rejected what it does not run with.
    /// # }
    /// ```
    pub async fn reached(&self, revision: Revision) {
        loop {
            let mut progress = pin!(self.progress.notified());
            // From here on no progress is missed.
            progress.as_mut().enable();
            let has_reached = |entry: &Entry<K>| entry.listener.watermark.get() >= Some(revision);
            if self.entries.iter().all(|entry| has_reached(&entry)) {
                return;
            }
            progress.await;
        }
    }

    /// Has every stream ask again which group its node belongs to: what the function from node to group looks at has
    /// changed. A stream whose group is another one now goes on there, without a reconnect.
    ///
    /// ```
    /// use std::sync::{Arc, RwLock};
    /// use pilotage_server::{Ads, AdsConfig, Cache, Node};
    ///
    /// // Which nodes are canaries is looked up, and may change while they are connected.
    /// let canaries = Arc::new(RwLock::new(vec!["edge-1".to_owned()]));
    /// let looked_up = canaries.clone();
    /// let assign = move |node: &Node| looked_up.read().unwrap().contains(&node.id);
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// let (ads, _) = Ads::new(Cache::new(), assign, AdsConfig::default(), token);
    /// canaries.write().unwrap().clear();
    /// ads.streams().regroup();
    /// ```
    pub fn regroup(&self) {
        self.entries.iter().for_each(|entry| entry.listener.regroup());
    }

    pub(crate) fn next_id(&self) -> StreamId {
        StreamId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn register(
        &self,
        id: StreamId,
        (group, node): (K, Arc<Node>),
        (dialect, peer): (Dialect, Option<SocketAddr>),
    ) -> Registration<K> {
        let listener = Arc::new(Listener::default());
        let since = SystemTime::now();
        let entry = Arc::new(Entry {
            id,
            group: Mutex::new(group),
            node,
            listener,
            dialect,
            peer,
            since,
            types: Mutex::default(),
        });
        self.entries.insert(id, entry.clone());
        Registration { entry, streams: self.clone() }
    }
}

impl<K> Entry<K> {
    /// Writes what happened to a type.
    pub(crate) fn record(&self, resource_type: &ResourceType, write: impl FnOnce(&mut TypeStatus)) {
        let mut types = self.types();
        if let Some((_, status)) = types.iter_mut().find(|(known, _)| known == resource_type) {
            return write(status);
        }
        let mut status = TypeStatus::default();
        write(&mut status);
        types.reserve_exact(1);
        types.push((resource_type.clone(), status));
    }

    fn types(&self) -> MutexGuard<'_, Vec<(ResourceType, TypeStatus)>> {
        // Nothing panics while the lock is held; if something did, the list would still be whole.
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: GroupKey> Entry<K> {
    /// The group that the stream belongs to at the moment.
    pub(crate) fn group(&self) -> K {
        self.group.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_group(&self, group: K) {
        *self.group.lock().unwrap_or_else(PoisonError::into_inner) = group;
    }

    fn status(&self) -> StreamStatus<K> {
        StreamStatus {
            id: self.id,
            group: self.group(),
            node: self.node.clone(),
            dialect: self.dialect,
            peer: self.peer,
            since: self.since,
            settled: self.listener.watermark.get(),
            types: self.types().iter().cloned().collect(),
        }
    }
}

impl<K: GroupKey> Drop for Registration<K> {
    fn drop(&mut self) {
        self.streams.entries.remove(&self.entry.id);
        self.streams.progress.notify_waiters();
    }
}

impl<K> Clone for Streams<K> {
    fn clone(&self) -> Self {
        Self { entries: self.entries.clone(), last_id: self.last_id.clone(), progress: self.progress.clone() }
    }
}
