//! An xDS management server as a library: publish snapshots into a cache, and clients are told what changed.
//!
//! A [`Cache`] holds the latest [`Snapshot`](pilotage_protocol::Snapshot) of every group of clients; [`Ads`] serves it
//! over gRPC; [`Events`] say what clients need and how they answered; [`Streams`] show who is connected. The crate
//! knows neither Kubernetes nor Envoy's configuration messages.
//!
//! ```no_run
//! use std::sync::Arc;
//! use pilotage_server::protocol::{Collection, Resource, ResourceType, Revision, Snapshot};
//! use pilotage_server::{Ads, AdsConfig, Cache, ServeConfig, serve};
//! use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//!
//! # async fn example(encoded_cluster: Vec<u8>) -> std::io::Result<()> {
//! let cache = Cache::new();
//! let clusters: Collection = [Resource::new("a", encoded_cluster)].into_iter().collect();
//! let state = Snapshot::new(Revision(1)).with(ResourceType::Cluster, Arc::new(clusters));
//! cache.publish(&"everyone".to_owned(), state);
//!
//! let shutdown = CancellationToken::new();
//! let assign = |_node: &pilotage_server::Node| "everyone".to_owned();
//! let (ads, _events) = Ads::new(cache, assign, AdsConfig::default(), shutdown.clone());
//! let listener = TcpListener::bind("127.0.0.1:18000").await?;
//! serve(listener, ads.routes(), shutdown, ServeConfig::default()).await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/static.rs` and `examples/channel.rs` are whole programs, and `examples/embedded.rs` shows the service in a
//! tonic server of one's own, behind an interceptor.

#![forbid(unsafe_code)]

mod ads;
mod auth;
mod cache;
mod client_status;
mod event;
mod families;
mod frames;
mod group;
mod history;
mod interner;
mod jitter;
mod message;
mod observer;
mod outflow;
mod outline;
mod precedents;
mod rejections;
mod render;
mod serve;
mod slabs;
mod stream;
mod streams;
mod transfer;

pub use ads::{Ads, AdsConfig};
pub use auth::{Authenticator, Credentials, PeerCertificates, Permit};
pub use cache::{Cache, GroupKey};
pub use event::{Answer, Demand, Event, Events, Outcome};
pub use observer::Observer;
#[cfg(feature = "tls")]
pub use serve::serve_tls;
pub use serve::{ServeConfig, serve};
pub use streams::{Mark, StreamId, StreamStatus, Streams, TypeStatus};

pub use pilotage_protocol as protocol;
pub use pilotage_protos::discovery::Node;
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;
