//! `pilotage check`: every problem in a folder, without a server.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, Problem, Severity, World};

use super::{FOUND_ERRORS, settings_file};
use crate::pipeline::unix_time;

/// Print every problem in a folder of manifests, each with its place and a way out
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage check manifests
  pilotage check manifests -o json | jq '.[].code'

The exit code is 1 if there are errors, and 0 if there are none, warnings or not.")]
pub(super) struct Args {
    /// The folder
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// A settings file; its `translation` part decides what is a problem
    #[arg(long, value_name = "FILE", env = "PILOTAGE_CONFIG")]
    config: Option<PathBuf>,
    /// How problems are printed
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line a problem
    #[default]
    Text,
    /// One list of objects
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let settings = settings_file(args.config.as_deref())?;
    let reading = read_directory(&args.directory)?;
    let mut world = World::default();
    world.set_time(unix_time());
    let mut problems = apply(reading.changes, &mut world);
    problems.extend(pilotage_compile::check(&world, &settings.translation));
    for problem in &mut problems {
        reading.positions.place(problem);
    }
    // By place, so that the list reads as the files do; what has no place comes last.
    problems
        .sort_by_cached_key(|problem| (problem.position.is_none(), problem.position.clone(), problem.code));

    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&problems)?)?,
        Output::Text => {
            for problem in &problems {
                writeln!(out, "{problem}")?;
            }
            let served: usize = reading.stats.objects.values().sum();
            let passed_over: usize = reading.stats.passed_over.values().sum();
            writeln!(
                out,
                "{errors} errors, {warnings} warnings in {} files: {served} objects read, {passed_over} of other \
                 kinds passed over",
                reading.stats.files
            )?;
        }
    }
    Ok(if errors > 0 { ExitCode::from(FOUND_ERRORS) } else { ExitCode::SUCCESS })
}

/// Puts what a folder holds into a world, and gives what is wrong with it.
pub(super) fn apply(changes: Vec<Change>, world: &mut World) -> Vec<Problem> {
    let mut found = Vec::new();
    for change in changes {
        match change {
            Change::Apply(object) => drop(world.apply(object)),
            Change::Delete(key) => drop(world.delete(&key)),
            Change::Problems { problems, .. } => found.extend(problems),
            Change::Synced(_) => {}
        }
    }
    found
}
