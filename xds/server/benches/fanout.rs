//! What a fan-out costs: many streams, one connection each, that follow CDS, EDS, LDS and RDS as Envoy does.
//!
//! `cargo bench -p pilotage-server --bench fanout` measures delta and SotW, each beside a floor: a server without any
//! protocol state that replays recorded responses through the same HTTP/2 stack. The server runs in a process of its
//! own, so that its CPU and memory are its own; all traffic stays on loopback. `-- --streams 200 --clusters 100` makes
//! it smaller. Nothing here passes or fails by time, but a stream that is not told everything is an error.

#[path = "fanout/client.rs"]
mod client;
#[path = "fanout/fixture.rs"]
mod fixture;
#[path = "fanout/floor.rs"]
mod floor;
#[path = "fanout/host.rs"]
mod host;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Fleet;
use crate::fixture::{Fixture, Mode};
use crate::host::Host;

/// How many changes are timed.
const CHANGES: usize = 21;

fn option(name: &str, default: usize) -> Result<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(default),
        (Some(_), Some(value)) => value.parse().with_context(|| format!("{name} takes a number")),
        (Some(_), None) => bail!("{name} takes a number"),
    }
}

fn main() -> Result<()> {
    let fixture = Fixture { clusters: option("--clusters", 1000)? };
    if let Ok(mode) = std::env::var(host::MODE) {
        return host::run(fixture, mode.parse()?);
    }
    let streams = option("--streams", 1000)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    println!("{streams} streams, {} clusters; bytes of resources: {}", fixture.clusters, fixture.sizes());
    println!(
        "{:<12} {:>13} {:>10} {:>10} {:>12} {:>12} {:>12} {:>12}",
        "", "complete", "CPU", "peak RSS", "RSS settled", "change p50", "change max", "CPU/change"
    );
    let modes = [Mode::FloorDelta, Mode::Delta, Mode::FloorSotw, Mode::Sotw];
    for mode in modes {
        runtime.block_on(measure(fixture, mode, streams))?;
    }
    runtime.block_on(reconnect(fixture, streams))
}

async fn measure(fixture: Fixture, mode: Mode, streams: usize) -> Result<()> {
    let mut host = Host::start(fixture, mode).await?;
    let before = host.usage()?;
    let started = Instant::now();
    let mut fleet = Fleet::connect(host.address, fixture, mode, streams).await?;
    fleet.complete().await?;
    let complete = started.elapsed();
    // The last acknowledgements are still on their way.
    host.quiet().await?;
    let filled = host.usage()?;

    let mut latencies = Vec::new();
    let before_changes = host.usage()?;
    for _ in 0..CHANGES {
        let published = Instant::now();
        host.publish().await?;
        latencies.push(fleet.changed().await?.duration_since(published));
        host.quiet().await?;
    }
    let after = host.usage()?;
    latencies.sort_unstable();
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    println!(
        "{:<12} {:>10.0} ms {:>7.0} ms {:>6} MiB {:>8} MiB {:>9.1} ms {:>9.1} ms {:>9.1} ms",
        mode.name(),
        milliseconds(complete),
        milliseconds(filled.cpu - before.cpu),
        filled.peak >> 10,
        after.resident >> 10,
        milliseconds(latencies[CHANGES / 2]),
        milliseconds(latencies[CHANGES - 1]),
        milliseconds(after.cpu - before_changes.cpu) / CHANGES as f64,
    );
    Ok(())
}

/// All clients leave and return with what they have, and nothing has changed.
async fn reconnect(fixture: Fixture, streams: usize) -> Result<()> {
    let host = Host::start(fixture, Mode::Delta).await?;
    let mut fleet = Fleet::connect(host.address, fixture, Mode::Delta, streams).await?;
    fleet.complete().await?;
    host.quiet().await?;
    let (before, started) = (host.usage()?, Instant::now());
    let received = fleet.reconnect().await?;
    let took = started.elapsed();
    host.quiet().await?;
    let after = host.usage()?;
    println!(
        "reconnect, nothing changed, delta: {:.0} ms, CPU {:.0} ms, {received} resource bytes sent, peak RSS {} MiB",
        took.as_secs_f64() * 1e3,
        (after.cpu - before.cpu).as_secs_f64() * 1e3,
        after.peak >> 10,
    );
    Ok(())
}
