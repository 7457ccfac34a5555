//! What the whole-system tests share: a server, sidecars and gateways as processes of their own, a folder of
//! manifests, traffic, and waiting for conditions.
//!
//! Nothing here replaces a real part. Every port is reserved or chosen by the system and every folder is temporary,
//! so tests run side by side. A test begins with [`Mesh::start`].

#![forbid(unsafe_code)]

mod acceptance;
mod ads;
mod balancer;
mod condition;
mod consistency;
mod executable;
pub mod golden;
pub mod kubernetes;
mod manifest;
mod mesh;
pub mod namespace;
mod proxy;
mod python;
mod relay;
mod rust_client;
mod tls;
mod traffic;

pub use acceptance::{Acceptance, Seen};
pub use ads::{Asker, Told};
pub use balancer::Balancer;
pub use condition::{PATIENCE, eventually};
pub use consistency::is_consistent;
pub use executable::pilotage;
pub use manifest::{endpoint_slice, host, routing, service};
pub use mesh::Mesh;
pub use pilotage::demo::{Backend, Behaviour, Client, Reply};
pub use proxy::{Dialect, Proxy};
pub use python::GrpcClient;
pub use relay::Relay;
pub use rust_client::XdsClient;
pub use tls::{Authority, Issued, TlsClient, TlsFront, secret};
pub use traffic::{Caller, Outcomes, Streams, Traffic, calls, until_left_out};
