//! A client and a session in whatever order: the client ends with what it asked for, and then there is silence.
//!
//! The steps and the judgement are those of the property test; here coverage looks for the sequences.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pilotage_protocol::Dialect;

#[path = "../../xds/protocol/tests/convergence/world.rs"]
mod world;

fuzz_target!(|data: &[u8]| {
    let [dialect, data @ ..] = data else { return };
    let dialect = if dialect % 2 == 0 { Dialect::Sotw } else { Dialect::Delta };
    world::converges(dialect, world::decode(data));
});
