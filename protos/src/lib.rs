//! The words: Envoy's messages under the names we use, the discovery messages with shared bytes, and JSON ⇄ `Any`.
//!
//! The generated messages come from `envoy-types`. Its discovery messages copy every resource body, so ours stand in
//! [`discovery`]; the descriptor pool in [`json`] is loaded only by what prints or reads JSON.

#![forbid(unsafe_code)]

pub mod discovery;
pub mod envoy;
pub mod json;
