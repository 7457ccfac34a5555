//! The rules of the xDS conversation, without a network.
//!
//! This crate does no IO, reads no clock and takes no lock: time comes in as an argument. Of a resource it knows
//! the name, the version, the references and the encoded bytes, and it never looks inside. [`Session`] is one
//! stream, [`Snapshot`] what it is to be told.

#![forbid(unsafe_code)]

mod client_profile;
mod collection;
mod config;
mod event;
mod features;
mod holding;
mod interest;
mod inventory;
mod name;
mod request;
mod resource;
mod resource_type;
mod response;
mod session;
mod snapshot;
mod spared;

pub use client_profile::ClientProfile;
pub use collection::Collection;
pub use config::{Limits, SessionConfig};
pub use event::{Answered, Blame, Event};
pub use features::ClientFeatures;
pub use holding::{Holding, Standing};
pub use interest::{Interest, WeakInterest, Wildcard};
pub use inventory::Inventory;
pub use request::{Dialect, Names, Rejection, Request, RequestError};
pub use resource::{Name, Origin, Reference, Resource, Version};
pub use resource_type::ResourceType;
pub use response::{Contents, Fingerprint, Lifetimes, Nonce, Response};
pub use session::{Precedent, Precedents, Session};
pub use snapshot::{Revision, Snapshot};
pub use spared::Spared;

/// The rules of the protocol, and the proof of each.
#[doc = include_str!("../RULES.md")]
pub mod rules {}
