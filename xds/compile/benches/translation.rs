//! What translation costs: everything from nothing, one edit of each kind, and what another group adds.
//!
//! `cargo bench -p pilotage-compile --bench translation` measures worlds of 100, 1,000 and 10,000 Services with ten
//! endpoints each, where a tenth as many DestinationRules and three tenths as many VirtualServices. Nothing here passes
//! or fails by time. `-- --services N` measures one size alone, `-- --groups N` how many groups are made of it.

#[path = "translation/edit.rs"]
mod edit;
#[path = "translation/measure.rs"]
mod measure;
#[path = "translation/mesh.rs"]
mod mesh;

use std::collections::BTreeSet;
use std::error::Error;

use pilotage_compile::{Compiled, Group, ProxyKind, Settings, compile};

use crate::measure::{Timings, resident, timed};
use crate::mesh::Mesh;

fn option(name: &str) -> Result<Option<usize>, Box<dyn Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    Ok(arguments.next().map(|value| value.parse()).transpose()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let sizes = option("--services")?.map_or_else(|| vec![100, 1_000, 10_000], |size| vec![size]);
    let groups = option("--groups")?.unwrap_or(10);
    println!("{:>8}  {:<28} {:>12} {:>12} {:>12}", "services", "", "least", "median", "most");
    for services in sizes {
        measure(&Mesh { services }, groups);
    }
    Ok(())
}

fn row(services: usize, what: &str, timings: &Timings) {
    println!(
        "{services:>8}  {what:<28} {:>12} {:>12} {:>12}",
        Timings::text(timings.least()),
        Timings::text(timings.median()),
        Timings::text(timings.most()),
    );
}

fn memory(services: usize, what: &str, kib: u64, each: usize) {
    let bytes = kib * 1024 / u64::try_from(each).unwrap_or(1).max(1);
    println!("{services:>8}  {what:<28} {:>8} MiB {bytes:>8} B each", kib / 1024);
}

fn sidecar(namespace: String) -> Group {
    let kind = ProxyKind::Sidecar { egress_port: 15_001, tcp_egress: false };
    Group { kind, namespace: namespace.into(), labels: Default::default(), location: Default::default() }
}

fn measure(mesh: &Mesh, groups: usize) {
    let services = mesh.services;
    let empty = resident();
    let mut world = mesh.world();
    let full = resident();
    memory(services, "the world", full - empty, services);
    memory(services, "the world, per endpoint", full - empty, services * mesh::ENDPOINTS);
    let (settings, asked) = (Settings::default(), BTreeSet::new());
    let first = sidecar(mesh.namespace(0));
    let mut compiled = None;
    let mut timings = Timings::default();
    for _ in 0..if services > 1_000 { 3 } else { 7 } {
        drop(compiled.take());
        let (outcome, took) = timed(|| compile(&world, &first, &settings, &asked, None));
        compiled = Some(outcome);
        timings.add(took);
    }
    row(services, "everything", &timings);
    memory(services, "one group", resident() - full, services);
    let mut compiled = compiled.unwrap_or_default();
    for edit in edit::Edit::ALL {
        let mut timings = Timings::default();
        for round in 1..=21 {
            let touched = edit.make(mesh, &mut world, round);
            let (next, took) = timed(|| match touched.config.is_empty() {
                true => pilotage_compile::compile_endpoints(&world, &compiled, &touched.endpoints),
                false => compile(&world, &first, &settings, &asked, Some(&compiled)),
            });
            compiled = next;
            timings.add(took);
        }
        row(services, edit.text(), &timings);
    }
    let before = resident();
    let mut members: Vec<Compiled> = Vec::new();
    let mut timings = Timings::default();
    for number in 1..groups {
        let group = sidecar(mesh.namespace(number * 100));
        let (outcome, took) = timed(|| compile(&world, &group, &settings, &asked, None));
        members.push(outcome);
        timings.add(took);
    }
    row(services, "another group", &timings);
    memory(services, "another group", (resident() - before) / u64::try_from(groups).unwrap_or(1), services);
}
