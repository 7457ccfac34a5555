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
  pilotage check manifests --fail-on warning -o github      as a step of a GitHub workflow

The exit code is 1 if there are errors, or warnings with --fail-on warning, and 0 otherwise. `pilotage explain CODE` says
what a code means.")]
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
    /// The least severity at which the exit code is 1
    #[arg(long, value_enum, default_value_t)]
    fail_on: FailOn,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum FailOn {
    /// Warnings as well
    Warning,
    /// Errors alone
    #[default]
    Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line a problem
    #[default]
    Text,
    /// One list of objects
    Json,
    /// Annotations of a GitHub workflow
    Github,
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
        Output::Github => {
            for problem in &problems {
                writeln!(out, "{}", annotation(problem))?;
            }
        }
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
    let failed = errors > 0 || (args.fail_on == FailOn::Warning && warnings > 0);
    Ok(if failed { ExitCode::from(FOUND_ERRORS) } else { ExitCode::SUCCESS })
}

/// A problem as a workflow command, which GitHub shows at the line of the file.
fn annotation(problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Info => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let place = problem.position.as_ref().map(|position| {
        format!("file={},line={},col={},", property(&position.file), position.line, position.column)
    });
    let place = place.unwrap_or_default();
    let object = problem.object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
    let hint = problem.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    let message = format!("{object}{}{}{hint}", with_colon(&problem.path), problem.message);
    format!("::{level} {place}title={}::{}", property(problem.code.name()), data(&message))
}

fn with_colon(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}: ") }
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

#[cfg(test)]
mod tests {
    use pilotage_watcher::{Code, Kind, ObjectKey, Position};

    use super::*;

    #[test]
    fn an_annotation_escapes_what_a_workflow_command_is_made_of() {
        let position = Position { file: "a,b:c.yaml".into(), line: 3, column: 5 };
        let problem = Problem::new(Code::InvalidValue, "50% is\nodd")
            .on(ObjectKey::new(Kind::VirtualService, "shop", "a"), "spec.http[0]")
            .at(position);
        assert_eq!(
            annotation(&problem),
            "::error file=a%2Cb%3Ac.yaml,line=3,col=5,title=invalid-value::VirtualService shop/a: spec.http[0]: 50%25 \
             is%0Aodd"
        );
        let placeless = Problem::new(Code::EmptyFolder, "nothing");
        assert_eq!(annotation(&placeless), "::warning title=empty-folder::nothing");
    }
}
