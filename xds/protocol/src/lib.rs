//! The rules of the xDS conversation, without a network.
//!
//! This crate does no IO, reads no clock and takes no lock: time comes in as an argument. Of a resource it knows
//! the name, the version, the references and the encoded bytes, and it never looks inside.

#![forbid(unsafe_code)]

mod collection;
mod resource;
mod resource_type;
mod snapshot;

pub use collection::Collection;
pub use resource::{Name, Origin, Reference, Resource, Version};
pub use resource_type::ResourceType;
pub use snapshot::{Revision, Snapshot};
