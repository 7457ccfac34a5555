//! How long to leave an API server alone that did not answer.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);

/// Delays that double up to a bound, with a quarter of jitter: many clients of a server that comes back must not ask
/// it in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(super) fn new(longest: Duration) -> Self {
        Self { next: SHORTEST.min(longest), longest }
    }

    /// The server answers again.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.longest);
    }

    /// The delay before the next attempt.
    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        // A new state's keys are random, which is random enough here.
        let random = (RandomState::new().hash_one(0) % 1000) as f64 / 1000.0;
        delay.mul_f64(0.75 + random / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_bound_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1));
        let delays: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
        for (delay, full) in delays.iter().zip([100, 200, 400, 800, 1000, 1000, 1000, 1000]) {
            assert!((full * 3 / 4..=full).contains(delay), "{delay} of {full}");
        }
        backoff.reset();
        assert!(backoff.next() <= SHORTEST);
    }
}
