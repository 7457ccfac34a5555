//! When configuration is compiled: at once on the leading edge, then after a quiet spell, and never later than a bound.

use std::time::Duration;

use tokio::time::Instant;

/// How long configuration must be quiet after the leading edge.
const QUIET: Duration = Duration::from_millis(10);
/// How long a change may wait at most.
const LONGEST: Duration = Duration::from_millis(100);

/// The clock of the configuration lane; endpoints have a lane without one.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// When the last compile began.
    ran: Option<Instant>,
    /// The first and the last change since then.
    pending: Option<(Instant, Instant)>,
}

impl Debounce {
    /// A change came in.
    pub(super) fn note(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, now));
    }

    /// When to compile; `None` while there is nothing to compile.
    pub(super) fn due(&self) -> Option<Instant> {
        let (first, last) = self.pending?;
        match self.ran {
            Some(ran) if first < ran + QUIET => Some((last + QUIET).min(first + LONGEST)),
            _ => Some(first),
        }
    }

    /// A compile begins, of everything noted so far.
    pub(super) fn run(&mut self, now: Instant) {
        self.ran = Some(now);
        self.pending = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn leading_edge_is_at_once() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        assert_eq!(debounce.due(), None);
        debounce.note(start);
        assert_eq!(debounce.due(), Some(start));
        debounce.run(start);
        debounce.note(start + ms(50));
        assert_eq!(
            debounce.due(),
            Some(start + ms(50)),
            "a change after the quiet spell is a leading edge again"
        );
    }

    #[test]
    fn burst_waits_for_quiet_within_the_bound() {
        let start = Instant::now();
        let mut debounce = Debounce::default();
        debounce.note(start);
        debounce.run(start);
        debounce.note(start + ms(2));
        assert_eq!(debounce.due(), Some(start + ms(12)));
        for millis in (4..=200).step_by(2) {
            debounce.note(start + ms(millis));
        }
        assert_eq!(debounce.due(), Some(start + ms(102)), "100 ms after the first change of the burst");
    }
}
