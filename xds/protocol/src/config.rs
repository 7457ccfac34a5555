//! Settings of a session, with their defaults.

use std::time::Duration;

/// How a session behaves where the protocol leaves the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// How long a resource waits for what it refers to, and a removal for what still refers to it; 5 s.
    ///
    /// Only a client that does not answer, or that rejected what is waited for, takes this long.
    pub reference_wait: Duration,
    /// How long a response may stay unanswered before the type goes on without the answer (R21); 15 s.
    pub answer_wait: Duration,
    /// What a client may make the session remember.
    pub limits: Limits,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            reference_wait: Duration::from_secs(5),
            answer_wait: Duration::from_secs(15),
            limits: Limits::default(),
        }
    }
}

/// Bounds on what a client may make the session remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Distinct types on one stream; 32.
    pub types: usize,
    /// Names within one type; 200 000.
    pub names_per_type: usize,
    /// Bytes of all names on one stream; 32 MiB.
    pub name_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { types: 32, names_per_type: 200_000, name_bytes: 32 << 20 }
    }
}
