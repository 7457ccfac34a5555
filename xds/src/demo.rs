//! `pilotage demo`: what an operator gets, shown in seconds with real parts.
//!
//! Everything in it is real: the server as its own process, an Envoy, gRPC servers and a client with one connection.
//! The tests use the same servers and the same client.

mod backend;
mod client;
mod echo;

pub use backend::{Backend, Behaviour};
pub use client::{Client, ConnectError, Reply};
