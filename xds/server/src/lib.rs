//! An xDS management server as a library: publish snapshots into a cache, and clients are told what changed.
//!
//! A [`Cache`] holds the latest [`Snapshot`](pilotage_protocol::Snapshot) of every group of clients; [`Ads`] serves it
//! over gRPC; [`Events`] say what clients need and how they answered; [`Streams`] show who is connected. The crate
//! knows neither Kubernetes nor Envoy's configuration messages. See `examples/static.rs`.

#![forbid(unsafe_code)]

mod ads;
mod cache;
mod client_status;
mod event;
mod families;
mod frames;
mod group;
mod interner;
mod message;
mod outflow;
mod rejections;
mod render;
mod serve;
mod slabs;
mod stream;
mod streams;

pub use ads::{Ads, AdsConfig};
pub use cache::{Cache, GroupKey};
pub use event::{Answer, Demand, Event, Events, Outcome};
pub use serve::{ServeConfig, serve};
pub use streams::{Mark, StreamId, StreamStatus, Streams, TypeStatus};

pub use pilotage_protocol as protocol;
pub use pilotage_protos::discovery::Node;
