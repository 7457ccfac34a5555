//! Who answered how many calls, and how many one should expect.

use std::collections::BTreeMap;
use std::fmt;

use super::Reply;

/// The outcomes of a number of calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    servers: BTreeMap<String, u64>,
    versions: BTreeMap<String, u64>,
    failed: u64,
    first_failure: Option<String>,
}

impl Tally {
    /// A tally that shows `servers` even if none of them answers.
    pub(super) fn of<'a>(servers: impl IntoIterator<Item = &'a str>) -> Self {
        Self { servers: servers.into_iter().map(|id| (id.into(), 0)).collect(), ..Self::default() }
    }

    /// Counts one call.
    pub(super) fn count(&mut self, outcome: &Result<Reply, tonic::Status>) {
        match outcome {
            Ok(reply) => {
                *self.servers.entry(reply.server_id.clone()).or_default() += 1;
                *self.versions.entry(reply.version.clone()).or_default() += 1;
            }
            Err(status) => {
                self.failed += 1;
                self.first_failure
                    .get_or_insert_with(|| format!("{:?}: {}", status.code(), status.message()));
            }
        }
    }

    /// Adds the outcomes of other calls.
    pub(super) fn merge(&mut self, other: &Self) {
        for (server, count) in &other.servers {
            *self.servers.entry(server.clone()).or_default() += count;
        }
        for (version, count) in &other.versions {
            *self.versions.entry(version.clone()).or_default() += count;
        }
        self.failed += other.failed;
        if self.first_failure.is_none() {
            self.first_failure.clone_from(&other.first_failure);
        }
    }

    /// Answers by server id.
    pub(super) fn servers(&self) -> &BTreeMap<String, u64> {
        &self.servers
    }

    /// The answers of a version.
    pub(super) fn version(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or_default()
    }

    /// The calls that failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    /// What the first failed call was told.
    pub(super) fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }

    /// All calls.
    pub(super) fn calls(&self) -> u64 {
        self.servers.values().sum::<u64>() + self.failed
    }
}

/// How many of `calls` independent calls may go one way of probability `share`: the mean of the binomial
/// distribution, four standard deviations to each side. By chance, one run in about 16,000 is outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    low: u64,
    high: u64,
}

impl Bounds {
    pub(super) fn of(share: f64, calls: u64) -> Self {
        let calls = calls as f64;
        let mean = calls * share;
        let deviation = (mean * (1.0 - share)).sqrt();
        let low = (mean - 4.0 * deviation).ceil().max(0.0);
        let high = (mean + 4.0 * deviation).floor().min(calls);
        Self { low: low as u64, high: high as u64 }
    }

    pub(super) fn contain(self, count: u64) -> bool {
        (self.low..=self.high).contains(&count)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_four_standard_deviations_wide() {
        // 1000 calls at one half: mean 500, deviation 15.81.
        assert_eq!(Bounds::of(0.5, 1000), Bounds { low: 437, high: 563 });
        assert_eq!(Bounds::of(0.1, 100), Bounds { low: 0, high: 22 });
        assert_eq!(Bounds::of(1.0, 100), Bounds { low: 100, high: 100 });
        assert!(Bounds::of(0.5, 1000).contain(437) && !Bounds::of(0.5, 1000).contain(436));
    }

    #[test]
    fn failures_are_counted_and_the_first_is_kept() {
        let mut tally = Tally::of(["a", "b"]);
        tally.count(&Err(tonic::Status::unavailable("no healthy upstream")));
        tally.count(&Err(tonic::Status::internal("later")));
        assert_eq!((tally.failed(), tally.calls()), (2, 2));
        assert_eq!(tally.first_failure(), Some("Unavailable: no healthy upstream"));
        assert_eq!(tally.servers().len(), 2);
    }
}
