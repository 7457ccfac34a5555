//! What the world says: sources turn files and API objects into [`Change`]s, and [`World`] keeps them as typed tables.
//!
//! Nothing here knows of a stream or of an Envoy message. A source never fails as a whole because of one bad object:
//! the object becomes a [`Problem`] and the rest goes on.
//!
//! [`directory`] follows a folder of manifests and [`memory`] says what it is told to; [`Positions`] knows where in the
//! files an object's fields stand.

#![forbid(unsafe_code)]

mod change;
pub mod directory;
#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod manifest;
pub mod memory;
mod overlay;
mod parallel;
mod position;
mod problem;
pub mod resources;
mod validation;
mod world;

pub use change::{Batch, Change, Kind, Object, ObjectKey, SourceName, Touched};
pub use overlay::Overlay;
pub use position::Positions;
pub use problem::{Code, Position, Problem, Severity};
pub use world::{NamespacedName, Workloads, World};
