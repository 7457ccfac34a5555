//! The command line: one file per command, and the exit codes they share.

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::settings::Settings;

mod bootstrap;
mod check;
mod crds;
mod descriptors;
mod explain;
mod ready;
mod render;
mod reporting;
mod serve;
mod settings;
mod sources;
mod tools;

/// A lightweight xDS management server: watches Kubernetes-style manifests and tells Envoys and gRPC clients what they
/// mean.
#[derive(Debug, Parser)]
#[command(name = "pilotage", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  pilotage demo                                      see it work, with a real Envoy
  pilotage check manifests                           print every problem in a folder
  pilotage serve --dir manifests                     serve a folder, live
  pilotage bootstrap envoy --id web-1 > envoy.yaml   write what an Envoy starts with

Exit codes:
  0  done
  1  the input has errors (check), or a row is off target (demo)
  2  wrong usage, or something that is needed cannot be had";

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Check(check::Args),
    Render(render::Args),
    Bootstrap(bootstrap::Args),
    Crds(crds::Args),
    Descriptors(descriptors::Args),
    Explain(explain::Args),
    Demo(crate::demo::Args),
    Tools(tools::Args),
    Settings(settings::Args),
    /// Write a completion script for a shell
    #[command(after_help = "Example:\n  pilotage completions bash > /etc/bash_completion.d/pilotage")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The exit code for an input that has errors.
const FOUND_ERRORS: u8 = 1;
/// The exit code for wrong usage, or for something needed that cannot be had.
const FAILED: u8 = 2;

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Bootstrap(args) => bootstrap::run(&args),
        Command::Crds(args) => crds::run(&args),
        Command::Descriptors(args) => descriptors::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Demo(args) => crate::demo::run(args),
        Command::Tools(args) => tools::run(&args),
        Command::Settings(args) => settings::run(&args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "pilotage", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        // A closed pipe, as in `pilotage render … | head`, is how the reader says it has enough.
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
        {
            return ExitCode::SUCCESS;
        }
        eprintln!("pilotage: {error:#}");
        ExitCode::from(FAILED)
    })
}

/// The settings in a file, or the defaults without one.
fn settings_file(path: Option<&Path>) -> anyhow::Result<Settings> {
    path.map_or_else(|| Ok(Settings::default()), Settings::read)
}

/// How a document is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// YAML.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// Prints a document on standard output.
///
/// # Errors
/// Standard output is closed.
fn print(document: &serde_json::Value, format: Format) -> anyhow::Result<()> {
    use std::io::Write;
    std::io::stdout().lock().write_all(text(document, format)?.as_bytes())?;
    Ok(())
}

/// A document as it is printed.
fn text(document: &serde_json::Value, format: Format) -> anyhow::Result<String> {
    Ok(match format {
        // Every string quoted: Envoy reads YAML 1.1, where a bare `on` or `n` is a boolean.
        Format::Yaml => serde_saphyr::to_string_with_options(
            document,
            serde_saphyr::ser_options! { quote_all: true, prefer_block_scalars: false },
        )?,
        Format::Json => serde_json::to_string_pretty(document)? + "\n",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
