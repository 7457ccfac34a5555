//! Kubernetes' own types to the lean ones, for every source that meets them.
//!
//! A conversion is total: what cannot be used is left out with a [`Problem`] that names the object and the field, and
//! the rest of the object stands.

mod descriptors;
mod endpoints;
mod metadata;
mod node;
mod pem;
mod pod;
mod secret;
mod service;

pub use descriptors::{DESCRIPTORS, descriptors};
pub use endpoints::{endpoint_slice, endpoints, mirrored_key};
pub use metadata::meta;
pub use node::node;
pub use pod::pod;
pub use secret::secret;
pub(crate) use secret::{Entries, of_entries};
pub use service::service;

use crate::{Code, ObjectKey, Problem};

/// A port number from Kubernetes' wider type; `field` is where a problem is told.
fn port(field: &str, number: i32) -> Result<u16, Box<Problem>> {
    match u16::try_from(number) {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(invalid(field, format!("{number} is not a port"), "ports go from 1 to 65535")),
    }
}

fn invalid(field: &str, message: String, hint: &str) -> Box<Problem> {
    Box::new(Problem { path: field.to_owned(), ..Problem::new(Code::InvalidValue, message).hint(hint) })
}

/// The same problem, in a field below this one.
fn below(problem: Problem, object: &ObjectKey, path: &str) -> Problem {
    let path = format!("{path}.{}", problem.path);
    problem.on(object.clone(), path)
}
