//! Envoy: found, or installed; started with a bootstrap, and asked by its admin interface.

mod process;
mod program;

pub use process::{Envoy, EnvoyError, Launch};
pub use program::{ENVOY_VERSION, EnvoyProgram, FindEnvoyError};
