//! One group of streams and its latest snapshot: who has to be woken by a publication, and who need not be.
//!
//! Invariant: a publication is seen by every stream that it concerns. A stream first announces what it is interested
//! in and then looks for a newer snapshot; a publisher first stores the snapshot and then looks who is interested.
//! Either way round, one of them sees the other. Whom a publication concerns is in [`concern`].

mod concern;
mod listener;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pilotage_protocol::{Collection, Resource, ResourceType, Snapshot, Spared};

use self::concern::Change;
pub(crate) use self::listener::{Errand, Listener};
use crate::StreamId;
use crate::history::History;
use crate::precedents::Docket;
use crate::rejections::{Kind, Rejections};

/// A group's snapshot and its streams.
#[derive(Default)]
pub(crate) struct Group {
    generation: AtomicU64,
    precedents: Docket,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    latest: Option<Snapshot>,
    history: History,
    rejections: Rejections,
    listeners: HashMap<StreamId, Arc<Listener>>,
}

impl Group {
    /// Replaces the snapshot, and wakes the streams that asked for what differs. Returns whether a stream that
    /// is not concerned has thereby reached the new revision.
    pub(crate) fn publish(&self, snapshot: Snapshot) -> bool {
        let mut members = self.members();
        let former = members.latest.replace(snapshot.clone());
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.precedents.clear();
        let mut change = Change::between(former.as_ref(), &snapshot);
        let from = former.as_ref().map(Snapshot::revision);
        if let Some(former) = &former {
            members.history.replaced(former, &snapshot);
        }
        let mut moved = false;
        for listener in members.listeners.values() {
            moved |= listener.hear(&mut change, from, snapshot.revision());
        }
        moved
    }

    /// What was decided for others of the group.
    pub(crate) fn precedents(&self) -> &Docket {
        &self.precedents
    }

    /// The latest snapshot.
    pub(crate) fn latest(&self) -> Option<Snapshot> {
        self.members().latest.clone()
    }

    /// The latest snapshot, if one was published since `seen`, which is brought up to date.
    pub(crate) fn newer(&self, seen: &mut u64) -> Option<Snapshot> {
        if self.generation.load(Ordering::SeqCst) == *seen {
            return None;
        }
        let members = self.members();
        *seen = self.generation.load(Ordering::SeqCst);
        members.latest.clone()
    }

    /// Notes that a client has rejected a resource, and tells all streams if others are spared it from now on.
    pub(crate) fn note_rejection(
        &self,
        client: (&Kind, &Arc<str>),
        resource_type: &ResourceType,
        resource: &Resource,
        threshold: NonZeroUsize,
    ) -> bool {
        let mut members = self.members();
        let spares = members.rejections.note(client, resource_type, resource, threshold);
        if spares {
            members.listeners.values().for_each(|listener| listener.send_on(Errand::Spare));
        }
        spares
    }

    /// What clients of a kind are spared.
    pub(crate) fn spared(&self, kind: &Kind) -> Option<Arc<Spared>> {
        self.members().rejections.spared(kind)
    }

    /// Keeps what the client of a stream that ends may come back with.
    pub(crate) fn remember(&self, states: Vec<(ResourceType, Arc<Collection>)>) {
        let mut members = self.members();
        states.into_iter().for_each(|(resource_type, state)| members.history.keep(resource_type, state));
    }

    /// The state that clients of the group had under this version of a type, if that was not long ago.
    pub(crate) fn recollection(
        &self,
        resource_type: &ResourceType,
        version: &str,
    ) -> Option<Arc<Collection>> {
        self.members().history.find(resource_type, version)
    }

    /// Adds a stream, and says whether it is the first.
    pub(crate) fn join(&self, stream: StreamId, listener: Arc<Listener>) -> bool {
        let mut members = self.members();
        let is_first = members.listeners.is_empty();
        members.listeners.insert(stream, listener);
        is_first
    }

    /// Takes a stream away, and says whether it was the last.
    pub(crate) fn leave(&self, stream: StreamId) -> bool {
        let mut members = self.members();
        members.listeners.remove(&stream).is_some() && members.listeners.is_empty()
    }

    pub(crate) fn is_deserted(&self) -> bool {
        self.members().listeners.is_empty()
    }

    fn members(&self) -> MutexGuard<'_, Members> {
        // Nothing panics while the lock is held; if something did, the maps would still be whole.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Instant;

    use pilotage_protocol::{
        ClientProfile, Collection, Dialect, Interest, Name, Names, Request, Revision, Session, SessionConfig,
        Wildcard,
    };
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    fn snapshot(revision: u64, resource_type: ResourceType) -> Snapshot {
        let collection: Collection = [Resource::new("a", vec![1])].into_iter().collect();
        Snapshot::new(Revision(revision)).with(resource_type, Arc::new(collection))
    }

    #[test]
    fn a_stream_that_is_not_concerned_moves_on_without_being_woken() {
        let group = Group::default();
        let first = snapshot(1, ResourceType::Cluster);
        group.publish(first.clone());
        let listener = Arc::new(Listener::default());
        assert!(group.join(StreamId(1), listener.clone()));
        listener.announce(&ResourceType::Cluster, &Interest::new(Wildcard::Explicit, []));
        listener.watermark.raise(Revision(1));

        let routes = Arc::new(Collection::default());
        let second = first.at(Revision(2)).with(ResourceType::Route, routes);
        assert!(group.publish(second.clone()));
        assert_eq!(listener.watermark.get(), Some(Revision(2)));

        let clusters = Arc::new(Collection::default());
        assert!(!group.publish(second.at(Revision(3)).with(ResourceType::Cluster, clusters)));
        assert_eq!(listener.watermark.get(), Some(Revision(2)));
        assert!(group.leave(StreamId(1)));
        assert!(!group.leave(StreamId(1)));
    }

    fn asks(names: &[usize]) -> Interest {
        Interest::new(Wildcard::None, names.iter().map(|name| format!("name-{name:02}").into()))
    }

    /// A stream whose session is told of what its listener is woken for, and another that is told of everything.
    struct Stream {
        listener: Arc<Listener>,
        woken: Session,
        attentive: Session,
    }

    impl Stream {
        fn new(now: Instant) -> Self {
            let (of, config) = (ClientProfile::Envoy, SessionConfig::default);
            let session = || Session::new(Dialect::Delta, of, config(), now);
            Self { listener: Arc::default(), woken: session(), attentive: session() }
        }

        fn ask(&mut self, now: Instant, group: &Group, of: &ResourceType, interest: &Interest) {
            let names = Names::Shared { interest: interest.clone(), version: String::new() };
            let request = Request { resource_type: of.clone(), nonce: String::new(), error: None, names };
            for session in [&mut self.woken, &mut self.attentive] {
                session.handle_request(now, request.clone()).expect("a request within the limits");
            }
            self.listener.announce(of, self.woken.interest(of).expect("it was asked for"));
            // A request makes the stream look for a newer snapshot.
            let latest = group.latest().expect("a snapshot");
            self.look(now, &latest);
            self.woken.handle_snapshot(now, &latest);
            self.compare(now, &latest);
        }

        fn look(&mut self, now: Instant, latest: &Snapshot) {
            self.attentive.handle_snapshot(now, latest);
            if self.listener.has_been_woken() {
                self.woken.handle_snapshot(now, latest);
            }
        }

        fn compare(&mut self, now: Instant, latest: &Snapshot) {
            let said = speak(now, &mut self.attentive);
            assert_eq!(speak(now, &mut self.woken), said, "woken, and attentive");
            let settled = self.woken.settled().expect("everything is answered");
            self.listener.watermark.raise(settled);
            assert_eq!(self.listener.watermark.get(), Some(latest.revision()));
        }
    }

    /// Lets a session say all that it has to say, and accepts it.
    fn speak(now: Instant, session: &mut Session) -> Vec<String> {
        let mut said = Vec::new();
        while let Some(response) = session.poll_response() {
            let resources: Vec<_> = response.resources.iter().collect();
            said.push(format!("{} {resources:?} {:?}", response.resource_type, response.removed));
            let (subscribe, unsubscribe, initial_versions) = Default::default();
            let request = Request {
                resource_type: response.resource_type,
                nonce: response.nonce.to_string(),
                error: None,
                names: Names::Change { subscribe, unsubscribe, initial_versions },
            };
            session.handle_request(now, request).expect("an acknowledgement");
        }
        said
    }

    #[derive(Clone, Debug)]
    enum Step {
        Ask { stream: usize, of: usize, names: BTreeSet<usize> },
        Change { of: usize, changes: Vec<(usize, Option<u8>)> },
        Rebuild { of: usize },
    }

    const TYPES: [ResourceType; 2] = [ResourceType::Cluster, ResourceType::Endpoint];

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let content = proptest::option::weighted(0.8, 0..4_u8);
        let step = prop_oneof![
            2 => (0..4_usize, 0..2_usize, btree_set(0..20_usize, 1..14))
                .prop_map(|(stream, of, names)| Step::Ask { stream, of, names }),
            4 => (0..2_usize, vec((0..20_usize, content), 0..3))
                .prop_map(|(of, changes)| Step::Change { of, changes }),
            1 => (0..2_usize).prop_map(|of| Step::Rebuild { of }),
        ];
        vec(step, 1..60)
    }

    /// Returns how often a stream was left asleep.
    fn nobody_misses_anything(steps: Vec<Step>) -> usize {
        let (group, now, mut asleep) = (Group::default(), Instant::now(), 0);
        let mut latest = Snapshot::new(Revision(1));
        group.publish(latest.clone());
        let mut streams: Vec<Stream> = (0..4).map(|_| Stream::new(now)).collect();
        for (id, stream) in streams.iter().enumerate() {
            group.join(StreamId(id as u64), stream.listener.clone());
        }
        for step in steps {
            let (of, collection) = match step {
                Step::Ask { stream, of, names } => {
                    let names: Vec<usize> = names.into_iter().collect();
                    streams[stream].ask(now, &group, &TYPES[of], &asks(&names));
                    continue;
                }
                Step::Change { of, changes } => {
                    let name = |name: usize| Name::from(format!("name-{name:02}"));
                    let removals = changes.iter().filter(|(_, content)| content.is_none());
                    let removals: Vec<Name> = removals.map(|(one, _)| name(*one)).collect();
                    let upserts = changes.iter().filter_map(|(one, content)| {
                        Some(Resource::new(name(*one), content.as_ref()?.to_string()))
                    });
                    let former = latest.collection(&TYPES[of]).cloned().unwrap_or_default();
                    (of, former.with_changes(upserts, removals))
                }
                Step::Rebuild { of } => {
                    let former = latest.collection(&TYPES[of]).cloned().unwrap_or_default();
                    (of, former.iter().cloned().collect())
                }
            };
            latest = latest.clone().at(Revision(latest.revision().0 + 1));
            latest = latest.with(TYPES[of].clone(), Arc::new(collection));
            group.publish(latest.clone());
            for stream in &mut streams {
                let is_woken = stream.listener.has_been_woken();
                asleep += usize::from(!is_woken);
                stream.attentive.handle_snapshot(now, &latest);
                if is_woken {
                    stream.woken.handle_snapshot(now, &latest);
                }
                // A stream that has asked for nothing has reached nothing until it looks.
                if stream.woken.resource_types().len() > 0 {
                    stream.compare(now, &latest);
                }
            }
        }
        asleep
    }

    #[test]
    fn only_those_who_asked_for_a_name_are_woken() {
        let many: BTreeSet<usize> = (0..12).collect();
        let steps = vec![
            Step::Ask { stream: 0, of: 0, names: many.clone() },
            Step::Ask { stream: 1, of: 0, names: many },
            Step::Ask { stream: 2, of: 0, names: BTreeSet::from([12]) },
            Step::Ask { stream: 3, of: 1, names: BTreeSet::from([3]) },
            Step::Change { of: 0, changes: vec![(0, Some(0)), (12, Some(0))] },
            // From here on two are woken, then one, then none.
            Step::Change { of: 0, changes: vec![(3, Some(1))] },
            Step::Change { of: 0, changes: vec![(12, Some(1))] },
            Step::Change { of: 0, changes: vec![(15, Some(1))] },
        ];
        // When the collection appears, everyone who asked for the type looks.
        assert_eq!(nobody_misses_anything(steps), 1 + 2 + 3 + 4);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn waking_by_name_is_as_good_as_waking_everyone(steps in steps()) {
            nobody_misses_anything(steps);
        }
    }
}
