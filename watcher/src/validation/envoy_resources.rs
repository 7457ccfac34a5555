//! EnvoyResources; what stands in the resources themselves is held to Envoy's API where they are translated.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::EnvoyResources;

impl Validate for EnvoyResources {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.resources.is_empty() {
            checks.missing("spec", "there are no `resources`");
        }
        checks.one_of("spec.operation", self.operation.as_deref(), &["Add", "Replace"]);
        for (index, kind) in self.proxies.kinds.iter().enumerate() {
            let path = format!("spec.proxies.kinds[{index}]");
            checks.one_of(&path, Some(kind), &["sidecar", "gateway", "grpc"]);
        }
        checks.problems
    }
}
