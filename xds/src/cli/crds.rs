//! `pilotage crds`: the definitions of the routing kinds, for clusters that have none.

use std::io::Write;
use std::process::ExitCode;

use pilotage_watcher::kubernetes::custom_resource_definitions;

use super::{Format, print};

/// Print the CustomResourceDefinitions of the routing kinds, for a cluster without Istio's
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pilotage crds | kubectl apply -f -

A cluster that has Istio's definitions is used as it is, and needs none of these.")]
pub(super) struct Args {}

pub(super) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    for (index, definition) in custom_resource_definitions().iter().enumerate() {
        if index > 0 {
            writeln!(std::io::stdout().lock(), "---")?;
        }
        print(definition, Format::Yaml)?;
    }
    Ok(ExitCode::SUCCESS)
}
