//! `pilotage bootstrap`: what a client must be started with.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::{Format, print, text};
use crate::bootstrap::{EnvoyOptions, Node, SecretFile, envoy, grpc};

/// Write the bootstrap file of a client
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pilotage bootstrap envoy --id web-1 --namespace shop > envoy.yaml && envoy -c envoy.yaml
  pilotage bootstrap envoy --id web-1 --namespace shop --label app=web --intercepted > envoy.yaml
  pilotage bootstrap envoy --kind gateway --id edge-1 --label istio=ingressgateway > edge.yaml
  pilotage bootstrap envoy --id web-1 --namespace shop --server xds.example:18000 --tls-ca ca.crt \\
    --tls-cert web-1.crt --tls-key web-1.key --secrets-dir . > envoy.yaml
  pilotage bootstrap grpc --id client-1 --namespace shop > xds.json && GRPC_XDS_BOOTSTRAP=xds.json ./client")]
pub(super) struct Args {
    #[command(subcommand)]
    client: Client,
}

#[derive(Debug, clap::Subcommand)]
enum Client {
    /// Of an Envoy, as a sidecar or a gateway
    Envoy {
        #[command(flatten)]
        node: Node,
        #[command(flatten)]
        options: EnvoyOptions,
        /// How the document is written
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
        #[command(flatten)]
        destination: Destination,
    },
    /// Of a proxyless gRPC client, as JSON for GRPC_XDS_BOOTSTRAP
    Grpc {
        #[command(flatten)]
        node: Node,
        #[command(flatten)]
        destination: Destination,
    },
}

/// Where the document goes.
#[derive(Debug, clap::Args)]
struct Destination {
    /// Write the document to a file, where there is no shell to do it [default: standard output]
    #[arg(long = "write", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Destination {
    fn take(&self, document: &serde_json::Value, format: Format) -> anyhow::Result<()> {
        match &self.file {
            None => print(document, format),
            Some(file) => write(file, &text(document, format)?),
        }
    }
}

fn write(file: &Path, content: &str) -> anyhow::Result<()> {
    std::fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.client {
        Client::Envoy { node, options, output, destination } => {
            let (bootstrap, files) = envoy(node, options)?;
            for SecretFile { path, content } in files {
                write(&path, &content)?;
            }
            destination.take(&bootstrap, *output)?;
        }
        Client::Grpc { node, destination } => destination.take(&grpc(node)?, Format::Json)?,
    }
    Ok(ExitCode::SUCCESS)
}
