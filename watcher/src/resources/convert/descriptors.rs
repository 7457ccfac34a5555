//! Protobuf descriptors, in the binary data of a ConfigMap.

use k8s_openapi::api::core::v1;

use super::{below, meta};
use crate::resources::{Descriptors, WithMeta};
use crate::{Code, Kind, ObjectKey, Problem};

/// The methods that any entry of `binaryData` describes; an entry that describes none is a problem, and the others
/// stand.
pub fn descriptors(config_map: v1::ConfigMap) -> (WithMeta<Descriptors>, Vec<Problem>) {
    let meta = meta("v1", config_map.metadata);
    let key = ObjectKey::new(Kind::Descriptors, meta.namespace.clone(), meta.name.clone());
    let mut spec = Descriptors::default();
    let mut problems = Vec::new();
    for (name, bytes) in config_map.binary_data.into_iter().flatten() {
        match Descriptors::decode(&bytes.0) {
            Ok(read) => spec.merge(read),
            Err(error) => {
                let problem =
                    Problem { path: name, ..Problem::new(Code::InvalidDescriptors, error.to_string()) };
                problems.push(below(problem.severity(crate::Severity::Warning), &key, "binaryData"));
            }
        }
    }
    (WithMeta { meta, spec }, problems)
}
