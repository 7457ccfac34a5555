//! What clients need and how they answer: demands become groups to compile, rejections become problems.

use std::collections::VecDeque;
use std::sync::Arc;

use pilotage_compile::{Group, Sources};
use pilotage_protocol::{Name, Rejection, Resource, ResourceType, Revision};
use pilotage_server::{Answer, Demand, Event, Outcome};
use pilotage_watcher::{Code, Problem};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Pipeline;

/// How many listeners the clients of one group may ask for by name; what a client sends must not grow without bound.
const LONGEST_WISH_LIST: usize = 10_000;

/// Of how many revisions it is remembered when their event was seen.
const REMEMBERED: usize = 64;

/// When the events behind the latest revisions were seen.
#[derive(Debug, Default)]
pub(super) struct Latency(VecDeque<(Revision, std::time::Instant)>);

impl Latency {
    pub(super) fn seen(&mut self, revision: Revision, at: std::time::Instant) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((revision, at));
    }

    fn since(&self, revision: Revision) -> Option<std::time::Duration> {
        self.0.iter().find(|(of, _)| *of == revision).map(|(_, at)| at.elapsed())
    }
}

impl Pipeline {
    /// Takes in what a client needs, or how it answered.
    pub(super) fn hear(&mut self, event: Event<Group>) {
        match event {
            Event::Demand(Demand::Opened { group, node }) => {
                let member = self.groups.entry(group.clone()).or_default();
                member.deserted = None;
                if member.compiled.is_none() {
                    info!(%group, node = %node.id, "first client");
                    if self.unsynced.is_empty() {
                        self.references.update(&self.world, self.groups.keys());
                    }
                    self.order(group);
                }
            }
            Event::Demand(Demand::Names { group, resource_type, names }) => {
                // Of all types, only a proxyless client's listeners are made on demand.
                if resource_type != ResourceType::Listener {
                    return;
                }
                let member = self.groups.entry(group.clone()).or_default();
                let before = member.demanded.len();
                let room = LONGEST_WISH_LIST.saturating_sub(before);
                let new: Vec<_> = names.into_iter().filter(|name| !member.demanded.contains(name)).collect();
                if new.len() > room {
                    warn!(%group, limit = LONGEST_WISH_LIST, "too many listeners asked for; the rest is not served");
                }
                member.demanded.extend(new.into_iter().take(room));
                if member.demanded.len() > before {
                    self.order(group);
                }
            }
            Event::Demand(Demand::Idle { group }) => {
                if let Some(member) = self.groups.get_mut(&group) {
                    member.deserted = Some(Instant::now());
                }
            }
            Event::Outcome(outcome) => self.judge(&outcome),
        }
    }

    fn order(&mut self, group: Group) {
        self.stale.insert(group);
        // Before that nothing may be published; the first compile will have this group in it.
        if self.unsynced.is_empty() {
            self.debounce.note(Instant::now());
        }
    }

    fn judge(&mut self, outcome: &Outcome<Group>) {
        let Outcome { node, resource_type, revision, .. } = outcome;
        match &outcome.answer {
            Answer::Acked { refused } => {
                let latency = self.latency.since(*revision);
                let micros = latency.map(|latency| latency.as_micros());
                self.metrics.accepted(resource_type, latency);
                debug!(%node, %resource_type, revision = revision.0, micros, "accepted");
                // Nearly every answer is an ACK after an ACK, which is no news; and what is still refused stays a
                // problem.
                if *refused == 0
                    && !self.rejected.is_empty()
                    && let Some(names) = self.rejected.remove(&(node.clone(), resource_type.clone()))
                {
                    for name in names {
                        self.report(&scope(node, resource_type, &name), Vec::new());
                    }
                }
            }
            Answer::Nacked { rejection, suspects, .. } => {
                self.metrics.rejected(resource_type);
                for suspect in suspects {
                    let names = self.rejected.entry((node.clone(), resource_type.clone())).or_default();
                    names.insert(suspect.name().clone());
                    let problem = rejected(node, resource_type, suspect, rejection);
                    self.report(&scope(node, resource_type, suspect.name()), vec![problem]);
                }
            }
        }
    }
}

/// Where a rejection stands in the journal: each resource has its own place, so that one more culprit does not take
/// that of another.
fn scope(node: &Arc<str>, resource_type: &ResourceType, name: &Name) -> Arc<str> {
    format!("{node}: {resource_type} {name}").into()
}

/// A client's rejection, as a problem of the object that the resource was made from.
fn rejected(node: &Arc<str>, of: &ResourceType, suspect: &Resource, rejection: &Rejection) -> Problem {
    let words = rejection.message.trim();
    let problem =
        Problem::new(Code::RejectedByClient, format!("{node} rejected {of} {}: {words}", suspect.name()))
            .hint("the client keeps what it had; correct the object, and it is sent again");
    let sources = suspect.origin().and_then(|origin| origin.downcast_ref::<Sources>());
    match sources.and_then(|sources| sources.objects().pop()) {
        Some(object) => problem.on(object, ""),
        None => problem,
    }
}
