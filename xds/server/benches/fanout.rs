//! What a fan-out costs: many streams, one connection each, that follow CDS, EDS, LDS and RDS as Envoy does.
//!
//! `cargo bench -p pilotage-server --bench fanout` measures delta and SotW, each beside a floor: a server without any
//! protocol state that replays recorded responses through the same HTTP/2 stack. The server runs in a process of its
//! own, so that its CPU and memory are its own; all traffic stays on loopback. `-- --streams 200 --clusters 100` makes
//! it smaller, `--changes 100` times more changes, and the name of a scenario of [`scenario`] measures something else.
//! `PILOTAGE_BENCH_UNDER="valgrind --tool=callgrind"` runs the server under another program. Nothing here passes or
//! fails by time, but a stream that is not told everything is an error.

#[path = "fanout/client.rs"]
mod client;
#[path = "fanout/fixture.rs"]
mod fixture;
#[path = "fanout/floor.rs"]
mod floor;
#[path = "fanout/host.rs"]
mod host;
#[path = "fanout/identity.rs"]
mod identity;
#[path = "fanout/rude.rs"]
mod rude;
#[path = "fanout/scenario.rs"]
mod scenario;

use anyhow::{Context, Result, bail};

use crate::scenario::Sizes;

fn option(name: &str) -> Result<Option<usize>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    match (arguments.next(), arguments.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(value)) => value.parse().map(Some).with_context(|| format!("{name} takes a number")),
        (Some(_), None) => bail!("{name} takes a number"),
    }
}

fn main() -> Result<()> {
    if let Ok(fixture) = std::env::var(host::FIXTURE) {
        return host::run(fixture.parse()?);
    }
    let sizes = Sizes {
        streams: option("--streams")?,
        clusters: option("--clusters")?,
        changes: option("--changes")?,
    };
    let scenarios: Vec<_> =
        scenario::all().filter(|name| std::env::args().any(|given| given == *name)).collect();
    let scenarios = if scenarios.is_empty() { vec!["usual", "reconnect"] } else { scenarios };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    for name in scenarios {
        println!("\n{name}");
        runtime.block_on(scenario::run(name, sizes))?;
    }
    Ok(())
}
