//! The parts of the `pilotage` program that its command line and its tests share.

#![forbid(unsafe_code)]

pub mod demo;
pub mod tools;
