//! The other replicas: who they are, by their leases, and what they say of their clients.
//!
//! An exchange over HTTP costs the API server nothing, however often outcomes change; a lease for each replica, renewed
//! at a slow pace, says who has to be heard.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::Method;
use pilotage_watcher::Workloads;
use pilotage_watcher::kubernetes::{Connection, call};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::lease::{ADDRESS, POD, REPLICA, leases};
use super::outcome::Outcomes;
use super::{Options, complain};
use crate::tools::http_get;

/// How often the leases are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// How long a replica may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// What the other replicas say.
#[derive(Debug, Default)]
pub(super) struct Others {
    pub(super) outcomes: Vec<Outcomes>,
    /// The names of those that say nothing.
    pub(super) unheard: Vec<String>,
}

/// The replicas that are known.
pub(super) struct Peers {
    own: String,
    namespace: String,
    lease: Duration,
    looked: Option<Instant>,
    /// By name: the renewal that was seen last, when, and where it answers.
    known: BTreeMap<String, Peer>,
    told: Option<String>,
}

struct Peer {
    renewal: String,
    seen: Instant,
    address: Option<SocketAddr>,
    is_pod: bool,
}

impl Peers {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            own: options.replica.clone(),
            namespace: options.namespace.clone(),
            lease: options.lease,
            looked: None,
            known: BTreeMap::new(),
            told: None,
        }
    }

    /// Asks every other replica.
    pub(super) async fn hear(
        &mut self,
        connection: &Connection,
        now: Instant,
        workloads: &Workloads,
    ) -> Others {
        if self.looked.is_none_or(|looked| now - looked >= LOOK.min(self.lease / 3)) {
            self.look(connection, now).await;
        }
        let mut others = Others::default();
        if self.looked.is_none() {
            others.unheard.push("the API server, which knows the other replicas".to_owned());
            return others;
        }
        let mut asked = JoinSet::new();
        for (name, peer) in &self.known {
            let (name, address) = (name.clone(), peer.address);
            asked.spawn(async move { (name, ask(address).await) });
        }
        let mut silent = Vec::new();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok((_, Some(outcomes))) => others.outcomes.push(outcomes),
                Ok((name, None)) => silent.push(name),
                // A task that failed has a name no more; whoever it was is not heard.
                Err(_) => others.unheard.push("a replica".to_owned()),
            }
        }
        for name in silent {
            // Who neither answers nor renews its lease may be cut off, and have its clients still. Its Pod says whether it
            // is gone, and its clients are with others.
            let is_over = || {
                let pod = workloads.pod(&self.namespace, &name);
                pod.is_none_or(|pod| matches!(pod.spec.phase.as_deref(), Some("Succeeded" | "Failed")))
            };
            match self.known.get(&name) {
                Some(peer) if peer.is_pod && now - peer.seen >= self.lease && is_over() => {
                    self.forget(&name, connection).await;
                }
                _ => others.unheard.push(name),
            }
        }
        others.unheard.sort();
        others
    }

    /// Looks who there is, and when each lease was last seen to be renewed, by our own clock.
    async fn look(&mut self, connection: &Connection, now: Instant) {
        let path = format!("{}?labelSelector={REPLICA}", leases(&self.namespace));
        let list = match call(connection, Method::GET, &path, None).await {
            Ok(list) => list,
            Err(error) => {
                return complain("the other replicas are not known", &mut self.told, Some(error.to_string()));
            }
        };
        complain("the other replicas are not known", &mut self.told, None);
        self.looked = Some(now);
        let mut known = BTreeMap::new();
        for lease in list["items"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let name = text(&lease["spec"]["holderIdentity"]);
            if name.is_empty() || name == self.own {
                continue;
            }
            let renewal = text(&lease["spec"]["renewTime"]);
            let annotations = &lease["metadata"]["annotations"];
            let address = annotations[ADDRESS].as_str().and_then(|address| address.parse().ok());
            let is_pod = annotations[POD] == "true";
            let before = self.known.get(&name).filter(|peer| peer.renewal == renewal);
            let seen = before.map_or(now, |peer| peer.seen);
            known.insert(name, Peer { renewal, seen, address, is_pod });
        }
        self.known = known;
    }

    /// Removes the lease of a replica that is gone, so that nobody waits for it again.
    async fn forget(&mut self, name: &str, connection: &Connection) {
        self.known.remove(name);
        let path = format!("{}/{}", leases(&self.namespace), super::lease::name_of(name));
        // If it fails, the next look finds it again.
        let _ = call(connection, Method::DELETE, &path, None).await;
    }
}

async fn ask(address: Option<SocketAddr>) -> Option<Outcomes> {
    let body = timeout(ANSWER_WITHIN, http_get(address?, "/outcomes")).await.ok()?.ok()?;
    serde_json::from_slice(&body).ok()
}
