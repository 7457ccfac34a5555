//! Times and memory of this process.

use std::time::{Duration, Instant};

/// How long each of several runs took.
#[derive(Default)]
pub(crate) struct Timings(Vec<Duration>);

impl Timings {
    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
        self.0.sort_unstable();
    }

    pub(crate) fn least(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn median(&self) -> Duration {
        self.0.get(self.0.len() / 2).copied().unwrap_or_default()
    }

    pub(crate) fn most(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// A time with three digits.
    pub(crate) fn text(time: Duration) -> String {
        let micros = time.as_secs_f64() * 1e6;
        match micros {
            ..1_000.0 => format!("{micros:.1} µs"),
            ..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
            _ => format!("{:.2} s", micros / 1e6),
        }
    }
}

/// What a function gives, and how long it takes.
pub(crate) fn timed<T>(run: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = run();
    (result, started.elapsed())
}

/// The memory of this process that is resident, in KiB; 0 where the system does not say.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}
