//! The resources that are read, as Rust types: our own lean form of the Kubernetes core kinds, and the routing kinds
//! field by field as their published schemas have them.

pub mod convert;
mod descriptors;
mod destination_rule;
mod endpoints;
mod envoy_resources;
mod gateway;
mod meta;
mod node;
mod pod;
mod scalar;
mod secret;
mod service;
mod service_entry;
mod sidecar;
mod telemetry;
mod virtual_service;
mod words;

pub use descriptors::*;
pub use destination_rule::*;
pub use endpoints::*;
pub use envoy_resources::*;
pub use gateway::*;
pub use meta::*;
pub use node::*;
pub use pod::*;
pub use scalar::*;
pub use secret::*;
pub use service::*;
pub use service_entry::*;
pub use sidecar::*;
pub use telemetry::*;
pub use virtual_service::*;
pub use words::*;
