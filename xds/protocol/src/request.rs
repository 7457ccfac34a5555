//! What a client says, free of protobuf, and why the session may refuse to hear more of it.

use std::collections::HashMap;

use crate::{Interest, ResourceType};

/// Which of the two protocol variants a stream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// State of the world: every request carries the complete set of names.
    Sotw,
    /// Incremental: requests and responses carry differences.
    Delta,
}

/// One discovery request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The type that it is about.
    pub resource_type: ResourceType,
    /// The nonce of the response that it answers; empty where it answers none.
    pub nonce: String,
    /// Set where it rejects that response (R14).
    pub error: Option<Rejection>,
    /// What it says about the subscription.
    pub names: Names,
}

/// The part of a request that says what the client wants.
#[derive(Clone, Debug)]
pub enum Names {
    /// SotW: the complete set of names (R23).
    Exactly {
        /// The names.
        names: Vec<String>,
        /// The version that the client last accepted; empty at first.
        version: String,
    },
    /// Delta: differences from what was subscribed to before.
    Change {
        /// Names to add.
        subscribe: Vec<String>,
        /// Names to take away.
        unsubscribe: Vec<String>,
        /// What the client holds by name and version; read on the first request of a type only (R49).
        initial_versions: HashMap<String, String>,
    },
    /// SotW: the same names as in the latest request of this type, which is what most acknowledgements say. On a first
    /// request there are none to repeat, and it names nothing.
    Repeated {
        /// The version that the client last accepted.
        version: String,
    },
    /// Every name of an interest without a wildcard, so that streams that ask for the same need not take it apart each
    /// for itself. In SotW it is the complete set; in delta, names to add.
    Shared {
        /// The names.
        interest: Interest,
        /// SotW: the version that the client last accepted; empty at first, and in delta.
        version: String,
    },
}

/// Why a client rejected a response, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The gRPC status code.
    pub code: i32,
    /// The client's message.
    pub message: String,
}

/// Why a stream cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A request of the other dialect; `INVALID_ARGUMENT`.
    #[error("this stream speaks {0:?}; the request does not")]
    WrongDialect(Dialect),
    /// More distinct types than [`crate::Limits::types`]; `INVALID_ARGUMENT` (H3).
    #[error("more than {limit} resource types on one stream")]
    TooManyTypes {
        /// The limit.
        limit: usize,
    },
    /// More names than [`crate::Limits::names_per_type`]; `RESOURCE_EXHAUSTED` (H7).
    #[error("more than {limit} names of type {resource_type} on one stream")]
    TooManyNames {
        /// The type.
        resource_type: ResourceType,
        /// The limit.
        limit: usize,
    },
    /// Names longer in sum than [`crate::Limits::name_bytes`]; `RESOURCE_EXHAUSTED` (H8).
    #[error("the names on one stream exceed {limit} bytes")]
    NamesTooLong {
        /// The limit, in bytes.
        limit: usize,
    },
}
