//! The directory source on real files and real file events.

#![allow(clippy::unwrap_used)]

#[path = "directory/faults.rs"]
mod faults;
#[path = "directory/harness.rs"]
mod harness;
#[path = "directory/live.rs"]
mod live;
