//! Whatever happens between a client and a session, in whatever order: it never panics, the client ends with
//! *interest ∩ snapshot*, and then there is silence.

#[path = "convergence/world.rs"]
mod world;

use pilotage_protocol::Dialect;
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use world::{NAMES, Step, TYPES, converges};

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (types, names) = (0..TYPES.len(), 0..NAMES.len());
    let content = prop_oneof![1 => Just(None), 4 => (0..4u8).prop_map(Some)];
    let step = prop_oneof![
        4 => (types.clone(), vec((names.clone(), content), 0..4), proptest::option::of(names.clone()))
            .prop_map(|(of, changes, reference)| Step::Change(of, changes, reference)),
        1 => Just(Step::Rebuild),
        3 => (types.clone(), btree_set(names, 0..4), any::<bool>())
            .prop_map(|(of, names, wildcard)| Step::Subscribe(of, names, wildcard)),
        6 => Just(Step::Deliver),
        6 => any::<bool>().prop_map(Step::Answer),
        1 => types.prop_map(Step::Nonsense),
        1 => (1..20u64).prop_map(Step::Tick),
        1 => any::<bool>().prop_map(Step::Reconnect),
    ];
    vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sotw_clients_converge_and_fall_silent(steps in steps()) {
        converges(Dialect::Sotw, steps);
    }

    #[test]
    fn delta_clients_converge_and_fall_silent(steps in steps()) {
        converges(Dialect::Delta, steps);
    }
}

/// The fuzzer speaks in bytes; every kind of step has some that stand for it.
#[test]
fn bytes_stand_for_every_kind_of_step() {
    let bytes: Vec<u8> = (0..=255).collect();
    let steps = bytes.iter().flat_map(|byte| world::decode(&[*byte, 1, 2, 3, 4, 5]));
    let mut kinds: Vec<_> = steps.map(|step| std::mem::discriminant(&step)).collect();
    let mut distinct = Vec::new();
    while let Some(kind) = kinds.pop() {
        if !distinct.contains(&kind) {
            distinct.push(kind);
        }
    }
    assert_eq!(distinct.len(), 8);
}
