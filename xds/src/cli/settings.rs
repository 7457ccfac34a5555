//! `pilotage settings`: the schema and the reference page of the settings file.

use std::io::Write;
use std::process::ExitCode;

use crate::settings::{Settings, reference};

/// Print the settings file's schema, its reference page, or its defaults
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pilotage settings defaults > pilotage.yaml && pilotage serve --config pilotage.yaml"
)]
pub(super) struct Args {
    /// What to print
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    /// The JSON schema, for editors
    Schema,
    /// The reference page, as Markdown
    Reference,
    /// A settings file with every default
    Defaults,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match args.what {
        What::Schema => serde_json::to_string_pretty(&Settings::schema())? + "\n",
        What::Reference => reference(),
        What::Defaults => serde_saphyr::to_string(&Settings::default())?,
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
