//! What protobuf descriptors say of the methods of gRPC services: whether a call may be made twice.
//!
//! Of a `FileDescriptorSet` nothing else is kept: the messages of a large API would be megabytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost::Message;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The methods of some services, by full service name and method name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptors {
    /// The services, such as `shop.Checkout`.
    pub services: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Idempotency>>,
}

/// `google.protobuf.MethodOptions.idempotency_level`, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Idempotency {
    /// Nothing is said, so a second call may do what it does a second time.
    Unknown,
    /// A second call has no further effect.
    Idempotent,
    /// No call has an effect.
    NoSideEffects,
}

/// Why bytes are no set of descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DescriptorsError {
    /// They do not decode.
    #[error("it is not a FileDescriptorSet: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// They decode, perhaps by chance, and name no method.
    #[error("it describes no method of a service")]
    Empty,
}

impl Descriptors {
    /// Reads a `google.protobuf.FileDescriptorSet`, as `protoc --descriptor_set_out` and `buf build` write it.
    ///
    /// # Errors
    /// The bytes are none, or no file of the set has a method.
    pub fn decode(bytes: &[u8]) -> Result<Self, DescriptorsError> {
        let mut descriptors = Self::default();
        for file in FileSet::decode(bytes)?.files {
            for service in file.services {
                let name = match file.package.as_str() {
                    "" => service.name,
                    package => format!("{package}.{}", service.name),
                };
                let methods = service.methods.iter().map(|method| {
                    let level = method.options.as_ref().map_or(0, |options| options.idempotency_level);
                    (Arc::from(method.name.as_str()), Idempotency::of(level))
                });
                let own = BTreeMap::from([(name.into(), methods.collect())]);
                descriptors.merge(Self { services: own });
            }
        }
        descriptors.services.retain(|_, methods| !methods.is_empty());
        if descriptors.services.is_empty() { Err(DescriptorsError::Empty) } else { Ok(descriptors) }
    }
}

impl Descriptors {
    /// Adds what other descriptors say; where the two differ on a method, the one that promises less is believed.
    pub fn merge(&mut self, other: Self) {
        for (service, methods) in other.services {
            let known = self.services.entry(service).or_default();
            for (method, level) in methods {
                let known = known.entry(method).or_insert(level);
                *known = level.min(*known);
            }
        }
    }
}

impl Idempotency {
    fn of(level: i32) -> Self {
        match level {
            1 => Self::NoSideEffects,
            2 => Self::Idempotent,
            _ => Self::Unknown,
        }
    }
}

/// The parts of `FileDescriptorSet` that are read, by the numbers of `descriptor.proto`.
#[derive(Clone, PartialEq, Message)]
struct FileSet {
    #[prost(message, repeated, tag = "1")]
    files: Vec<File>,
}

#[derive(Clone, PartialEq, Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
}

#[derive(Clone, PartialEq, Message)]
struct MethodOptions {
    #[prost(int32, tag = "34")]
    idempotency_level: i32,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_and_nothing_else_is_taken_for_a_set() {
        let method = |name: &str, level| Method {
            name: name.to_owned(),
            options: Some(MethodOptions { idempotency_level: level }),
        };
        let methods = vec![method("Get", 1), method("Set", 2), method("Add", 0), method("New", 9)];
        let service = Service { name: "Cart".to_owned(), methods };
        let file = File { package: "shop".to_owned(), services: vec![service] };
        let read = Descriptors::decode(&FileSet { files: vec![file] }.encode_to_vec()).unwrap();
        let methods = &read.services["shop.Cart"];
        let levels: Vec<_> = ["Get", "Set", "Add", "New"].map(|name| methods[name]).into();
        use Idempotency::{Idempotent, NoSideEffects, Unknown};
        assert_eq!(levels, [NoSideEffects, Idempotent, Unknown, Unknown]);

        assert_eq!(Descriptors::decode(b""), Err(DescriptorsError::Empty));
        assert!(matches!(Descriptors::decode(b"apiVersion: v1"), Err(DescriptorsError::Malformed(_))));
    }
}
