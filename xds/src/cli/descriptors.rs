//! `pilotage descriptors`: what is known of gRPC methods, fetched from a server or read from a file.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use pilotage_watcher::resources::{Descriptors, Idempotency};

use crate::reflection::describe;

/// Fetch or print the descriptors of gRPC methods, by which retries are kept from what must run once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage descriptors fetch 127.0.0.1:50051 --output manifests/checkout.binpb
  pilotage descriptors show manifests/checkout.binpb
  kubectl port-forward deploy/checkout 50051 & pilotage descriptors fetch 127.0.0.1:50051 -o checkout.binpb")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Ask a running server by server reflection (v1 or v1alpha) and write its FileDescriptorSet
    Fetch {
        /// Where the server listens, without TLS
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// The file to write, in the folder of manifests; `-` is standard output
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
    },
    /// Print the methods of a FileDescriptorSet, and which may be called twice
    Show {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Fetch { address, output } => fetch(address, output)?,
        Command::Show { file } => {
            let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            let read = Descriptors::decode(&bytes).with_context(|| file.display().to_string())?;
            std::io::stdout().lock().write_all(table(&read).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn fetch(address: &str, output: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let described = runtime.block_on(describe(address, |service, files| {
        eprintln!("{service} ({files} files so far)");
    }))?;
    let read = Descriptors::decode(&described.set).context("the server's descriptors cannot be used")?;
    if output == Path::new("-") {
        std::io::stdout().lock().write_all(&described.set)?;
    } else {
        // A folder that is watched must never see half of a file; hidden ones it does not look at.
        let folder =
            output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written =
            tempfile::Builder::new().prefix(".descriptors-").tempfile_in(folder).and_then(|mut file| {
                file.write_all(&described.set)?;
                file.persist(output).map_err(|error| error.error)
            });
        written.with_context(|| format!("cannot write {}", output.display()))?;
    }
    let methods = read.services.values().map(|methods| methods.len()).sum::<usize>();
    let repeatable = read.services.values().flat_map(|methods| methods.values());
    let repeatable = repeatable.filter(|level| **level != Idempotency::Unknown).count();
    eprintln!(
        "{methods} methods of {} services by reflection {}; {repeatable} may be called twice: {}",
        read.services.len(),
        described.version,
        output.display()
    );
    Ok(())
}

/// A line for each method.
fn table(read: &Descriptors) -> String {
    let mut text = String::new();
    for (service, methods) in &read.services {
        for (method, level) in methods {
            let word = match level {
                Idempotency::NoSideEffects => "no side effects",
                Idempotency::Idempotent => "idempotent",
                Idempotency::Unknown => "once",
            };
            text += &format!("{word:16}/{service}/{method}\n");
        }
    }
    text
}
