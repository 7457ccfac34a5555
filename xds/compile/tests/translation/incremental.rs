//! Translation follows a world edit by edit, for several groups at once, and comes to what it would from nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_compile::{
    Catalog, Checkup, Compiled, Group, LabelKeys, Location, ProxyKind, Settings, check, compile_endpoints,
    compile_secrets,
};
use pilotage_protocol::Name;
use pilotage_watcher::{Change, Object, ObjectKey, Touched, World};
use proptest::prelude::*;

use crate::dice::Dice;
use crate::properties::{apply, asked, kept, same};
use crate::world::{Case, cases, objects};

/// How many worlds are edited: few, for each is translated whole after every edit; `PROPTEST_CASES` says otherwise.
fn edited_worlds() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(64)
}

/// Groups that differ in each thing that a translation may look at.
fn groups() -> Vec<(Group, BTreeSet<Name>)> {
    let sidecar = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: true };
    let group = |kind, namespace: &str, version: Option<&str>, zone: &str| {
        let labels = version.map(|version| ("version".into(), version.into()));
        let location = Location { zone: zone.into(), ..Location::default() };
        let asked = if kind == ProxyKind::Grpc { asked() } else { BTreeSet::new() };
        (Group { kind, namespace: namespace.into(), labels: labels.into_iter().collect(), location }, asked)
    };
    vec![
        group(sidecar, "x", None, ""),
        group(sidecar, "y", None, ""),
        group(sidecar, "z", None, ""),
        group(sidecar, "x", Some("v1"), "z1"),
        group(ProxyKind::Intercepted, "x", Some("v1"), ""),
        group(ProxyKind::Gateway, "x", Some("v1"), ""),
        group(ProxyKind::Gateway, "y", Some("v2"), ""),
        group(ProxyKind::Grpc, "x", None, ""),
    ]
}

/// Keeps what there is, to be edited.
fn note(there: &mut BTreeMap<ObjectKey, Object>, change: &Change) {
    match change {
        Change::Apply(object) => drop(there.insert(object.key(), object.clone())),
        Change::Delete(key) => drop(there.remove(key)),
        Change::Problems { .. } | Change::Synced(_) => {}
    }
}

fn kind(group: &Group) -> &'static str {
    match group.kind {
        ProxyKind::Sidecar { .. } => "sidecar",
        ProxyKind::Intercepted => "intercepted",
        ProxyKind::Gateway => "gateway",
        ProxyKind::Grpc => "grpc",
    }
}

/// Each object of each golden world goes and comes back, so that every feature that has a golden is among the edits.
#[test]
fn what_hangs_on_an_object_goes_and_comes_back_with_it() {
    let settings = Settings::default();
    for Case { folder, name, world, group, asked } in cases() {
        let whole = Catalog::of(&world, &settings);
        let before = whole.compile(&group, &asked, None);
        for object in objects(&folder) {
            println!("{}, {name}: {}", folder.display(), object.key());
            let mut world = world.clone();
            world.delete(&object.key());
            let catalog = whole.follow(&world);
            let without = catalog.compile(&group, &asked, Some(&before));
            same(&without, &Catalog::of(&world, &settings).compile(&group, &asked, None));
            world.apply(object);
            let again = catalog.follow(&world).compile(&group, &asked, Some(&without));
            same(&again, &before);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: edited_worlds(), ..ProptestConfig::default() })]

    #[test]
    fn every_edit_comes_to_what_a_full_translation_does(seed: u64, steps in 1usize..16) {
        let mut dice = Dice::new(seed);
        let settings = Settings::default();
        let mut world = World::default();
        let mut there = BTreeMap::new();
        for change in dice.world(8) {
            note(&mut there, &change);
            apply(&mut world, change);
        }
        let mut catalog = Catalog::of(&world, &settings);
        let mut checkup = Checkup::default().follow(&catalog);
        let mut keys = LabelKeys::of(&world, &Settings::default());
        let mut members: BTreeMap<Group, Compiled> = BTreeMap::new();
        for _ in 0..steps {
            // Several edits may come at once, and endpoints come ahead of the rest.
            let mut touched = Touched::default();
            for _ in 0..=dice.below(2) {
                let change = if dice.below(8) > 0 { dice.edit(&there) } else { dice.change() };
                note(&mut there, &change);
                touched.merge(apply(&mut world, change));
            }
            let before = members.clone();
            for compiled in members.values_mut() {
                *compiled = compile_endpoints(&world, compiled, &touched.endpoints);
                *compiled = compile_secrets(&world, compiled, &touched.secrets);
            }
            // Whoever is compiled for is compiled for from the world as it is.
            let is_new = groups().iter().any(|(group, _)| !members.contains_key(group));
            if !touched.config.is_empty() || is_new {
                catalog = catalog.follow(&world);
                checkup = checkup.follow(&catalog);
            }
            keys = keys.follow(&world);
            prop_assert!(keys == LabelKeys::of(&world, &Settings::default()));
            let full = Catalog::of(&world, &settings);
            let mut others: BTreeMap<&str, Compiled> = BTreeMap::new();
            for (group, asked) in groups() {
                // A group that is new is made from one that is there.
                let kind = kind(&group);
                let previous = members.get(&group).or(others.get(kind));
                let compiled = match members.get(&group) {
                    Some(known) if touched.config.is_empty() => known.clone(),
                    _ => catalog.compile(&group, &asked, previous),
                };
                same(&compiled, &full.compile(&group, &asked, None));
                if let Some(before) = before.get(&group) {
                    kept(before, &compiled, touched.config.is_empty());
                }
                others.entry(kind).or_insert(compiled.clone());
                members.insert(group, compiled);
            }
            if !touched.config.is_empty() {
                prop_assert_eq!(checkup.problems(), check(&world, &settings));
            }
            // Some groups leave and come back, with less in common with those that stayed.
            members.retain(|_, _| dice.below(6) > 0);
        }
    }

    #[test]
    fn a_check_tells_what_any_sidecar_would_be_told(seed: u64, objects in 1usize..30) {
        let mut dice = Dice::new(seed);
        let settings = Settings::default();
        let mut world = World::default();
        for _ in 0..objects {
            apply(&mut world, dice.change());
        }
        let told = check(&world, &settings);
        let told: BTreeSet<_> =
            told.iter().map(|found| (&found.object, &found.path, found.code, &found.message)).collect();
        let location =
            Location { region: "region".into(), zone: "zone".into(), subzone: "".into(), node: "node".into() };
        let kind = ProxyKind::Sidecar { egress_port: 15001, tcp_egress: false };
        let catalog = Catalog::of(&world, &settings);
        for namespace in ["x", "y"] {
            let owns = |namespace: &Arc<str>| world.services().any(|object| object.meta.namespace == *namespace);
            let namespace: Arc<str> = namespace.into();
            let labels = BTreeMap::new();
            let group = Group { kind, namespace: namespace.clone(), labels, location: location.clone() };
            let compiled = catalog.compile(&group, &BTreeSet::new(), None);
            for problem in compiled.problems().filter(|_| owns(&namespace)) {
                let key = (&problem.object, &problem.path, problem.code, &problem.message);
                prop_assert!(told.contains(&key), "{namespace}: {problem}");
            }
        }
    }
}
