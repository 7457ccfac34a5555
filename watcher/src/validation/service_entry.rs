//! ServiceEntry.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::{ServiceEntry, WorkloadEntry};

impl Validate for ServiceEntry {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.hosts.is_empty() {
            checks.missing("spec", "there are no `hosts`");
        }
        for (index, port) in self.ports.iter().enumerate() {
            let path = format!("spec.ports[{index}]");
            checks.port(&format!("{path}.number"), port.number);
            if let Some(target) = port.target_port {
                checks.port(&format!("{path}.targetPort"), target);
            }
            if port.name.is_empty() {
                checks.missing(&path, "the port has no `name`");
            }
        }
        let choices = &["MESH_EXTERNAL", "MESH_INTERNAL"];
        checks.one_of("spec.location", self.location.as_deref(), choices);
        let choices = &["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"];
        checks.one_of("spec.resolution", self.resolution.as_deref(), choices);
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            for (name, number) in &endpoint.ports {
                checks.port(&format!("spec.endpoints[{index}].ports[{name:?}]"), *number);
            }
        }
        checks.problems
    }
}

impl Validate for WorkloadEntry {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        if self.address.as_deref().is_none_or(str::is_empty) {
            checks.missing("spec", "there is no `address`");
        }
        for (name, number) in &self.ports {
            checks.port(&format!("spec.ports[{name:?}]"), *number);
        }
        checks.problems
    }
}
