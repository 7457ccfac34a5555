//! Sidecar.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::Sidecar;

const CAPTURE_MODES: &[&str] = &["DEFAULT", "IPTABLES", "NONE"];

impl Validate for Sidecar {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        for (index, ingress) in self.ingress.iter().enumerate() {
            let path = format!("spec.ingress[{index}]");
            checks.port(&format!("{path}.port.number"), ingress.port.number);
            checks.one_of(&format!("{path}.captureMode"), ingress.capture_mode.as_deref(), CAPTURE_MODES);
        }
        for (index, egress) in self.egress.iter().enumerate() {
            let path = format!("spec.egress[{index}]");
            if egress.hosts.is_empty() {
                checks.missing(&path, "there are no `hosts`; write \"*/*\" for all of them");
            }
            checks.one_of(&format!("{path}.captureMode"), egress.capture_mode.as_deref(), CAPTURE_MODES);
        }
        if let Some(policy) = &self.outbound_traffic_policy {
            let choices = &["REGISTRY_ONLY", "ALLOW_ANY"];
            checks.one_of("spec.outboundTrafficPolicy.mode", policy.mode.as_deref(), choices);
        }
        checks.problems
    }
}
