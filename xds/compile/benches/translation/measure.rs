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

    fn at(&self, index: usize) -> String {
        text(self.0.get(index).copied().unwrap_or_default())
    }
}

/// A time with three digits.
fn text(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        ..1_000.0 => format!("{micros:.1} µs"),
        ..1_000_000.0 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Prints the least, the median and the most.
pub(crate) fn row(services: usize, what: &str, timings: &Timings) {
    let last = timings.0.len().saturating_sub(1);
    let [least, median, most] = [0, timings.0.len() / 2, last].map(|index| timings.at(index));
    println!("{services:>8}  {what:<28} {least:>12} {median:>12} {most:>12}");
}

/// Prints an amount of memory, and what that is for each Service.
pub(crate) fn memory(services: usize, what: &str, kib: u64, each: usize) {
    let bytes = kib * 1024 / u64::try_from(each).unwrap_or(1).max(1);
    let mib = kib as f64 / 1024.0;
    println!("{services:>8}  {what:<28} {mib:>8.1} MiB {bytes:>8} B for each Service");
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
