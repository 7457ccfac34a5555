//! Writes what objects' status is to say, where it says something else.

use std::collections::BTreeMap;

use http::Method;
use pilotage_watcher::kubernetes::{CallError, Connection, call, kind_path, status_path};
use pilotage_watcher::{Kind, ObjectKey, Problem};
use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};

use super::complain;
use super::conditions::Conditions;
use super::lease::k8s_time;
use crate::admin::Metrics;
use crate::pipeline::unix_time;

/// Writes that are under way at a time.
const AT_ONCE: usize = 8;
/// Objects of a page when what is there already is read.
const PAGE: u32 = 500;

/// Our name as the one who wrote a field.
const MANAGER: &str = "fieldManager=pilotage&force=true";

/// A write that is over: of what, what was to be written, and what came of it.
type Done = (ObjectKey, Value, Result<(), CallError>);

/// What is known to be written.
pub(super) struct Writer {
    /// The status of each object, as far as it is ours to write. Read once when this replica begins to write.
    written: BTreeMap<ObjectKey, Value>,
    /// The kinds that have been read, in the version that they are written in.
    read: BTreeMap<Kind, String>,
    metrics: Metrics,
    told: Option<String>,
}

impl Writer {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { written: BTreeMap::new(), read: BTreeMap::new(), metrics, told: None }
    }

    /// Writes what is not written yet.
    pub(super) async fn write(
        &mut self,
        connection: &Connection,
        versions: &BTreeMap<Kind, String>,
        wanted: &BTreeMap<ObjectKey, Conditions>,
    ) {
        let mut failed = None;
        for (kind, version) in versions {
            if self.read.get(kind) != Some(version)
                && let Err(error) = self.learn(connection, *kind, version).await
            {
                failed = Some(error.to_string());
            }
        }
        self.written.retain(|key, _| wanted.contains_key(key));
        let mut under_way = JoinSet::new();
        for (key, conditions) in wanted {
            let Some(version) = self.read.get(&key.kind).cloned() else { continue };
            let status = status(conditions, self.written.get(key));
            if self.written.get(key) == Some(&status) {
                continue;
            }
            while under_way.len() >= AT_ONCE {
                self.finish(under_way.join_next().await, &mut failed);
            }
            let Some(path) = status_path(key, &version) else { continue };
            let (connection, key, kind) = (connection.clone(), key.clone(), format!("{:?}", key.kind));
            let body = json!({
                "apiVersion": version, "kind": kind,
                "metadata": {"name": key.name, "namespace": key.namespace}, "status": status,
            });
            under_way.spawn(async move {
                let outcome =
                    call(&connection, Method::PATCH, &format!("{path}?{MANAGER}"), Some(&body)).await;
                (key, status, outcome.map(drop))
            });
        }
        while let Some(done) = under_way.join_next().await {
            self.finish(Some(done), &mut failed);
        }
        complain("status is not written", &mut self.told, failed);
    }

    fn finish(&mut self, done: Option<Result<Done, JoinError>>, failed: &mut Option<String>) {
        match done {
            Some(Ok((key, status, Ok(())))) => {
                self.metrics.status_written();
                self.written.insert(key, status);
            }
            // It is gone, or new and not there for us yet: the next round knows.
            Some(Ok((_, _, Err(CallError::Absent | CallError::Conflict)))) | None => {}
            Some(Ok((key, _, Err(error)))) => *failed = Some(format!("{key}: {error}")),
            Some(Err(error)) => *failed = Some(error.to_string()),
        }
    }

    /// Reads what the objects of a kind say already.
    async fn learn(&mut self, connection: &Connection, kind: Kind, version: &str) -> Result<(), CallError> {
        let Some(path) = kind_path(kind, version) else { return Ok(()) };
        let mut next = String::new();
        loop {
            let list =
                call(connection, Method::GET, &format!("{path}?limit={PAGE}&continue={next}"), None).await?;
            for item in list["items"].as_array().into_iter().flatten() {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (namespace, name) =
                    (text(&item["metadata"]["namespace"]), text(&item["metadata"]["name"]));
                let ours = ours(&item["status"]);
                if ours.is_object() {
                    self.written.insert(ObjectKey::new(kind, namespace, name), ours);
                }
            }
            next = list["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            if next.is_empty() {
                break;
            }
        }
        self.read.insert(kind, version.to_owned());
        Ok(())
    }
}

/// The part of a status that is ours.
fn ours(status: &Value) -> Value {
    let mut ours = json!({});
    for key in ["observedGeneration", "conditions", "problems"] {
        if let Some(value) = status.get(key) {
            ours[key] = value.clone();
        }
    }
    if ours["conditions"].is_array() { ours } else { Value::Null }
}

/// The status that says this; a condition whose status stays has the time at which it became so.
fn status(wanted: &Conditions, before: Option<&Value>) -> Value {
    let former = |name: &str| {
        let conditions = before.and_then(|before| before["conditions"].as_array());
        conditions.into_iter().flatten().find(|condition| condition["type"] == name)
    };
    let conditions = wanted.conditions.iter().map(|condition| {
        let former = former(condition.name).filter(|former| former["status"] == condition.status);
        let since = former.and_then(|former| former["lastTransitionTime"].as_str()).map(str::to_owned);
        let mut written = json!({
            "type": condition.name,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": since.unwrap_or_else(|| k8s_time(unix_time())),
        });
        if let Some(generation) = wanted.generation {
            written["observedGeneration"] = json!(generation);
        }
        written
    });
    let mut status = json!({"conditions": conditions.collect::<Vec<_>>()});
    if let Some(generation) = wanted.generation {
        // Istio's schema has it as text or number, by what protobuf's JSON makes of it.
        status["observedGeneration"] = json!(generation);
    }
    if !wanted.problems.is_empty() {
        status["problems"] = wanted.problems.iter().map(problem).collect();
    }
    status
}

fn problem(problem: &Problem) -> Value {
    let mut written = json!({
        "code": problem.code.name(), "severity": problem.severity.to_string(), "message": problem.message,
    });
    if !problem.path.is_empty() {
        written["path"] = json!(problem.path);
    }
    if let Some(hint) = &problem.hint {
        written["hint"] = json!(hint);
    }
    written
}
