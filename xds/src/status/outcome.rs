//! What became of each object at the clients of one replica, in numbers.

use std::collections::{BTreeMap, HashMap};

use pilotage_compile::Group;
use pilotage_protocol::Revision;
use pilotage_server::StreamStatus;
use pilotage_watcher::{Code, ObjectKey};
use serde::{Deserialize, Serialize};

use crate::pipeline::Ledger;

/// The outcomes of one replica, by `Kind namespace/name`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcomes {
    pub(crate) objects: BTreeMap<String, Outcome>,
}

/// What became of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// The generation that this is about.
    pub(crate) generation: Option<i64>,
    /// Clients that are told something that was made from it.
    pub(crate) selected: usize,
    /// Those that have all of it.
    pub(crate) programmed: usize,
    /// Those that have rejected a part of it.
    pub(crate) rejected: usize,
}

impl Outcomes {
    /// The outcomes at these streams.
    pub(crate) fn of(ledger: &Ledger, streams: &[StreamStatus<Group>]) -> Self {
        let mut settled: HashMap<&Group, Vec<Revision>> = HashMap::new();
        for stream in streams {
            settled.entry(&stream.group).or_default().push(stream.settled.unwrap_or_default());
        }
        settled.values_mut().for_each(|revisions| revisions.sort_unstable());
        let outcome = |(key, entry): (&ObjectKey, &crate::pipeline::Entry)| {
            let rejections = entry.problems.iter().filter(|problem| problem.code == Code::RejectedByClient);
            let mut outcome =
                Outcome { generation: entry.generation, rejected: rejections.count(), ..Outcome::default() };
            for revisions in entry.groups.iter().filter_map(|group| settled.get(group)) {
                let behind = revisions.partition_point(|settled| *settled < entry.revision);
                outcome.selected += revisions.len();
                outcome.programmed += revisions.len() - behind;
            }
            // A client that has rejected a part of it has settled for what it had.
            outcome.programmed = outcome.programmed.saturating_sub(outcome.rejected);
            (key.to_string(), outcome)
        };
        Self { objects: ledger.objects.iter().map(outcome).collect() }
    }
}
