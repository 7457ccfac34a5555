//! The server's own process: started by the bench as itself, told on standard input when to publish.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use pilotage_server::{Ads, AdsConfig, Cache, Event, ServeConfig, serve};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Mode};
use crate::floor;

/// Set in the server's process: which server it is.
pub(crate) const MODE: &str = "PILOTAGE_BENCH_MODE";

/// Runs the server until standard input ends.
pub(crate) fn run(fixture: Fixture, mode: Mode) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (publish, mut published) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            let _ = publish.send(());
        }
        std::process::exit(0);
    });
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        if mode.is_floor() {
            return floor::serve(listener, fixture, mode, published).await;
        }
        let (cache, shutdown) = (Cache::new(), CancellationToken::new());
        let mut snapshot = fixture.snapshot();
        cache.publish(&(), snapshot.clone());
        let (ads, mut events) = Ads::new(cache.clone(), |_node| (), AdsConfig::default(), shutdown.clone());
        tokio::spawn(async move {
            loop {
                // An owner that listens, as a real one does.
                let (Event::Demand(_) | Event::Outcome(_)) = events.next().await;
            }
        });
        tokio::spawn(serve(listener, ads.routes(), shutdown, ServeConfig::default()));
        while published.recv().await.is_some() {
            snapshot = fixture.changed(&snapshot);
            cache.publish(&(), snapshot.clone());
        }
        Ok(())
    })
}

/// The server's process, as the bench sees it.
pub(crate) struct Host {
    child: Child,
    stdin: ChildStdin,
    /// Read by nobody; closed, it would be an error to write to.
    _stdout: Lines<BufReader<ChildStdout>>,
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
    pub(crate) async fn start(fixture: Fixture, mode: Mode) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--clusters", &fixture.clusters.to_string()])
            .env(MODE, mode.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take().context("a pipe")?;
        let mut stdout = BufReader::new(child.stdout.take().context("a pipe")?).lines();
        let address = stdout.next_line().await?.context("the server ended")?.parse()?;
        Ok(Self { child, stdin, _stdout: stdout, address })
    }

    pub(crate) async fn publish(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n").await?;
        self.stdin.flush().await?;
        Ok(())
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
