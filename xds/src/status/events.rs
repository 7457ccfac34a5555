//! Events (`events.k8s.io`) about what is wrong with an object: one for each problem of each generation.
//!
//! An event is named by what it says, so that neither another replica nor a restart says it again.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use pilotage_watcher::kubernetes::{CallError, Connection, call};
use pilotage_watcher::{Kind, ObjectKey, Problem, Severity};
use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use super::complain;
use super::conditions::camel_case;
use super::lease::timestamp;
use crate::pipeline::Ledger;

/// Events that are created in a round; the rest follows in the next ones.
const AT_ONCE: usize = 32;
/// The longest message that an event takes, in bytes.
const LONGEST: usize = 1024;

/// What has been said.
pub(super) struct Events {
    replica: String,
    said: BTreeSet<String>,
    told: Option<String>,
}

impl Events {
    pub(super) fn new(replica: &str) -> Self {
        Self { replica: replica.to_owned(), said: BTreeSet::new(), told: None }
    }

    /// Says what has not been said.
    pub(super) async fn tell(
        &mut self,
        connection: &Connection,
        versions: &BTreeMap<Kind, String>,
        ledger: &Ledger,
    ) {
        let mut current = BTreeSet::new();
        let (mut failed, mut created) = (None, 0);
        for (key, entry) in &ledger.objects {
            let Some(version) = versions.get(&key.kind) else { continue };
            for problem in entry.problems.iter().filter(|problem| problem.severity > Severity::Info) {
                let name = name(key, entry.generation, problem);
                if self.said.contains(&name) {
                    current.insert(name);
                    continue;
                }
                if created == AT_ONCE {
                    continue;
                }
                created += 1;
                let event = self.event(&name, key, version, problem);
                let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", key.namespace);
                match call(connection, Method::POST, &path, Some(&event)).await {
                    Ok(_) | Err(CallError::Conflict) => drop(current.insert(name)),
                    // The namespace is being deleted, and its objects with it.
                    Err(CallError::Absent) => {}
                    Err(error) => failed = Some(error.to_string()),
                }
            }
        }
        // What is solved may come again.
        self.said = current;
        complain("events are not written", &mut self.told, failed);
    }

    fn event(&self, name: &str, key: &ObjectKey, version: &str, problem: &Problem) -> serde_json::Value {
        let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
        let hint = problem.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
        let mut note = format!("{path}{}{hint}", problem.message);
        let cut = (0..=LONGEST.min(note.len())).rev().find(|&at| note.is_char_boundary(at));
        note.truncate(cut.unwrap_or_default());
        json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event",
            "metadata": {"name": name, "namespace": key.namespace},
            "eventTime": timestamp(),
            "type": "Warning",
            "reason": camel_case(problem.code.name()),
            "action": "Translate",
            "note": note,
            "reportingController": "pilotage.dev/pilotage",
            "reportingInstance": self.replica,
            "regarding": {
                "apiVersion": version, "kind": format!("{:?}", key.kind),
                "namespace": key.namespace, "name": key.name,
            },
        })
    }
}

fn name(key: &ObjectKey, generation: Option<i64>, problem: &Problem) -> String {
    let what = format!("{key} {generation:?} {} {} {}", problem.code, problem.path, problem.message);
    format!("pilotage.{:016x}", xxh3_64(what.as_bytes()))
}
