//! What a stream tells the owner of the cache, the registry and the observer of what its client said.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use pilotage_protocol::{Blame, Event as SessionEvent, Name, ResourceType};
use tracing::warn;

use super::Conversation;
use crate::GroupKey;
use crate::event::{Answer, Demand, Event, Outcome};
use crate::streams::Mark;

/// Unknown type URLs that are remembered as logged; beyond that they are only counted by the session.
const LOGGED_TYPES: usize = 64;

impl<K: GroupKey> Conversation<'_, K> {
    pub(super) fn report(&self, event: SessionEvent) {
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
        if let (Answer::Nacked { suspects, blame: Blame::Certain, .. }, Some(threshold)) =
            (&answer, self.shared.config.spare_after)
        {
            let client = (&self.kind, &Arc::from(entry.node.id.as_str()));
            for suspect in suspects {
                if self.group.note_rejection(client, &response.resource_type, suspect, threshold) {
                    warn!(resource = %suspect.name(), "others are spared what many clients reject");
                }
            }
        }
        let mark = Mark::now(response.version, response.revision);
        entry.record(&response.resource_type, |status| match &answer {
            Answer::Acked { .. } => status.acked = Some(mark),
            Answer::Nacked { rejection, .. } => status.nacked = Some((mark, rejection.message.clone())),
        });
        let outcome = Outcome {
            stream: entry.id,
            node: entry.node.id.as_str().into(),
            group: entry.group(),
            resource_type: response.resource_type,
            version: response.version,
            revision: response.revision,
            answer,
        };
        self.shared.observer.answered(&outcome);
        self.shared.queue.push(Event::Outcome(outcome));
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
