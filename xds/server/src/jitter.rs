//! Chance, by which what began together does not end together.

use std::hash::{BuildHasher, RandomState};

/// A number from 0 to 1, another one each time: the keys of a `RandomState` are random.
pub(crate) fn share() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(()) >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}
