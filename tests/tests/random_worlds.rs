//! Random worlds, served to a real Envoy: whatever operators write, it has to accept what it is told of it.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use anyhow::Result;
use pilotage::tools::ReservedPort;
use pilotage_tests::Acceptance;
use pilotage_watcher::{Change, Object, World};

#[path = "../../xds/compile/tests/translation/dice.rs"]
#[allow(dead_code, reason = "the file has more throws than are needed here")]
mod dice;

use dice::Dice;

/// Enough for every kind to meet every other; `PILOTAGE_WORLDS` sets another number.
const WORLDS: u64 = 24;

fn world(seed: u64) -> World {
    let mut dice = Dice::new(seed);
    let mut world = World::default();
    for _ in 0..40 {
        match dice.change() {
            // What is written in Envoy's own words may break its rules, and is its author's to correct.
            Change::Apply(Object::EnvoyResources(_)) => {}
            Change::Apply(Object::Gateway(mut gateway)) => {
                for server in &mut Arc::make_mut(&mut gateway).spec.servers {
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

#[tokio::test]
async fn envoy_accepts_what_random_worlds_come_to() -> Result<()> {
    let worlds = std::env::var("PILOTAGE_WORLDS").ok().and_then(|number| number.parse().ok());
    let mut rejected = Vec::new();
    for seed in 0..worlds.unwrap_or(WORLDS) {
        let world = world(seed);
        let egress = ReservedPort::new()?;
        let port = egress.number().to_string();
        let kind = if seed % 3 == 0 { "gateway" } else { "sidecar" };
        let arguments = [
            "--kind",
            kind,
            "--namespace",
            "x",
            "--label",
            "version=v1",
            "--locality",
            "r1/z1",
            "--egress-port",
            &port,
        ];
        let name = format!("world {seed} for a {kind}");
        let acceptance = Acceptance { name: &name, world: &world, bootstrap: &arguments, planted: &[] };
        let folder = tempfile::tempdir()?;
        if let Err(error) = acceptance.check(folder.path()).await {
            rejected.push(format!("{error:#}"));
        }
    }
    assert!(rejected.is_empty(), "{}", rejected.join("\n"));
    Ok(())
}
