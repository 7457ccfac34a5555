//! The server's own process: started by the bench as itself, told on standard input what to do.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pilotage_server::protocol::Snapshot;
use pilotage_server::{Ads, AdsConfig, Cache, Event, Node, ServeConfig, Streams, serve};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Transport};
use crate::{floor, identity};

/// Set in the server's process: the fixture.
pub(crate) const FIXTURE: &str = "PILOTAGE_BENCH_FIXTURE";

/// Names a program, and its arguments, under which the server's process runs: a profiler.
const UNDER: &str = "PILOTAGE_BENCH_UNDER";

/// What the server's process is told.
pub(crate) enum Order {
    Publish,
    /// So many publications, so many a second.
    Storm(u32, u32),
}

/// Runs the server until standard input ends.
pub(crate) fn run(fixture: Fixture) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (give, mut orders) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
            let order =
                if let [count, rate] = numbers[..] { Order::Storm(count, rate) } else { Order::Publish };
            let _ = give.send(order);
        }
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        if fixture.mode.is_floor() {
            return floor::serve(listener, fixture, orders).await;
        }
        let (cache, shutdown) = (Cache::new(), CancellationToken::new());
        let mut snapshot = fixture.snapshot();
        (0..fixture.groups).for_each(|group| cache.publish(&group, snapshot.clone()));
        let assign = move |node: &Node| {
            let number = node.id.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
            number.unwrap_or_default() % fixture.groups
        };
        let (ads, mut events) = Ads::new(cache.clone(), assign, AdsConfig::default(), shutdown.clone());
        tokio::spawn(async move {
            loop {
                // An owner that listens, as a real one does.
                let (Event::Demand(_) | Event::Outcome(_)) = events.next().await;
            }
        });
        let streams = ads.streams().clone();
        // The clients share the machine, and may be too busy to answer a ping.
        let keepalive_timeout = Duration::from_secs(120);
        let connections = ServeConfig { keepalive_timeout, ..ServeConfig::default() };
        match fixture.transport {
            Transport::Plain => {
                tokio::spawn(serve(listener, ads.routes(), shutdown, connections));
            }
            Transport::Tls => {
                #[cfg(feature = "tls")]
                {
                    let (_, config) = tokio::sync::watch::channel(identity::server()?);
                    let served =
                        pilotage_server::serve_tls(listener, ads.routes(), config, shutdown, connections);
                    tokio::spawn(served);
                }
                #[cfg(not(feature = "tls"))]
                bail!("the server under test has no TLS: build it with --features tls");
            }
        }
        while let Some(order) = orders.recv().await {
            let mut publish = || {
                snapshot = fixture.changed(&snapshot).0;
                (0..fixture.groups).for_each(|group| cache.publish(&group, snapshot.clone()));
            };
            match order {
                Order::Publish => publish(),
                Order::Storm(count, rate) => {
                    storm(count, rate, publish).await;
                    settle(&streams, &snapshot).await?;
                }
            }
        }
        Ok(())
    })
}

async fn storm(count: u32, rate: u32, mut publish: impl FnMut()) {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for _ in 0..count {
        ticks.tick().await;
        publish();
    }
}

/// Waits until every stream has the newest state, and says how long that took.
async fn settle(streams: &Streams<usize>, snapshot: &Snapshot) -> Result<()> {
    let last = Instant::now();
    streams.reached(snapshot.revision()).await;
    println!("{}", last.elapsed().as_secs_f64() * 1e3);
    std::io::stdout().flush()?;
    Ok(())
}

/// The server's process, as the bench sees it.
pub(crate) struct Host {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    pub(crate) address: SocketAddr,
}

/// What a process has used; memory in KiB.
#[derive(Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) peak: u64,
    pub(crate) resident: u64,
}

impl Host {
    pub(crate) async fn start(fixture: Fixture) -> Result<Self> {
        let under = std::env::var(UNDER).unwrap_or_default();
        let own = std::env::current_exe()?;
        let mut words = under.split_whitespace().map(OsString::from).chain([own.into_os_string()]);
        let mut child = Command::new(words.next().context("a program")?)
            .args(words)
            .env(FIXTURE, fixture.to_string())
            .envs(identity::as_environment()?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // It ends by itself when its standard input does; a profiler has something to write then.
            .kill_on_drop(under.is_empty())
            .spawn()?;
        let stdin = child.stdin.take().context("a pipe")?;
        let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let address = stdout.next_line().await?.context("the server ended")?.parse()?;
        Ok(Self { child, stdin, stdout, address })
    }

    pub(crate) async fn publish(&mut self) -> Result<()> {
        self.stdin.write_all(b"publish\n").await?;
        self.stdin.flush().await?;
        Ok(())
    }

    /// Has it publish so often, at a rate a second; returns the time from the last publication until every stream has
    /// acknowledged it.
    pub(crate) async fn storm(&mut self, count: u32, rate: u32) -> Result<Duration> {
        self.stdin.write_all(format!("{count} {rate}\n").as_bytes()).await?;
        self.stdin.flush().await?;
        match self.stdout.next_line().await? {
            Some(line) => Ok(Duration::from_secs_f64(line.parse::<f64>()? / 1e3)),
            None => bail!("the server ended"),
        }
    }

    pub(crate) fn usage(&self) -> Result<Usage> {
        let process = self.child.id().context("the server ended")?;
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The fields after the command, which is in parentheses: user and system time are the 14th and 15th of all.
        let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).context("status")?;
            Ok(line.trim().trim_end_matches(" kB").parse()?)
        };
        let cpu = Duration::from_millis(ticks * 10);
        Ok(Usage { cpu, peak: kib("VmHWM:")?, resident: kib("VmRSS:")? })
    }

    /// Waits until the server has nothing to do any more.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let mut last = self.usage()?.cpu;
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = self.usage()?.cpu;
            if now == last {
                return Ok(());
            }
            last = now;
        }
    }
}
