//! Drives one stream: moves requests, snapshots and time into its session, and responses out of it.
//!
//! Invariant: a response is taken from the session only when the transport has room for it, so that a slow client
//! costs no memory and is sent the newest state. The task ends with the stream, and its registrations with it.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use pilotage_protocol::{
    ClientProfile, Event as SessionEvent, Interest, Name, RequestError, ResourceType, Response, Session,
};
use pilotage_protos::discovery::Node;
use prost::Message;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tonic::{Status, Streaming};
use tracing::{Instrument, debug, field, info, info_span, warn};

use crate::ads::Shared;
use crate::event::{Answer, Demand, Event, Outcome};
use crate::group::Group;
use crate::message::DiscoveryMessage;
use crate::streams::{Mark, Registration};
use crate::{GroupKey, StreamId};

/// Unknown type URLs that are remembered as logged; beyond that they are only counted by the session.
const LOGGED_TYPES: usize = 64;

/// Serves one stream until the client leaves, breaks the protocol, or the server shuts down.
pub(crate) async fn serve<K: GroupKey, M: DiscoveryMessage>(
    shared: Arc<Shared<K>>,
    peer: Option<SocketAddr>,
    mut requests: Streaming<M>,
    responses: mpsc::Sender<Result<Response, Status>>,
) {
    let id = shared.streams.next_id();
    let span = info_span!(
        "stream",
        stream = %id,
        dialect = ?M::DIALECT,
        peer = peer.map(field::display),
        node = field::Empty,
        group = field::Empty,
    );
    async {
        let end = tokio::select! {
            () = shared.shutdown.cancelled() => Err(shutting_down()),
            end = converse(&shared, (id, peer), &mut requests, &responses) => end,
        };
        match end {
            Ok(()) => debug!("the client has left"),
            Err(status) => {
                info!(code = ?status.code(), reason = status.message(), "the stream ends");
                // If the client is gone as well, nobody needs to be told.
                let _ = responses.try_send(Err(status));
            }
        }
    }
    .instrument(span)
    .await;
}

fn shutting_down() -> Status {
    Status::unavailable("the server is shutting down")
}

async fn converse<K: GroupKey, M: DiscoveryMessage>(
    shared: &Shared<K>,
    (id, peer): (StreamId, Option<SocketAddr>),
    requests: &mut Streaming<M>,
    responses: &mpsc::Sender<Result<Response, Status>>,
) -> Result<(), Status> {
    let Some(mut first) = requests.message().await? else {
        return Ok(());
    };
    let node = first.take_node().filter(|node| !node.id.is_empty()).ok_or_else(|| {
        Status::invalid_argument(
            "the first request of a stream has no node with an id; set it in the bootstrap",
        )
    })?;
    let limit = shared.config.max_node_bytes;
    if node.encoded_len() > limit {
        let message = format!("the node of {} exceeds {limit} bytes", node.id);
        return Err(Status::resource_exhausted(message));
    }
    let mut conversation = Conversation::open(shared, (id, peer), M::DIALECT, node);
    conversation.hear(first)?;
    loop {
        conversation.catch_up();
        let deadline = conversation.session.poll_timeout();
        tokio::select! {
            biased;
            permit = responses.reserve(), if conversation.may_have_responses => {
                let Ok(permit) = permit else {
                    return Ok(());
                };
                if let Some(response) = conversation.next_response() {
                    permit.send(Ok(response));
                }
            }
            () = responses.closed() => return Ok(()),
            () = conversation.registration.entry.listener.woken() => {}
            request = requests.message() => match request? {
                Some(request) => conversation.hear(request)?,
                None => return Ok(()),
            },
            () = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            } => conversation.time_passes(),
        }
    }
}

/// A stream whose client is known.
struct Conversation<'a, K: GroupKey> {
    shared: &'a Shared<K>,
    session: Session,
    registration: Registration<K>,
    group: Arc<Group>,
    /// The generation of the group's snapshot that the session has.
    seen: u64,
    may_have_responses: bool,
}

impl<'a, K: GroupKey> Conversation<'a, K> {
    fn open(
        shared: &'a Shared<K>,
        (id, peer): (StreamId, Option<SocketAddr>),
        dialect: pilotage_protocol::Dialect,
        mut node: Node,
    ) -> Self {
        let group = (shared.assign)(&node);
        // Every Envoy lists hundreds of extensions; kept for each stream they would be most of its memory.
        node.extensions = Vec::new();
        let profile = ClientProfile::from_user_agent(&node.user_agent_name);
        let span = tracing::Span::current();
        span.record("node", node.id.as_str());
        span.record("group", field::debug(&group));
        let node = Arc::new(node);
        let session = Session::new(dialect, profile, shared.config.session.clone(), Instant::now());
        let registration = shared.streams.register(id, (group.clone(), node.clone()), (dialect, peer));
        let (members, is_first) = shared.cache.join(&group, id, registration.entry.listener.clone());
        if is_first {
            shared.queue.push(Event::Demand(Demand::Opened { group, node }));
        }
        debug!("the client has joined");
        Self { shared, session, registration, group: members, seen: 0, may_have_responses: false }
    }

    fn hear<M: DiscoveryMessage>(&mut self, mut request: M) -> Result<(), Status> {
        let entry = &self.registration.entry;
        if let Some(node) = request.take_node()
            && node.id != entry.node.id
        {
            let (former, now) = (&entry.node.id, &node.id);
            let message =
                format!("the node id was {former:?} and is now {now:?}; it may not change on a stream");
            return Err(Status::invalid_argument(message));
        }
        if request.type_url().is_empty() {
            return Err(Status::invalid_argument("a request on an aggregated stream has no type_url"));
        }
        let request = request.into_request();
        entry.listener.announce(&request.resource_type);
        self.session.handle_request(Instant::now(), request).map_err(refusal)?;
        self.may_have_responses = true;
        Ok(())
    }

    fn time_passes(&mut self) {
        self.session.handle_timeout(Instant::now());
        self.may_have_responses = true;
    }

    /// Asks again which group the client belongs to, and goes on there. Until that group has a snapshot, the client
    /// keeps what it was told.
    fn regroup(&mut self) {
        let entry = self.registration.entry.clone();
        let (former, group) = (entry.group(), (self.shared.assign)(&entry.node));
        if group == former {
            return;
        }
        info!(?former, now = ?group, "the client belongs to another group");
        tracing::Span::current().record("group", field::debug(&group));
        entry.set_group(group.clone());
        if self.group.leave(entry.id) {
            self.shared.queue.push(Event::Demand(Demand::Idle { group: former }));
        }
        // What was asked for by name comes first, so that the group's first snapshot holds it.
        for resource_type in self.session.resource_types() {
            let named = self.session.interest(resource_type).map(Interest::named).unwrap_or_default();
            if !named.is_empty() {
                let (group, resource_type) = (group.clone(), resource_type.clone());
                let names = named.iter().cloned().collect();
                self.shared.queue.push(Event::Demand(Demand::Names { group, resource_type, names }));
            }
        }
        let (members, is_first) = self.shared.cache.join(&group, entry.id, entry.listener.clone());
        (self.group, self.seen) = (members, 0);
        if is_first {
            self.shared.queue.push(Event::Demand(Demand::Opened { group, node: entry.node.clone() }));
        }
    }

    /// Takes in the newest snapshot and tells the owner and the registry what came of it.
    fn catch_up(&mut self) {
        if self.registration.entry.listener.take_regroup() {
            self.regroup();
        }
        loop {
            if let Some(snapshot) = self.group.newer(&mut self.seen) {
                self.session.handle_snapshot(Instant::now(), &snapshot);
                self.may_have_responses = true;
            }
            while let Some(event) = self.session.poll_event() {
                self.report(event);
            }
            // Nothing is settled while there may be something to send.
            let settled = self.session.settled().filter(|_| !self.may_have_responses);
            let Some(revision) =
                settled.filter(|revision| self.registration.entry.listener.watermark.raise(*revision))
            else {
                return;
            };
            debug!(%revision, "the client has reached the revision");
            self.shared.cache.progress.notify_waiters();
            // A publication that came just before may have found the mark too low to move it: look again.
        }
    }

    fn next_response(&mut self) -> Option<Response> {
        let response = self.session.poll_response();
        self.may_have_responses = response.is_some();
        let sent = response.as_ref()?;
        debug!(
            resource_type = %sent.resource_type,
            version = %sent.version,
            resources = sent.resources.len(),
            removed = sent.removed.len(),
            "send",
        );
        let mark = Mark::now(sent.version, sent.revision);
        self.registration.entry.record(&sent.resource_type, |status| status.sent = Some(mark));
        response
    }

    fn report(&self, event: SessionEvent) {
        let (response, answer) = match event {
            SessionEvent::Acked { response, refused } => (response, Answer::Acked { refused }),
            SessionEvent::Nacked { response, rejection, suspects, blame } => {
                let names: Vec<&Name> = suspects.iter().map(|suspect| suspect.name()).collect();
                warn!(
                    resource_type = %response.resource_type,
                    version = %response.version,
                    code = rejection.code,
                    message = rejection.message,
                    resources = ?names,
                    "the client rejects a response",
                );
                (response, Answer::Nacked { rejection, suspects, blame })
            }
            SessionEvent::Missing { resource_type, names } => {
                let group = self.registration.entry.group();
                let names = names.into_iter().collect();
                self.shared.queue.push(Event::Demand(Demand::Names { group, resource_type, names }));
                return;
            }
            SessionEvent::UnknownType(resource_type) => {
                self.shared.unknown_types.saw(&resource_type);
                return;
            }
        };
        let entry = &self.registration.entry;
        let mark = Mark::now(response.version, response.revision);
        entry.record(&response.resource_type, |status| match &answer {
            Answer::Acked { .. } => status.acked = Some(mark),
            Answer::Nacked { rejection, .. } => status.nacked = Some((mark, rejection.message.clone())),
        });
        self.shared.queue.push(Event::Outcome(Outcome {
            stream: entry.id,
            node: entry.node.id.as_str().into(),
            group: entry.group(),
            resource_type: response.resource_type,
            version: response.version,
            revision: response.revision,
            answer,
        }));
    }
}

impl<K: GroupKey> Drop for Conversation<'_, K> {
    fn drop(&mut self) {
        if self.group.leave(self.registration.entry.id) {
            let group = self.registration.entry.group();
            self.shared.queue.push(Event::Demand(Demand::Idle { group }));
        }
    }
}

fn refusal(error: RequestError) -> Status {
    let message = error.to_string();
    match error {
        RequestError::WrongDialect(_) | RequestError::TooManyTypes { .. } => {
            Status::invalid_argument(message)
        }
        RequestError::TooManyNames { .. } | RequestError::NamesTooLong { .. } => {
            Status::resource_exhausted(message)
        }
    }
}

/// Type URLs that were asked for and that nobody knows: each is logged once, all are counted.
#[derive(Default)]
pub(crate) struct UnknownTypes {
    seen: Mutex<(HashSet<ResourceType>, u64)>,
}

impl UnknownTypes {
    fn saw(&self, resource_type: &ResourceType) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (logged, count) = &mut *seen;
        *count += 1;
        if logged.len() < LOGGED_TYPES && logged.insert(resource_type.clone()) {
            warn!(
                type_url = resource_type.type_url(),
                "a client asks for a type that is not served; it is ignored"
            );
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}
