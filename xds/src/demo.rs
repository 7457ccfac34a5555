//! `pilotage demo`: what an operator gets, shown in seconds with real parts.
//!
//! Everything in it is real: the server as its own process, an Envoy, gRPC servers and a client with one connection.
//! `stage` sets them up, `steps` is what is shown; the tests use the same server, backends and client.

mod backend;
mod client;
mod command;
mod echo;
mod manifests;
mod screen;
mod server;
mod stage;
mod steps;
mod table;
mod tally;

pub use backend::{Backend, Behaviour};
pub use client::{Client, ConnectError, Reply};
pub use command::{Args, run};
pub use manifests::Manifests;
pub use server::{BootstrapError, Serve, Server, bootstrap};
