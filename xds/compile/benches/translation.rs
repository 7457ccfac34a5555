//! What translation costs: everything from nothing, one edit of each kind, another group, and a checkup.
//!
//! `cargo bench -p pilotage-compile --bench translation` measures worlds of 100, 1,000 and 10,000 Services with ten
//! endpoints each, a tenth as many DestinationRules and three tenths as many VirtualServices, each in a process of its
//! own. Nothing here passes or fails by time. `-- --services N` measures one size alone, `--groups N` makes that many
//! groups, `--problems N` lets as many VirtualServices name a host that is not there.

#[path = "translation/edit.rs"]
mod edit;
#[path = "translation/measure.rs"]
mod measure;
#[path = "translation/mesh.rs"]
mod mesh;

use std::collections::BTreeSet;
use std::error::Error;
use std::process::Command;

use pilotage_compile::{Catalog, Checkup, Compiled, Group, ProxyKind, Settings, compile_endpoints};

use crate::edit::Edit;
use crate::measure::{Timings, memory, resident, row, timed};
use crate::mesh::Mesh;

/// How often each edit is made.
const EDITS: usize = 41;

/// Groups of which it is told what they cost.
const TOLD: [usize; 3] = [2, 10, 500];

fn option(name: &str) -> Result<Option<usize>, Box<dyn Error>> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    Ok(arguments.next().map(|value| value.parse()).transpose()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let groups = option("--groups")?.unwrap_or(10);
    let problems = option("--problems")?.unwrap_or(0);
    if let Some(services) = option("--services")? {
        measure(&Mesh { services, problems }, groups);
        return Ok(());
    }
    println!("{:>8}  {:<28} {:>12} {:>12} {:>12}", "services", "", "least", "median", "most");
    for services in [100, 1_000, 10_000] {
        let arguments = [("--services", services), ("--groups", groups), ("--problems", problems)];
        let arguments = arguments.map(|(name, value): (_, usize)| [name.to_owned(), value.to_string()]);
        let status = Command::new(std::env::current_exe()?).args(arguments.concat()).status()?;
        if !status.success() {
            return Err(format!("with {services} Services: {status}").into());
        }
    }
    Ok(())
}

fn sidecar(namespace: String) -> Group {
    let kind = ProxyKind::Sidecar { egress_port: 15_001, tcp_egress: false };
    Group { kind, namespace: namespace.into(), labels: Default::default(), location: Default::default() }
}

fn measure(mesh: &Mesh, groups: usize) {
    let services = mesh.services;
    let (settings, asked) = (Settings::default(), BTreeSet::new());
    let before = resident();
    let mut world = mesh.world();
    memory(services, "the world", resident() - before, services);
    let before = resident();
    let (mut catalog, reading) = timed(|| Catalog::of(&world, &settings));
    memory(services, "the catalog", resident() - before, services);
    let first = sidecar(mesh.namespace(0));
    let before = resident();
    let (mut compiled, translating) = timed(|| catalog.compile(&first, &asked, None));
    memory(services, "one group", resident() - before, services);
    let mut timings = Timings::default();
    timings.add(reading + translating);
    for _ in 0..if services > 1_000 { 4 } else { 10 } {
        timings.add(timed(|| Catalog::of(&world, &settings).compile(&first, &asked, None)).1);
    }
    row(services, "everything", &timings);
    for edit in Edit::ALL {
        let mut timings = Timings::default();
        for round in 1..=EDITS {
            let touched = edit.make(mesh, &mut world, round);
            if edit == Edit::Endpoint {
                let (next, took) = timed(|| compile_endpoints(&world, &compiled, &touched.endpoints));
                compiled = next;
                timings.add(took);
                continue;
            }
            let ((read, next), took) = timed(|| {
                let catalog = catalog.follow(&world);
                let next = catalog.compile(&first, &asked, Some(&compiled));
                (catalog, next)
            });
            (catalog, compiled) = (read, next);
            timings.add(took);
        }
        row(services, edit.text(), &timings);
    }
    check(mesh, &mut world, &catalog);
    another_group(mesh, &catalog, &compiled, groups);
}

fn check(mesh: &Mesh, world: &mut pilotage_watcher::World, catalog: &Catalog) {
    let before = resident();
    let ((mut checkup, found), took) = timed(|| {
        let checkup = Checkup::default().follow(catalog);
        let found = checkup.problems().len();
        (checkup, found)
    });
    memory(mesh.services, "a checkup", resident() - before, mesh.services);
    let mut timings = Timings::default();
    timings.add(took);
    row(mesh.services, &format!("a checkup: {found} problems"), &timings);
    let (mut catalog, mut timings) = (catalog.clone(), Timings::default());
    for round in 1..=EDITS {
        Edit::VirtualService.make(mesh, world, round);
        catalog = catalog.follow(world);
        let (next, took) = timed(|| {
            let next = checkup.follow(&catalog);
            let found = next.problems().len();
            (next, found)
        });
        checkup = next.0;
        timings.add(took);
    }
    row(mesh.services, "a checkup after an edit", &timings);
}

fn another_group(mesh: &Mesh, catalog: &Catalog, compiled: &Compiled, groups: usize) {
    let (asked, before) = (BTreeSet::new(), resident());
    let mut members: Vec<Compiled> = Vec::new();
    for number in 2..=groups {
        // Beyond the namespaces with Services there are those of callers alone.
        let group = sidecar(mesh.namespace(number * 100));
        let (outcome, took) = timed(|| catalog.compile(&group, &asked, Some(compiled)));
        members.push(outcome);
        if TOLD.contains(&number) {
            let mut timings = Timings::default();
            timings.add(took);
            row(mesh.services, &format!("group {number}"), &timings);
        }
    }
    memory(mesh.services, "each other group", (resident() - before) / groups.max(2) as u64, mesh.services);
}
