//! The `pilotage` program: settings, the one pipeline loop, the command line; and the parts that its tests share.

#![forbid(unsafe_code)]

pub mod admin;
pub mod bootstrap;
mod cli;
pub mod demo;
pub mod explain;
pub mod pipeline;
pub mod reflection;
pub mod settings;
mod state;
mod status;
mod telemetry;
pub mod tools;
mod trust;

pub use cli::run;
