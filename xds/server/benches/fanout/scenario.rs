//! The scenarios, each with its floor in the same run.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::client::{Fleet, come_back};
use crate::fixture::{Edit, Fixture, Mode, Transport};
use crate::host::Host;
use crate::rude;

/// Sizes that were asked for; each scenario has its own otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) streams: Option<usize>,
    pub(crate) clusters: Option<usize>,
    pub(crate) changes: Option<usize>,
}

/// The names of all scenarios.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    ["usual", "reconnect", "many", "some", "groups", "tls", "vhds", "storm", "rude"].into_iter()
}

/// A fleet, and what it follows.
#[derive(Clone, Copy)]
struct Plan {
    fixture: Fixture,
    streams: usize,
    /// How many of the streams ask for what changes.
    interested: usize,
    changes: usize,
}

pub(crate) async fn run(name: &str, sizes: Sizes) -> Result<()> {
    let clusters = sizes.clusters.unwrap_or(1000);
    let fixture = Fixture {
        mode: Mode::Delta,
        clusters,
        hosts: clusters,
        groups: 1,
        edit: Edit::Endpoint,
        transport: Transport::Plain,
    };
    let streams = sizes.streams.unwrap_or(1000);
    let many = sizes.streams.unwrap_or(10_000);
    let changes = |usual| sizes.changes.unwrap_or(usual);
    let usual = Plan { fixture, streams, interested: streams, changes: changes(21) };
    let of = |mode| Plan { fixture: Fixture { mode, ..fixture }, ..usual };
    match name {
        "usual" => {
            header(&usual);
            for mode in [Mode::FloorDelta, Mode::Delta, Mode::FloorSotw, Mode::Sotw] {
                measure("", of(mode)).await?;
            }
        }
        "reconnect" => {
            for mode in [Mode::FloorSilent, Mode::Delta] {
                reconnect(Fixture { mode, ..fixture }, streams).await?;
            }
        }
        "many" => {
            let plan = |mode| Plan { streams: many, interested: many, changes: changes(9), ..of(mode) };
            header(&plan(Mode::Delta));
            for mode in [Mode::FloorDelta, Mode::Delta] {
                measure("", plan(mode)).await?;
            }
            for mode in [Mode::FloorSilent, Mode::Delta] {
                reconnect(Fixture { mode, ..fixture }, many).await?;
            }
        }
        "some" => {
            let some = Plan { streams: many, interested: many / 10, ..usual };
            header(&some);
            let alone = Plan { streams: many / 10, ..some };
            measure("alone", Plan { fixture: Fixture { mode: Mode::FloorDelta, ..fixture }, ..alone })
                .await?;
            measure("alone", alone).await?;
            measure("a tenth", some).await?;
        }
        "groups" => {
            header(&usual);
            measure("", of(Mode::FloorDelta)).await?;
            for groups in [1, 500] {
                let fixture = Fixture { groups, ..fixture };
                measure(&format!("{groups} groups"), Plan { fixture, ..usual }).await?;
            }
        }
        "tls" => {
            header(&usual);
            for mode in [Mode::FloorDelta, Mode::Delta] {
                let fixture = Fixture { mode, transport: Transport::Tls, ..fixture };
                measure("TLS", Plan { fixture, ..usual }).await?;
            }
        }
        "vhds" => {
            let edited = Fixture { clusters: 100, hosts: clusters * 10, edit: Edit::VirtualHost, ..fixture };
            let plan = |mode| Plan { fixture: Fixture { mode, ..edited }, changes: changes(5), ..usual };
            header(&plan(Mode::Delta));
            for mode in
                [Mode::FloorSotw, Mode::Sotw, Mode::FloorDelta, Mode::Delta, Mode::FloorVhds, Mode::Vhds]
            {
                measure("", plan(mode)).await?;
            }
        }
        "storm" => {
            for mode in [Mode::Delta, Mode::Sotw] {
                storm(of(mode)).await?;
            }
        }
        "rude" => {
            for mode in [Mode::FloorDelta, Mode::Delta] {
                rude::measure(Fixture { mode, clusters: 100, hosts: 100, ..fixture }).await?;
            }
        }
        _ => bail!("there is no scenario {name}"),
    }
    Ok(())
}

fn header(plan: &Plan) {
    let Plan { fixture, streams, .. } = plan;
    println!("{streams} streams, {} clusters; bytes of resources: {}", fixture.clusters, fixture.sizes());
    println!(
        "{:<22} {:>11} {:>10} {:>9} {:>9} {:>11} {:>11} {:>11} {:>9}",
        "", "complete", "CPU", "peak RSS", "settled", "change p50", "change max", "CPU/change", "bytes"
    );
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

async fn measure(label: &str, plan: Plan) -> Result<()> {
    let Plan { fixture, streams, interested, changes } = plan;
    let mut host = Host::start(fixture).await?;
    let before = host.usage()?;
    let started = Instant::now();
    let mut fleet = Fleet::connect(host.address, fixture, streams, interested).await?;
    fleet.complete().await?;
    let complete = started.elapsed();
    // The last acknowledgements are still on their way.
    host.quiet().await?;
    let filled = host.usage()?;

    let mut latencies = Vec::new();
    fleet.take_counts();
    let before_changes = host.usage()?;
    for _ in 0..changes {
        let published = Instant::now();
        host.publish().await?;
        latencies.push(fleet.changed().await?.duration_since(published));
        host.quiet().await?;
    }
    let (_, bytes) = fleet.take_counts();
    let after = host.usage()?;
    latencies.sort_unstable();
    println!(
        "{:<22} {:>8.0} ms {:>7.0} ms {:>5} MiB {:>5} MiB {:>8.1} ms {:>8.1} ms {:>8.1} ms {:>9}",
        format!("{:?} {label}", fixture.mode),
        milliseconds(complete),
        milliseconds(filled.cpu - before.cpu),
        filled.peak >> 10,
        after.resident >> 10,
        milliseconds(latencies[changes / 2]),
        milliseconds(latencies[changes - 1]),
        milliseconds(after.cpu - before_changes.cpu) / changes as f64,
        bytes / changes / interested,
    );
    Ok(())
}

/// All clients leave and return with what they have, and nothing has changed.
async fn reconnect(fixture: Fixture, streams: usize) -> Result<()> {
    let host = Host::start(fixture).await?;
    if !fixture.mode.is_floor() {
        let mut fleet = Fleet::connect(host.address, fixture, streams, streams).await?;
        fleet.complete().await?;
        fleet.leave().await;
        host.quiet().await?;
    }
    let (before, started) = (host.usage()?, Instant::now());
    let received = come_back(host.address, fixture, streams).await?;
    let took = started.elapsed();
    host.quiet().await?;
    let after = host.usage()?;
    println!(
        "{:<22} {streams} streams back in {:.0} ms, CPU {:.0} ms, {received} resource bytes sent, peak RSS {} MiB",
        format!("{:?}", fixture.mode),
        milliseconds(took),
        milliseconds(after.cpu - before.cpu),
        after.peak >> 10,
    );
    Ok(())
}

/// A thousand publications a second, for five seconds; every stream must end on the newest state.
async fn storm(plan: Plan) -> Result<()> {
    let (count, rate) = (5000, 1000);
    let mut host = Host::start(plan.fixture).await?;
    let mut fleet = Fleet::connect(host.address, plan.fixture, plan.streams, plan.streams).await?;
    fleet.complete().await?;
    host.quiet().await?;
    let before = host.usage()?;
    fleet.take_counts();
    let started = Instant::now();
    let settled = host.storm(count, rate).await?;
    let took = started.elapsed();
    let after = host.usage()?;
    let (responses, bytes) = fleet.take_counts();
    println!(
        "{:<22} {count} publications in {:.0} ms, the last acknowledged by all {:.0} ms later; {} responses and {} bytes a stream, CPU {:.0} ms, peak RSS {} MiB (before: {} MiB)",
        format!("{:?}", plan.fixture.mode),
        milliseconds(took.saturating_sub(settled)),
        milliseconds(settled),
        responses / plan.streams,
        bytes / plan.streams,
        milliseconds(after.cpu - before.cpu),
        after.peak >> 10,
        before.peak >> 10,
    );
    Ok(())
}
