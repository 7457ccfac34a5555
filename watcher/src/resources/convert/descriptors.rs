//! Protobuf descriptors in a ConfigMap.

use k8s_openapi::api::core::v1;

use super::{below, meta};
use crate::resources::{Descriptors, WithMeta};
use crate::{Code, Kind, ObjectKey, Problem};

/// The label of a ConfigMap that holds descriptors, with its value.
pub const DESCRIPTORS: (&str, &str) = ("pilotage.dev/descriptors", "true");

/// The methods that any entry of `binaryData` or `data` describes: what happens to be text as well is put into the latter by
/// kubectl. An entry that describes none is an error of the whole.
pub fn descriptors(config_map: v1::ConfigMap) -> (WithMeta<Descriptors>, Vec<Problem>) {
    let meta = meta("v1", config_map.metadata);
    let key = ObjectKey::new(Kind::Descriptors, meta.namespace.clone(), meta.name.clone());
    let mut spec = Descriptors::default();
    let mut problems = Vec::new();
    let mut read = |field: &str, name: String, bytes: &[u8]| match Descriptors::decode(bytes) {
        Ok(read) => spec.merge(read),
        Err(error) => {
            let problem = Problem { path: name, ..Problem::new(Code::InvalidDescriptors, error.to_string()) };
            problems.push(below(problem, &key, field));
        }
    };
    for (name, bytes) in config_map.binary_data.into_iter().flatten() {
        read("binaryData", name, &bytes.0);
    }
    for (name, text) in config_map.data.into_iter().flatten() {
        read("data", name, text.as_bytes());
    }
    (WithMeta { meta, spec }, problems)
}
