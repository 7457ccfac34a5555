//! Translation as a whole: goldens, incremental against full, and any input at all.

#![allow(clippy::unwrap_used)]

mod advice;
mod dice;
mod golden;
mod header;
mod incremental;
mod lanes;
mod methods;
mod mistakes;
mod properties;
mod secrets;
mod settings;
mod world;
