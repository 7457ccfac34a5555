//! Telemetry.

use super::{Checks, Validate};
use crate::Problem;
use crate::resources::Telemetry;

impl Validate for Telemetry {
    fn validate(&self) -> Vec<Problem> {
        let mut checks = Checks::new();
        for (index, logging) in self.access_logging.iter().enumerate() {
            let mode = logging.r#match.as_ref().and_then(|side| side.mode.as_deref());
            let choices = &["CLIENT_AND_SERVER", "CLIENT", "SERVER"];
            checks.one_of(&format!("spec.accessLogging[{index}].match.mode"), mode, choices);
        }
        checks.problems
    }
}
