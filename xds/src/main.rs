//! The `pilotage` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pilotage::run()
}
