//! What the streams tell the owner of the cache: what is needed, and how clients answered.
//!
//! Invariant: a slow owner neither blocks a stream nor misses a demand. Events wait in a queue in which a newer event
//! about the same thing replaces or extends the older one, so that the queue grows with what there is to tell and not
//! with how often it was told.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_protocol::{Blame, Name, Rejection, Resource, ResourceType, Revision, Version};
use pilotage_protos::discovery::Node;
use tokio::sync::Notify;

use crate::{GroupKey, StreamId};

/// Something that the owner of the cache should know.
///
/// ```
/// use pilotage_server::{Answer, Event};
///
/// /// What a metric counts.
/// fn label<K>(event: &Event<K>) -> &'static str {
///     match event {
///         Event::Demand(_) => "demand",
///         Event::Outcome(outcome) => match outcome.answer {
///             Answer::Acked { .. } => "ack",
///             Answer::Nacked { .. } => "nack",
///         },
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Event<K> {
    /// Streams need something, or no longer do.
    Demand(Demand<K>),
    /// A client answered a response.
    Outcome(Outcome<K>),
}

/// What the streams of a group need.
///
/// ```
/// use pilotage_server::{Cache, Demand};
/// use pilotage_server::protocol::{Name, ResourceType, Snapshot};
///
/// /// Adds what is asked for by name, such as the clusters of an on-demand filter, to what the group is told.
/// fn meet(cache: &Cache<String>, demand: Demand<String>, add: fn(Snapshot, &ResourceType, &Name) -> Snapshot) {
///     if let Demand::Names { group, resource_type, names } = demand
///         && let Some(latest) = cache.get(&group)
///     {
///         cache.publish(&group, names.iter().fold(latest, |state, name| add(state, &resource_type, name)));
///     }
/// }
/// ```
#[derive(Clone, Debug)]
pub enum Demand<K> {
    /// The group has its first stream: publish a snapshot for it.
    Opened {
        /// The group.
        group: K,
        /// The node of that stream, without its list of extensions.
        node: Arc<Node>,
    },
    /// Names were asked for that the group's snapshot does not hold.
    Names {
        /// The group.
        group: K,
        /// Their type.
        resource_type: ResourceType,
        /// The names.
        names: BTreeSet<Name>,
    },
    /// The group has no streams any more; [`crate::Cache::evict`] may follow.
    Idle {
        /// The group.
        group: K,
    },
}

/// How a client answered a response.
///
/// ```
/// use pilotage_server::{Answer, Outcome};
///
/// /// A line of a log for each rejection.
/// fn complaint(outcome: &Outcome<String>) -> Option<String> {
///     let Answer::Nacked { rejection, suspects, .. } = &outcome.answer else { return None };
///     let names: Vec<&str> = suspects.iter().map(|resource| &**resource.name()).collect();
///     Some(format!("{} rejects {names:?}: {}", outcome.node, rejection.message))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Outcome<K> {
    /// The stream.
    pub stream: StreamId,
    /// The id of the client's node.
    pub node: Arc<str>,
    /// The client's group.
    pub group: K,
    /// The type.
    pub resource_type: ResourceType,
    /// The version of the response.
    pub version: Version,
    /// The event that the response was the consequence of.
    pub revision: Revision,
    /// ACK or NACK.
    pub answer: Answer,
}

/// An ACK or a NACK.
///
/// ```
/// use pilotage_server::Answer;
///
/// /// Whether the client runs with everything that it was told.
/// fn is_whole(answer: &Answer) -> bool {
///     matches!(answer, Answer::Acked { refused: 0 })
/// }
/// # assert!(is_whole(&Answer::Acked { refused: 0 }) && !is_whole(&Answer::Acked { refused: 1 }));
/// ```
#[derive(Clone, Debug)]
pub enum Answer {
    /// The client accepted the response.
    Acked {
        /// How many resources of the type the client still refuses, so that the response was without them.
        refused: usize,
    },
    /// The client rejected it.
    Nacked {
        /// Its words.
        rejection: Rejection,
        /// The resources that are to blame, or may be; their origins say where they came from.
        suspects: Vec<Resource>,
        /// Whether each of them is to blame.
        blame: Blame,
    },
}

/// The owner's end of the queue. Dropping it ends the reporting.
///
/// ```no_run
/// use pilotage_server::{Cache, Demand, Event, Events};
/// use pilotage_server::protocol::Snapshot;
///
/// /// Publishes a group when its first client comes, and forgets it after the last one.
/// async fn own(cache: Cache<String>, mut events: Events<String>, compile: fn(&str) -> Snapshot) {
///     loop {
///         match events.next().await {
///             Event::Demand(Demand::Opened { group, .. }) => cache.publish(&group, compile(&group)),
///             Event::Demand(Demand::Idle { group }) => drop(cache.evict(&group)),
///             Event::Demand(Demand::Names { .. }) | Event::Outcome(_) => {}
///         }
///     }
/// }
/// ```
pub struct Events<K> {
    queue: Arc<Queue<K>>,
}

impl<K: GroupKey> Events<K> {
    /// The next event; waits for one.
    ///
    /// Demands arrive in the order in which they arose. Of the answers to one type on one stream, the latest ACK and
    /// the latest NACK are kept.
    pub async fn next(&mut self) -> Event<K> {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.queue.wake.notified().await;
        }
    }

    /// The next event, if there is one already.
    ///
    /// ```
    /// # use pilotage_server::{Ads, AdsConfig, Cache};
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// let (ads, mut events) = Ads::new(Cache::new(), |_: &pilotage_server::Node| (), AdsConfig::default(), token);
    /// // In a loop of one's own that has other things to do as well.
    /// while let Some(event) = events.try_next() {
    ///     println!("{event:?}");
    /// }
    /// ```
    pub fn try_next(&mut self) -> Option<Event<K>> {
        let mut waiting = self.queue.waiting();
        let topic = waiting.order.pop_front()?;
        waiting.events.remove(&topic)
    }
}

impl<K> Drop for Events<K> {
    fn drop(&mut self) {
        let mut waiting = self.queue.waiting();
        waiting.is_closed = true;
        waiting.order.clear();
        waiting.events.clear();
    }
}

/// The streams' end of the queue.
pub(crate) struct Queue<K> {
    waiting: Mutex<Waiting<K>>,
    wake: Notify,
}

struct Waiting<K> {
    order: VecDeque<Topic<K>>,
    events: HashMap<Topic<K>, Event<K>>,
    is_closed: bool,
}

/// What an event is about; there is at most one event of a topic in the queue.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Topic<K> {
    Group(K),
    Names(K, ResourceType),
    Acked(StreamId, ResourceType),
    Nacked(StreamId, ResourceType),
}

impl<K: GroupKey> Queue<K> {
    pub(crate) fn new() -> (Arc<Self>, Events<K>) {
        let waiting = Waiting { order: VecDeque::new(), events: HashMap::new(), is_closed: false };
        let queue = Arc::new(Self { waiting: Mutex::new(waiting), wake: Notify::new() });
        (queue.clone(), Events { queue })
    }

    pub(crate) fn push(&self, event: Event<K>) {
        let topic = match &event {
            Event::Demand(Demand::Opened { group, .. } | Demand::Idle { group }) => {
                Topic::Group(group.clone())
            }
            Event::Demand(Demand::Names { group, resource_type, .. }) => {
                Topic::Names(group.clone(), resource_type.clone())
            }
            Event::Outcome(outcome) => match outcome.answer {
                Answer::Acked { .. } => Topic::Acked(outcome.stream, outcome.resource_type.clone()),
                Answer::Nacked { .. } => Topic::Nacked(outcome.stream, outcome.resource_type.clone()),
            },
        };
        let mut waiting = self.waiting();
        if waiting.is_closed {
            return;
        }
        let Waiting { order, events, .. } = &mut *waiting;
        match events.entry(topic) {
            Entry::Vacant(vacant) => {
                order.push_back(vacant.key().clone());
                vacant.insert(event);
            }
            Entry::Occupied(mut former) => match (former.get_mut(), event) {
                (
                    Event::Demand(Demand::Names { names: known, .. }),
                    Event::Demand(Demand::Names { names, .. }),
                ) => known.extend(names),
                (former, event) => *former = event,
            },
        }
        drop(waiting);
        self.wake.notify_one();
    }
}

impl<K> Queue<K> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<K>> {
        // Nothing panics while the lock is held; if something did, the queue would still be whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Event<&'static str> {
        let names = names.iter().map(|&name| Name::from(name)).collect();
        Event::Demand(Demand::Names { group: "g", resource_type: ResourceType::Listener, names })
    }

    #[test]
    fn demands_are_merged_and_none_is_lost() {
        let (queue, mut events) = Queue::new();
        queue.push(Event::Demand(Demand::Opened { group: "g", node: Arc::default() }));
        queue.push(names(&["a"]));
        queue.push(names(&["b"]));
        queue.push(names(&["b"]));
        assert!(matches!(events.try_next(), Some(Event::Demand(Demand::Opened { group: "g", .. }))));
        let Some(Event::Demand(Demand::Names { names, .. })) = events.try_next() else {
            panic!("the names were lost");
        };
        assert_eq!(names.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b"]);
        assert!(events.try_next().is_none());
    }

    #[test]
    fn the_latest_state_of_a_group_counts() {
        let (queue, mut events) = Queue::new();
        queue.push(Event::Demand(Demand::Idle { group: "g" }));
        queue.push(Event::Demand(Demand::Opened { group: "g", node: Arc::default() }));
        assert!(matches!(events.try_next(), Some(Event::Demand(Demand::Opened { .. }))));
        assert!(events.try_next().is_none());
    }

    #[test]
    fn without_an_owner_nothing_is_kept() {
        let (queue, events) = Queue::new();
        drop(events);
        queue.push(names(&["a"]));
        assert!(queue.waiting().events.is_empty());
    }
}
