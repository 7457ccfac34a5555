//! Leases (`coordination.k8s.io`): one that the writing replica holds, and one for each replica that is there.
//!
//! Nobody's clock is compared with anybody else's: a lease is over when it has been seen unchanged for its time.

use std::time::Duration;

use http::Method;
use pilotage_watcher::kubernetes::{CallError, Connection, call};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Options, complain};
use crate::pipeline::unix_time;

/// The lease of the replica that writes.
const WRITER: &str = "pilotage";
/// The label of the leases of replicas.
pub(super) const REPLICA: &str = "pilotage.dev/replica";
/// The annotation that says where a replica answers.
pub(super) const ADDRESS: &str = "pilotage.dev/outcomes";
/// The annotation that says that a replica is the Pod of its name.
pub(super) const POD: &str = "pilotage.dev/pod";

/// Whether a lease is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Held,
    Lost,
}

/// A lease that this replica would hold.
pub(super) struct Lease {
    name: String,
    namespace: String,
    holder: String,
    time: Duration,
    metadata: Value,
    /// When it was renewed last by us.
    renewed: Option<Instant>,
    /// The version that was seen last, and since when.
    seen: Option<(String, Instant)>,
    /// When it was looked at last.
    looked: Option<Instant>,
    told: Option<String>,
}

/// The path of the leases of a namespace.
pub(super) fn leases(namespace: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
}

/// The name of a replica's lease.
pub(super) fn name_of(replica: &str) -> String {
    format!("pilotage-replica-{replica}")
}

impl Lease {
    pub(super) fn of_writer(options: &Options) -> Self {
        Self::new(WRITER.to_owned(), json!({}), options)
    }

    pub(super) fn of_replica(options: &Options) -> Self {
        let mut metadata = json!({"labels": {REPLICA: "true"}});
        if let Some(address) = options.advertise {
            metadata["annotations"] = json!({ADDRESS: address.to_string()});
        }
        Self::new(name_of(&options.replica), metadata, options)
    }

    fn new(name: String, metadata: Value, options: &Options) -> Self {
        let (holder, namespace) = (options.replica.clone(), options.namespace.clone());
        let (time, renewed, seen, looked, told) = (options.lease, None, None, None, None);
        Self { name, namespace, holder, time, metadata, renewed, seen, looked, told }
    }

    /// Says that the replica is a Pod, so that others know by the Pod when it is gone.
    pub(super) fn of_pod(&mut self) {
        self.metadata["annotations"][POD] = json!("true");
    }

    /// Renews the lease, or takes it where it is free; says whether it is ours. Cheap to call often.
    pub(super) async fn claim(&mut self, connection: &Connection, now: Instant) -> Claim {
        let pace = self.time / 3;
        let is_ours = self.renewed.is_some_and(|renewed| now - renewed < self.time);
        if self.looked.is_none_or(|looked| now - looked >= if is_ours { pace } else { pace / 2 }) {
            self.looked = Some(now);
            let outcome = self.attempt(connection, now).await;
            let reason = outcome.err().filter(|error| *error != CallError::Conflict);
            complain(
                &format!("the lease {}", self.name),
                &mut self.told,
                reason.map(|reason| reason.to_string()),
            );
        }
        // Another replica may take it once it has not been renewed for its time: it is given up before.
        match self.renewed {
            Some(renewed) if now - renewed < self.time - pace / 2 => Claim::Held,
            _ => Claim::Lost,
        }
    }

    async fn attempt(&mut self, connection: &Connection, now: Instant) -> Result<(), CallError> {
        let path = format!("{}/{}", leases(&self.namespace), self.name);
        let mut lease = match call(connection, Method::GET, &path, None).await {
            Ok(lease) => lease,
            Err(CallError::Absent) => {
                let fresh = self.written(json!({
                    "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                    "metadata": {"name": self.name, "namespace": self.namespace},
                }));
                call(connection, Method::POST, &leases(&self.namespace), Some(&fresh)).await?;
                self.renewed = Some(now);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let version = lease["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => now,
        };
        self.seen = Some((version, since));
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        if holder != self.holder && !holder.is_empty() {
            self.renewed = None;
            if now - since < self.time {
                return Ok(());
            }
        }
        lease = self.written(lease);
        // The version that was read is in it: whoever is second is refused.
        call(connection, Method::PUT, &path, Some(&lease)).await?;
        self.renewed = Some(now);
        Ok(())
    }

    /// The lease with us as its holder as of now.
    fn written(&self, mut lease: Value) -> Value {
        let now = timestamp();
        if lease["spec"]["holderIdentity"] != json!(self.holder) {
            lease["spec"]["acquireTime"] = json!(now);
        }
        lease["spec"]["holderIdentity"] = json!(self.holder);
        lease["spec"]["leaseDurationSeconds"] = json!(self.time.as_secs().max(1));
        lease["spec"]["renewTime"] = json!(now);
        for (key, value) in self.metadata.as_object().into_iter().flatten() {
            lease["metadata"][key] = value.clone();
        }
        lease
    }

    /// Gives it up, so that nobody has to wait for its end.
    pub(super) async fn release(&self, connection: &Connection) {
        if self.renewed.is_none() {
            return;
        }
        let path = format!("{}/{}", leases(&self.namespace), self.name);
        // If it fails, the lease ends by itself.
        let _ = call(connection, Method::DELETE, &path, None).await;
    }
}

/// The time as `MicroTime` has it; no two are equal.
pub(super) fn timestamp() -> String {
    let micros = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.subsec_micros());
    let seconds = k8s_time(unix_time());
    format!("{}.{micros:06}Z", seconds.trim_end_matches('Z'))
}

/// Seconds since 1970 as RFC 3339.
pub(super) fn k8s_time(seconds: i64) -> String {
    let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // The civil calendar from days, in eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest % 3_600 / 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        assert_eq!(k8s_time(0), "1970-01-01T00:00:00Z");
        assert_eq!(k8s_time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(k8s_time(1_795_219_199), "2026-11-20T23:59:59Z");
        assert_eq!(k8s_time(1_709_251_199), "2024-02-29T23:59:59Z");
    }
}
