//! A raw gRPC client against the real server on a loopback port.
//!
//! Nothing here sleeps: a test waits for a response, an event or a registry entry, under one generous timeout.

#[path = "ads/client.rs"]
mod client;

#[path = "ads/sotw.rs"]
mod sotw;

#[path = "ads/delta.rs"]
mod delta;

#[path = "ads/services.rs"]
mod services;

#[path = "ads/transport.rs"]
mod transport;

#[path = "ads/server.rs"]
mod server;

#[path = "ads/connection.rs"]
mod connection;

#[path = "ads/rude.rs"]
mod rude;
