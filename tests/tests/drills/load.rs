//! Calls at a steady rate while a drill runs: unary ones and streams over one connection, and calls over new ones.
//!
//! Invariant: every call that was begun is counted once, as answered or as failed. The rate does not depend on how fast
//! answers come, so that a slow moment is not hidden by fewer calls.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pilotage_tests::Client;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// Callers of each kind, and how often each of them begins a call. Many callers keep the pace on a busy machine, where
/// each answer takes a while.
const UNARY: (usize, Duration) = (64, Duration::from_millis(160));
const STREAMS: (usize, Duration) = (4, Duration::from_millis(10));
const CONNECTIONS: (usize, Duration) = (2, Duration::from_millis(200));

/// A stream is long enough for every change to meet some under way.
const MESSAGES: usize = 25;
const PAUSE: Duration = Duration::from_millis(10);

/// What a drill asks of the load, in calls a second.
const LEAST_CALLS: f64 = 200.0;
const LEAST_STREAMS: f64 = 5.0;
const LEAST_CONNECTIONS: f64 = 1.0;

/// Failures that are kept with their words.
const REMEMBERED: usize = 5;

#[derive(Default)]
struct Tally {
    unary: AtomicU64,
    streams: AtomicU64,
    connections: AtomicU64,
    failed: AtomicU64,
    failures: Mutex<Vec<(Instant, String)>>,
}

/// Calls since the load was started, or since a mark.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) at: Instant,
    pub(crate) unary: u64,
    pub(crate) streams: u64,
    pub(crate) connections: u64,
    pub(crate) failed: u64,
}

/// A running load.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Clone, Copy)]
enum Call {
    Unary,
    Stream,
    Connection,
}

impl Load {
    /// Starts calling `authority` at `entry`; `client` has the one connection that most calls share.
    pub(crate) fn start(client: &Client, entry: SocketAddr, authority: &str) -> Self {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let mut callers = Vec::new();
        for (call, (count, pace)) in
            [(Call::Unary, UNARY), (Call::Stream, STREAMS), (Call::Connection, CONNECTIONS)]
        {
            for _ in 0..count {
                let (stop, tally, client) = (stop.clone(), tally.clone(), client.clone());
                let target = (entry, authority.to_owned());
                callers.push(tokio::spawn(async move {
                    let mut ticks = interval(pace);
                    while !stop.load(Ordering::Relaxed) {
                        ticks.tick().await;
                        tally.count(call, make(call, client.clone(), &target).await);
                    }
                }));
            }
        }
        Self { stop, tally, callers }
    }

    /// How many calls have been made.
    pub(crate) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Tally { unary, streams, connections, failed, .. } = &*self.tally;
        Counts {
            at: Instant::now(),
            unary: read(unary),
            streams: read(streams),
            connections: read(connections),
            failed: read(failed),
        }
    }

    /// The first failures, and when they were.
    pub(crate) fn failures(&self) -> Vec<(Instant, String)> {
        self.tally.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the load; every call that was begun has been counted then.
    ///
    /// # Errors
    /// A caller panicked.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            caller.await.context("a caller")?;
        }
        Ok(())
    }
}

impl Counts {
    /// What was called since `earlier`, in a line; an error if that was too little to show anything.
    pub(crate) fn since(&self, earlier: &Self) -> Result<String> {
        let seconds = (self.at - earlier.at).as_secs_f64();
        let unary = self.unary - earlier.unary;
        let streams = self.streams - earlier.streams;
        let connections = self.connections - earlier.connections;
        let failed = self.failed - earlier.failed;
        let rate = (unary + streams + connections + failed) as f64 / seconds;
        let line = format!(
            "{unary:>5} calls, {streams:>3} streams of {MESSAGES}, {connections:>3} connections in {seconds:4.1} s \
             ({rate:.0}/s): {failed} failed"
        );
        ensure!(rate >= LEAST_CALLS, "too few calls: {line}");
        ensure!(streams as f64 >= LEAST_STREAMS * seconds, "too few streams: {line}");
        ensure!(connections as f64 >= LEAST_CONNECTIONS * seconds, "too few connections: {line}");
        Ok(line)
    }
}

impl Tally {
    fn count(&self, call: Call, outcome: Result<()>) {
        let counter = match (&outcome, call) {
            (Ok(()), Call::Unary) => &self.unary,
            (Ok(()), Call::Stream) => &self.streams,
            (Ok(()), Call::Connection) => &self.connections,
            (Err(_), _) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = outcome {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            if failures.len() < REMEMBERED {
                failures.push((Instant::now(), format!("{error:#}")));
            }
        }
    }
}

async fn make(call: Call, mut client: Client, (entry, authority): &(SocketAddr, String)) -> Result<()> {
    match call {
        Call::Unary => client.call(&[]).await.map(drop).context("a call"),
        Call::Stream => client.converse(MESSAGES, PAUSE).await.context("a stream"),
        Call::Connection => {
            let mut client = Client::connect(*entry, authority).await.context("a new connection")?;
            client.call(&[]).await.map(drop).context("a call on a new connection")
        }
    }
}
