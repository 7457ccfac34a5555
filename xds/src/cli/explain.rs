//! `pilotage explain`: what a problem code means.

use std::io::Write;
use std::process::ExitCode;

use anyhow::bail;
use pilotage_watcher::Code;

use crate::explain::{explain, page};

/// Explain a problem code: its cause, an example, and the way out
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage explain undeclared-port
  pilotage explain > problems.md      the page of all codes")]
pub(super) struct Args {
    /// The code, as `pilotage check` prints it; all of them where it is left out
    code: Option<String>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match &args.code {
        None => page(),
        Some(name) => {
            let known = Code::ALL.iter().find(|code| code.name() == name || code.istio() == Some(name));
            let Some(text) = known.and_then(|code| explain(*code)) else {
                match Code::nearest(name) {
                    Some(near) => bail!("there is no code {name:?}; did you mean {near}?"),
                    None => bail!("there is no code {name:?}; `pilotage explain` lists them all"),
                }
            };
            text
        }
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
