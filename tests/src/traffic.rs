//! Calls: a number of them, or a stream of them while a test does something else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use pilotage::demo::{Client, Reply};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::eventually;

/// What became of calls.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// Answers by server id.
    pub servers: BTreeMap<String, u64>,
    /// Answers by version.
    pub versions: BTreeMap<String, u64>,
    /// Calls that failed.
    pub failed: u64,
    /// When and how the first of them failed.
    pub first_failure: Option<(Instant, String)>,
}

/// Makes calls over one channel, in whichever language.
#[expect(async_fn_in_trait, reason = "tests do not send it between threads")]
pub trait Caller {
    /// Makes `count` calls one after another.
    ///
    /// # Errors
    /// The client has ended; failed calls are counted and no error.
    async fn calls(&mut self, count: u64, headers: &[(&str, &str)]) -> Result<Outcomes>;

    /// Waits until a call succeeds.
    ///
    /// # Errors
    /// None does in time, or the client has ended.
    async fn first_call(&mut self) -> Result<()> {
        let state = Mutex::new((self, None));
        let succeeded = || async {
            let (caller, failure) = &mut *state.lock().await;
            match caller.calls(1, &[]).await {
                Ok(outcomes) => {
                    *failure = outcomes.first_failure;
                    (outcomes.failed == 0).then_some(Ok(()))
                }
                Err(error) => Some(Err(error)),
            }
        };
        let succeeded = eventually("a call that succeeds", succeeded).await;
        succeeded.with_context(|| format!("the last one: {:?}", state.into_inner().1))?
    }
}

impl Outcomes {
    pub(crate) fn count(&mut self, outcome: Result<Reply, tonic::Status>) {
        match outcome {
            Ok(reply) => {
                *self.servers.entry(reply.server_id).or_default() += 1;
                *self.versions.entry(reply.version).or_default() += 1;
            }
            Err(status) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| {
                    (Instant::now(), format!("{:?}: {}", status.code(), status.message()))
                });
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (server, count) in other.servers {
            *self.servers.entry(server).or_default() += count;
        }
        for (version, count) in other.versions {
            *self.versions.entry(version).or_default() += count;
        }
        self.failed += other.failed;
        let failures = [self.first_failure.take(), other.first_failure];
        self.first_failure = failures.into_iter().flatten().min_by_key(|(when, _)| *when);
    }

    /// The answers of a version.
    pub fn version(&self, version: &str) -> u64 {
        self.versions.get(version).copied().unwrap_or_default()
    }

    /// The answers of a server.
    pub fn server(&self, id: &str) -> u64 {
        self.servers.get(id).copied().unwrap_or_default()
    }

    /// Fails if any call failed.
    ///
    /// # Errors
    /// Says how many, and how the first.
    pub fn none_failed(&self) -> Result<()> {
        ensure!(self.failed == 0, "{} calls failed, the first so: {:?}", self.failed, self.first_failure);
        Ok(())
    }

    /// Fails unless `count` lies within four standard deviations of what `calls` independent calls of probability
    /// `share` give.
    ///
    /// # Errors
    /// It does not.
    pub fn near(count: u64, share: f64, calls: u64) -> Result<()> {
        let mean = calls as f64 * share;
        let width = 4.0 * (mean * (1.0 - share)).sqrt();
        ensure!((count as f64 - mean).abs() <= width, "{count} of {calls} is not {mean:.0} ± {width:.0}");
        Ok(())
    }
}

/// Calls until failing servers are left out, and gives how many calls failed.
///
/// An Envoy takes a server out on another thread than the one that calls it, so that a few more calls may fail than it
/// was told to bear: many in a row that succeed are the sign.
///
/// # Errors
/// Calls still fail after half a minute.
pub async fn until_left_out(client: &mut Client) -> Result<u64> {
    const IN_A_ROW: u32 = 20;
    const PATIENCE: Duration = Duration::from_secs(30);
    let started = Instant::now();
    let (mut failed, mut succeeded) = (0, 0);
    while succeeded < IN_A_ROW {
        match client.call(&[]).await {
            Ok(_) => succeeded += 1,
            Err(status) => {
                (failed, succeeded) = (failed + 1, 0);
                ensure!(started.elapsed() < PATIENCE, "failing servers are not left out: {status}");
            }
        }
    }
    Ok(failed)
}

/// Makes `count` calls one after another.
pub async fn calls(client: &mut Client, count: u64, headers: &[(&str, &str)]) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for _ in 0..count {
        outcomes.count(client.call(headers).await);
    }
    outcomes
}

/// Enough for some to be under way whenever something changes, few enough for a small machine.
const IN_FLIGHT: usize = 4;

/// Calls until they are stopped.
#[derive(Debug)]
pub struct Traffic {
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    callers: Vec<JoinHandle<Outcomes>>,
}

impl Traffic {
    /// Starts calling, four calls at a time, over the one connection of `client`.
    pub fn start(client: &Client) -> Self {
        let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = || tokio::spawn(call_until(stop.clone(), made.clone(), client.clone()));
        let callers = (0..IN_FLIGHT).map(|_| caller()).collect();
        Self { stop, made, callers }
    }

    /// Waits until `count` more calls have been made, so that what is done next is done under load.
    ///
    /// # Errors
    /// They are not made in time.
    pub async fn flows(&self, count: u64) -> Result<()> {
        let target = self.made.load(Ordering::Relaxed) + count;
        let reached = || async { (self.made.load(Ordering::Relaxed) >= target).then_some(()) };
        eventually(&format!("{count} more calls"), reached).await
    }

    /// Stops calling.
    ///
    /// # Errors
    /// The task panicked.
    pub async fn stop(self) -> Result<Outcomes> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes = Outcomes::default();
        for caller in self.callers {
            outcomes.merge(caller.await.context("a calling task")?);
        }
        Ok(outcomes)
    }
}

async fn call_until(stop: Arc<AtomicBool>, made: Arc<AtomicU64>, mut client: Client) -> Outcomes {
    let mut outcomes = Outcomes::default();
    while !stop.load(Ordering::Relaxed) {
        outcomes.count(client.call(&[]).await);
        made.fetch_add(1, Ordering::Relaxed);
    }
    outcomes
}

/// Streams of several messages, one after another, until they are stopped.
#[derive(Debug)]
pub struct Streams {
    stop: Arc<AtomicBool>,
    caller: JoinHandle<Result<u64, tonic::Status>>,
}

impl Streams {
    /// Starts streams of ten messages in half a second each, over the one connection of `client`.
    pub fn start(client: &Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, mut client) = (stop.clone(), client.clone());
        let caller = tokio::spawn(async move {
            let mut held = 0;
            while !ended.load(Ordering::Relaxed) {
                client.converse(10, Duration::from_millis(50)).await?;
                held += 1;
            }
            Ok(held)
        });
        Self { stop, caller }
    }

    /// Stops them, and gives how many there were.
    ///
    /// # Errors
    /// One failed, or the task panicked.
    pub async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.caller.await.context("a streaming task")?.context("a stream fails")
    }
}
