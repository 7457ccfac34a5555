//! What a proxy is told, as plain data: no Envoy message, and nobody's routing dialect.
//!
//! Equal values mean equal resources: versions are hashes of these values, and a value that did not change keeps its
//! encoded bytes. Nothing here may carry a position, an age or a generation. `envoy` turns it into messages.

mod access_log;
mod capture;
mod cluster;
mod endpoints;
mod listener;
mod route;
mod tls;

pub(crate) use access_log::*;
pub(crate) use capture::*;
pub(crate) use cluster::*;
pub(crate) use endpoints::*;
pub(crate) use listener::*;
pub(crate) use route::*;
pub(crate) use tls::*;
