//! What a request does to a stream.
//!
//! Invariant: whichever way a request is read, the session and the publisher learn the same from it. A list of names
//! that was seen before is recognised by its bytes ([`crate::outline`]); every other request is decoded in full.

use std::time::Instant;

use pilotage_protocol::{Dialect, Interest, Names, Request, RequestError, ResourceType};
use pilotage_protos::discovery::Node;
use tonic::Status;
use xxhash_rust::xxh3::xxh3_128;

use super::Conversation;
use crate::GroupKey;
use crate::frames::decode;
use crate::message::DiscoveryMessage;
use crate::outline::Outline;

impl<K: GroupKey> Conversation<'_, K> {
    /// Takes in an encoded request; a list of names that was seen before is not taken apart again.
    pub(super) fn read<M: DiscoveryMessage>(&mut self, message: &[u8]) -> Result<(), Status> {
        let Some(outline) = Outline::of(M::DIALECT, message) else {
            let request: M = decode(message)?;
            if !self.lists.is_empty() {
                self.lists.remove(&ResourceType::from_type_url(request.type_url()));
            }
            return self.hear(request);
        };
        if let Some(node) = outline.node {
            self.recognise(&decode(node)?)?;
        }
        self.take_in::<M>(message, &outline)
    }

    /// The same, where the node is known and there is an outline.
    pub(super) fn take_in<M: DiscoveryMessage>(
        &mut self,
        message: &[u8],
        outline: &Outline<'_>,
    ) -> Result<(), Status> {
        let is_implied = outline.type_url.is_empty();
        let resource_type = match &self.only {
            Some(only) if is_implied => only.clone(),
            _ => ResourceType::from_type_url(outline.type_url),
        };
        if self.session.is_outdated(&resource_type, outline.nonce) {
            // Its names do not count.
            return self.hear(decode::<M>(message)?);
        }
        let is_complete = match M::DIALECT {
            Dialect::Sotw => true,
            Dialect::Delta => self.session.interest(&resource_type).is_none(),
        };
        if is_complete && !outline.held.is_empty() {
            return self.resume::<M>(message, outline, resource_type);
        }
        let list = xxh3_128(outline.names);
        let version = || outline.version.to_owned();
        let names = if self.lists.get(&resource_type) == Some(&list) {
            Some(Names::Repeated { version: version() })
        } else if is_complete {
            let known = self.shared.interner.find(outline.names);
            known.map(|interest| Names::Shared { interest, version: version() })
        } else {
            None
        };
        if let Some(names) = names {
            let nonce = outline.nonce.to_owned();
            let request = Request { resource_type: resource_type.clone(), nonce, error: None, names };
            self.act_on(request, is_implied)?;
        } else {
            self.hear(decode::<M>(message)?)?;
            if let Some(interest) = self.session.interest(&resource_type).filter(|_| is_complete) {
                self.shared.interner.keep(outline.names, interest);
            }
        }
        if M::DIALECT == Dialect::Sotw {
            self.lists.insert(resource_type, list);
        }
        Ok(())
    }

    /// Takes in the first request of a client that returns with what it has.
    fn resume<M: DiscoveryMessage>(
        &mut self,
        message: &[u8],
        outline: &Outline<'_>,
        resource_type: ResourceType,
    ) -> Result<(), Status> {
        self.catch_up();
        let is_named = !outline.names.is_empty();
        let known =
            if is_named { self.shared.interner.find(outline.names) } else { Some(Interest::default()) };
        let is_of_service = self.only.as_ref().is_none_or(|only| *only == resource_type);
        if let Some(interest) = known.filter(|_| is_of_service && !outline.type_url.is_empty())
            && self.session.resume(Instant::now(), &resource_type, interest.clone(), &outline.held)
        {
            let entry = &self.registration.entry;
            let names = Names::Shared { interest, version: String::new() };
            let request = Request { resource_type, nonce: outline.nonce.to_owned(), error: None, names };
            self.shared.observer.requested(entry.id, &request);
            if let Some(interest) = self.session.interest(&request.resource_type) {
                entry.listener.announce(&request.resource_type, interest);
            }
            return Ok(());
        }
        self.hear(decode::<M>(message)?)?;
        if let Some(interest) = self.session.interest(&resource_type).filter(|_| is_named) {
            self.shared.interner.keep(outline.names, interest);
        }
        Ok(())
    }

    fn recognise(&self, node: &Node) -> Result<(), Status> {
        let entry = &self.registration.entry;
        if node.id != entry.node.id {
            let (former, now) = (&entry.node.id, &node.id);
            let message =
                format!("the node id was {former:?} and is now {now:?}; it may not change on a stream");
            return Err(Status::invalid_argument(message));
        }
        Ok(())
    }

    pub(super) fn hear<M: DiscoveryMessage>(&mut self, mut request: M) -> Result<(), Status> {
        if let Some(node) = request.take_node() {
            self.recognise(&node)?;
        }
        let is_implied = request.type_url().is_empty();
        self.act_on(request.into_request(), is_implied)
    }

    /// Takes in a request for which it may not matter that the client left out its type.
    fn act_on(&mut self, mut request: Request, is_implied: bool) -> Result<(), Status> {
        match &self.only {
            Some(only) if is_implied => request.resource_type = only.clone(),
            Some(only) if *only != request.resource_type => {
                let message = format!("this service serves {only}, and not {}", request.resource_type);
                return Err(Status::invalid_argument(message));
            }
            None if is_implied => {
                return Err(Status::invalid_argument("a request on an aggregated stream has no type_url"));
            }
            _ => {}
        }
        let resource_type = request.resource_type.clone();
        // Publications that did not concern the stream may concern it now.
        self.catch_up();
        self.shared.observer.requested(self.registration.entry.id, &request);
        let lists_names = match &request.names {
            Names::Exactly { names, .. } => !names.is_empty(),
            Names::Change { subscribe, unsubscribe, .. } => !subscribe.is_empty() || !unsubscribe.is_empty(),
            Names::Repeated { .. } | Names::Shared { .. } => false,
        };
        let is_shared = matches!(request.names, Names::Shared { .. });
        let is_first = self.session.interest(&resource_type).is_none();
        let quoted = self.quoted_version(&request);
        self.session.handle_request(Instant::now(), request).map_err(refusal)?;
        if let Some(state) = quoted.and_then(|version| self.group.recollection(&resource_type, &version)) {
            self.session.handle_recollection(&resource_type, &state);
        }
        if lists_names {
            self.session.share_interest(&resource_type, |interest| self.shared.interner.share(interest));
        }
        if (is_first || lists_names || is_shared)
            && let Some(interest) = self.session.interest(&resource_type)
        {
            self.registration.entry.listener.announce(&resource_type, interest);
        }
        self.may_have_responses = true;
        Ok(())
    }

    /// The version of all of a type that a client has come back with.
    fn quoted_version(&self, request: &Request) -> Option<String> {
        let is_first = self.session.interest(&request.resource_type).is_none();
        match &request.names {
            Names::Exactly { version, .. } | Names::Repeated { version } | Names::Shared { version, .. }
                if is_first && !version.is_empty() =>
            {
                Some(version.clone())
            }
            _ => None,
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
