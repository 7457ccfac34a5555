//! Random worlds, served one after the other to real Envoys: whatever operators write, they have to accept what they are
//! told of it.
//!
//! `PILOTAGE_WORLDS` sets another number of them, or those of some seeds, such as `1300..1400`.

#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use pilotage_compile::Group;
use pilotage_tests::golden::header;
use pilotage_tests::{Acceptance, Seen};
use pilotage_watcher::{Change, Object, World};

#[path = "../../xds/compile/tests/translation/dice.rs"]
mod dice;

use dice::Dice;

/// Enough for every kind to meet every other.
const WORLDS: u64 = 1_000;

/// Who looks at a world: every kind of Envoy with how it is started, where labels and places matter.
const VIEWERS: [(&str, &str); 3] = [
    ("gateway", "# group: gateway namespace=x labels=version=v1 locality=r1/z1 node=n1"),
    ("sidecar", "# group: sidecar namespace=x labels=version=v1 locality=r1/z1 node=n1"),
    ("sidecar", "# group: intercepted namespace=x labels=version=v1 locality=r1/z1 node=n1"),
];

fn world(seed: u64, address: &str) -> World {
    let mut world = World::default();
    for change in Dice::new(seed).world(30) {
        match change {
            Change::Apply(Object::Gateway(mut gateway)) => {
                for server in &mut Arc::make_mut(&mut gateway).spec.servers {
                    // An address of this Envoy's own, so that no other process has the port.
                    if server.bind.as_deref() != Some("x") {
                        server.bind = Some(address.to_owned());
                    }
                    // Low ports are not everyone's to listen on.
                    if (1..1024).contains(&server.port.number) {
                        server.port.number += 28_000;
                    }
                }
                drop(world.apply(Object::Gateway(gateway)));
            }
            Change::Apply(object) => drop(world.apply(object)),
            Change::Delete(key) => drop(world.delete(&key)),
            Change::Problems { .. } | Change::Synced(_) => {}
        }
    }
    world
}

/// Serves worlds to one Envoy; gives what it rejected, by seed.
async fn rejected(kind: &str, group: &Group, seeds: Range<u64>) -> Result<Vec<String>> {
    let place = tempfile::tempdir()?;
    let certs = place.path().join("certs");
    std::fs::create_dir(&certs)?;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xds/compile/tests/golden/fields/certs");
    for entry in std::fs::read_dir(golden)? {
        let entry = entry?;
        std::fs::copy(entry.path(), certs.join(entry.file_name()))?;
    }
    let process = std::process::id();
    let address =
        format!("127.{}.{}.{}", 2 + (process >> 16) % 250, (process >> 8) & 255, 1 + (process & 255) % 254);
    let mut envoy = Acceptance::start(kind, place.path()).await?;
    let mut rejected = Vec::new();
    for seed in seeds {
        let world = world(seed, &address);
        if let Err(error) = envoy.serve(Seen { world: &world, group }, []).await {
            rejected.push(format!("world {seed} for {group}: {error:#}"));
        }
        if envoy.is_over() {
            return Ok(rejected);
        }
    }
    envoy.end().await?;
    Ok(rejected)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_accepts_what_random_worlds_come_to() -> Result<()> {
    let wanted = std::env::var("PILOTAGE_WORLDS").unwrap_or_else(|_| WORLDS.to_string());
    let (start, end) = wanted.split_once("..").unwrap_or(("0", &wanted));
    let seeds: Range<u64> = start.parse()?..end.parse()?;
    let mut running = Vec::new();
    for (kind, line) in VIEWERS {
        let viewer = header(line).map_err(anyhow::Error::msg)?.viewers.remove(0);
        let seeds = seeds.clone();
        running.push(tokio::spawn(async move { rejected(kind, &viewer.group, seeds).await }));
    }
    let mut all = Vec::new();
    for running in running {
        all.extend(running.await.context("the worlds of one Envoy")??);
    }
    assert!(all.is_empty(), "{} of the worlds {seeds:?}:\n{}", all.len(), all.join("\n"));
    Ok(())
}
