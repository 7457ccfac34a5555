//! Drives one stream: moves requests, snapshots and time into its session, and responses out of it.
//!
//! Invariant: a response is taken from the session only when the transport has room for it, so that a slow client
//! costs no memory and is sent the newest state. The task ends with the stream, and its registrations with it. What a
//! request does is in [`intake`], what is told of the answers in [`report`].

mod intake;
mod report;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use pilotage_protocol::{ClientFeatures, ClientProfile, Dialect, Interest, ResourceType, Session, Snapshot};
use pilotage_protos::discovery::Node;
use prost::Message;
use tokio::task::coop::consume_budget;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::{Instrument, debug, field, info, info_span, warn};

pub(crate) use self::report::UnknownTypes;
use crate::ads::Shared;
use crate::auth::{Credentials, Permit};
use crate::event::{Demand, Event};
use crate::frames::{Requests, decode};
use crate::group::{Errand, Group};
use crate::message::DiscoveryMessage;
use crate::outflow::{Abandoned, Outlet, Parts};
use crate::outline::Outline;
use crate::rejections::Kind;
use crate::streams::{Mark, Registration};
use crate::transfer::Transfer;
use crate::{GroupKey, StreamId};

/// What is known of a stream before its client has said anything.
pub(crate) struct Caller {
    pub(crate) credentials: Credentials,
    /// The type that a single-type service serves.
    pub(crate) only: Option<ResourceType>,
    /// Cancelled when the connection has reached its age.
    pub(crate) retirement: Option<CancellationToken>,
}

/// How long the rest of a first request may take once it has begun; others wait for it.
const ADMISSION: Duration = Duration::from_secs(5);

/// Serves one stream until the client leaves, breaks the protocol, or the server shuts down.
pub(crate) async fn serve<K: GroupKey, M: DiscoveryMessage>(
    shared: Arc<Shared<K>>,
    caller: Caller,
    mut requests: Requests,
    responses: Outlet,
) {
    let id = shared.streams.next_id();
    let span = info_span!(
        "stream",
        stream = %id,
        dialect = ?M::DIALECT,
        peer = caller.credentials.peer.map(field::display),
        node = field::Empty,
        group = field::Empty,
    );
    async {
        // Polled only when it was woken: to look at a token takes a lock that all streams share.
        let mut shutdown = FuturesUnordered::from_iter([shared.shutdown.cancelled()]);
        let end = tokio::select! {
            biased;
            _ = shutdown.next() => Err(shutting_down()),
            end = converse::<K, M>(&shared, (id, &caller), &mut requests, &responses) => end,
        };
        match end {
            Ok(()) => debug!("the client has left"),
            Err(status) => {
                info!(code = ?status.code(), reason = status.message(), "the stream ends");
                // If the client is gone as well, nobody needs to be told.
                responses.end(Some(status));
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
    (id, caller): (StreamId, &Caller),
    requests: &mut Requests,
    responses: &Outlet,
) -> Result<(), Status> {
    let permit = permit(shared, caller).await?;
    let patience = shared.config.first_message_timeout;
    let begun = timeout(patience, requests.begun()).await;
    begun.map_err(|_| Status::deadline_exceeded(format!("no request came within {patience:?}")))??;
    // Clients that return all at once send large requests: only some of them are taken in at a time (H56).
    let mut admission = shared.admission.acquire().await.ok();
    let Some(first) = timeout(ADMISSION, requests.next())
        .await
        .map_err(|_| Status::deadline_exceeded("the first request did not arrive whole"))??
    else {
        return Ok(());
    };
    let mut conversation = introduce::<K, M>(shared, (id, caller), permit, first)?;
    let mut timer = std::pin::pin!(sleep(Duration::ZERO));
    let mut alarm = None;
    loop {
        conversation.catch_up();
        if conversation.may_have_responses {
            match responses.has_room() {
                Ok(true) => {
                    if let Some(parts) = conversation.next_response() {
                        responses.send(parts);
                        drop(admission.take());
                    }
                    continue;
                }
                Ok(false) => {}
                Err(Abandoned) => return Ok(()),
            }
        } else {
            drop(admission.take());
        }
        // Every response has a deadline, and most are answered long before: a timer that is left to go off too early
        // costs less than one that is set anew for each.
        if let Some(deadline) = conversation.deadline()
            && alarm.is_none_or(|alarm| deadline < alarm)
        {
            timer.as_mut().reset(deadline.into());
            alarm = Some(deadline);
        }
        tokio::select! {
            biased;
            room = poll_fn(|context| responses.poll(context, conversation.may_have_responses)) => {
                if let Err(Abandoned) = room {
                    return Ok(());
                }
            }
            () = conversation.registration.entry.listener.woken() => {}
            request = requests.next() => match request? {
                Some(message) => {
                    conversation.read::<M>(&message)?;
                    // A client that says more and more must let others have their turn.
                    consume_budget().await;
                }
                None => return Ok(()),
            },
            () = timer.as_mut(), if alarm.is_some() => {
                alarm = None;
                conversation.time_passes()?;
            }
            // A stream that ends before its first response looks like a failure (H53).
            () = retired(caller), if conversation.has_responded => {
                return Err(Status::unavailable("the connection has reached its age; connect again"));
            }
        }
    }
}

/// Begins the conversation with the first request, of which nothing is kept: it may be large.
fn introduce<'a, K: GroupKey, M: DiscoveryMessage>(
    shared: &'a Shared<K>,
    (id, caller): (StreamId, &Caller),
    permit: Option<Permit>,
    first: Bytes,
) -> Result<Conversation<'a, K>, Status> {
    let outline = Outline::of(M::DIALECT, &first);
    let (node, request) = match &outline {
        Some(outline) => (outline.node.map(decode::<Node>).transpose()?, None),
        None => {
            let mut request: M = decode(&first)?;
            (request.take_node(), Some(request))
        }
    };
    let mut node = node.filter(|node| !node.id.is_empty()).ok_or_else(|| {
        Status::invalid_argument(
            "the first request of a stream has no node with an id; set it in the bootstrap",
        )
    })?;
    if let Some(permit) = &permit {
        permit.check(&mut node).map_err(|status| refused(shared, caller, Some(&node), status))?;
    }
    let limit = shared.config.max_node_bytes;
    if node.encoded_len() > limit {
        let message = format!("the node of {} exceeds {limit} bytes", node.id);
        return Err(Status::resource_exhausted(message));
    }
    let mut conversation = Conversation::open(shared, (id, caller), M::DIALECT, node);
    conversation.ends = permit.and_then(|permit| permit.ends());
    match (request, &outline) {
        (None, Some(outline)) => conversation.take_in::<M>(&first, outline)?,
        (request, _) => conversation.hear(request.unwrap_or_default())?,
    }
    Ok(conversation)
}

/// What the client may be, where that is asked.
async fn permit<K: GroupKey>(shared: &Shared<K>, caller: &Caller) -> Result<Option<Permit>, Status> {
    let Some(authenticator) = &shared.config.authenticator else { return Ok(None) };
    let patience = shared.config.first_message_timeout;
    let asked = timeout(patience, authenticator.authenticate(caller.credentials.clone())).await;
    let asked =
        asked.unwrap_or_else(|_| Err(Status::unavailable("who the client is was not found out in time")));
    asked.map(Some).map_err(|status| refused(shared, caller, None, status))
}

/// Logs a refusal, once for each client and reason: a client that is refused tries again for ever.
fn refused<K: GroupKey>(shared: &Shared<K>, caller: &Caller, node: Option<&Node>, status: Status) -> Status {
    let peer = caller.credentials.peer.map(|peer| peer.ip());
    let node = node.map(|node| node.id.as_str());
    if shared.complaints.is_new((peer, node, status.message())) {
        warn!(node, code = ?status.code(), reason = status.message(), "a client is refused; this is not said again");
    }
    status
}

async fn retired(caller: &Caller) {
    match &caller.retirement {
        Some(retirement) => retirement.cancelled().await,
        None => std::future::pending().await,
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
    has_responded: bool,
    /// The snapshot that the session has.
    told: Option<Snapshot>,
    transfer: Option<Transfer>,
    kind: Kind,
    only: Option<ResourceType>,
    /// When what the client has shown of who it is ends.
    ends: Option<Instant>,
    /// SotW: the encoded names of the latest request of a type, where they are many.
    lists: HashMap<ResourceType, u128>,
}

impl<'a, K: GroupKey> Conversation<'a, K> {
    fn open(
        shared: &'a Shared<K>,
        (id, caller): (StreamId, &Caller),
        dialect: Dialect,
        mut node: Node,
    ) -> Self {
        let group = (shared.assign)(&node);
        // Every Envoy lists hundreds of extensions; kept for each stream they would be most of its memory.
        node.extensions = Vec::new();
        let profile = ClientProfile::from_user_agent(&node.user_agent_name);
        let span = tracing::Span::current();
        span.record("node", node.id.as_str());
        span.record("group", field::debug(&group));
        let kind = Kind::of(&node);
        let features = ClientFeatures::listed(node.client_features.iter().map(String::as_str));
        let node = Arc::new(node);
        let session = Session::new(dialect, profile, shared.config.session.clone(), Instant::now())
            .with_features(features);
        let registration =
            shared.streams.register(id, (group.clone(), node.clone()), (dialect, caller.credentials.peer));
        let (members, is_first) = shared.cache.join(&group, id, registration.entry.listener.clone());
        if is_first {
            shared.queue.push(Event::Demand(Demand::Opened { group, node }));
        }
        debug!("the client has joined");
        let mut conversation = Self {
            shared,
            session,
            registration,
            group: members,
            seen: 0,
            may_have_responses: false,
            has_responded: false,
            told: None,
            transfer: None,
            kind,
            only: caller.only.clone(),
            ends: None,
            lists: HashMap::new(),
        };
        conversation.spare();
        if let Some(status) = shared.streams.get(id) {
            shared.observer.opened(&status);
        }
        conversation
    }

    fn deadline(&self) -> Option<Instant> {
        let transfer = self.transfer.as_ref().and_then(Transfer::deadline);
        self.session.poll_timeout().into_iter().chain(transfer).chain(self.ends).min()
    }

    fn time_passes(&mut self) -> Result<(), Status> {
        let now = Instant::now();
        if self.ends.is_some_and(|ends| ends <= now) {
            return Err(Status::unauthenticated(
                "what the client has shown of who it is ends; connect again, and show what has been renewed",
            ));
        }
        self.session.handle_timeout(now);
        self.may_have_responses = true;
        Ok(())
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
        self.transfer = Some(Transfer::new(&self.session, self.told.as_ref(), Instant::now()));
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
        self.spare();
        if is_first {
            self.shared.queue.push(Event::Demand(Demand::Opened { group, node: entry.node.clone() }));
        }
    }

    /// Does what others want of this stream.
    fn run_errands(&mut self) {
        for errand in self.registration.entry.listener.take_errands() {
            match errand {
                Errand::Spare => self.spare(),
                // Whoever asked may have gone.
                Errand::Report(reply) => drop(reply.send(self.session.holdings())),
            }
        }
    }

    fn spare(&mut self) {
        if let Some(spared) = self.group.spared(&self.kind) {
            self.session.handle_spared(Instant::now(), spared);
        }
    }

    /// Takes in the newest snapshot and tells the owner and the registry what came of it.
    fn catch_up(&mut self) {
        if self.registration.entry.listener.take_regroup() {
            self.regroup();
        }
        self.run_errands();
        loop {
            let (newer, now) = (self.group.newer(&mut self.seen), Instant::now());
            let newer = match &mut self.transfer {
                Some(transfer) => transfer.advance(newer, now),
                None => newer,
            };
            if let Some(snapshot) = newer {
                self.transfer = None;
                self.session.handle_snapshot(now, &snapshot);
                self.told = Some(snapshot);
                self.may_have_responses = true;
            }
            while let Some(event) = self.session.poll_event() {
                self.report(event);
            }
            // Nothing is settled while there may be something to send.
            if self.may_have_responses || self.transfer.is_some() {
                return;
            }
            let watermark = &self.registration.entry.listener.watermark;
            let latest = self.told.as_ref().map(Snapshot::revision);
            let is_behind = watermark.get() < latest;
            let settled = is_behind.then(|| self.session.settled()).flatten();
            let Some(revision) = settled.filter(|revision| watermark.raise(*revision)) else {
                return;
            };
            debug!(%revision, "the client has reached the revision");
            self.shared.cache.progress.notify_waiters();
            // A publication that came just before may have found the mark too low to move it: look again.
        }
    }

    fn next_response(&mut self) -> Option<Parts> {
        let response = self.session.poll_response_with(self.group.precedents());
        self.may_have_responses = response.is_some();
        let sent = response?;
        debug!(
            resource_type = %sent.resource_type,
            version = %sent.version,
            resources = sent.resources.len(),
            removed = sent.removed.len(),
            "send",
        );
        let mark = Mark::now(sent.version, sent.revision);
        self.registration.entry.record(&sent.resource_type, |status| status.sent = Some(mark));
        self.has_responded = true;
        self.shared.observer.responded(self.registration.entry.id, &sent);
        Some(self.shared.slabs.parts(self.session.dialect(), &sent))
    }
}

impl<K: GroupKey> Drop for Conversation<'_, K> {
    fn drop(&mut self) {
        self.shared.observer.closed(self.registration.entry.id);
        self.group.remember(self.session.recollections());
        if self.group.leave(self.registration.entry.id) {
            let group = self.registration.entry.group();
            self.shared.queue.push(Event::Demand(Demand::Idle { group }));
        }
    }
}
