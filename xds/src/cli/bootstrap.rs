//! `pilotage bootstrap`: what a client must be started with.

use std::process::ExitCode;

use anyhow::Context;

use super::{Format, print};
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
    },
    /// Of a proxyless gRPC client, as JSON for GRPC_XDS_BOOTSTRAP
    Grpc {
        #[command(flatten)]
        node: Node,
    },
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.client {
        Client::Envoy { node, options, output } => {
            let (bootstrap, files) = envoy(node, options)?;
            for SecretFile { path, content } in files {
                std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            }
            print(&bootstrap, *output)?;
        }
        Client::Grpc { node } => print(&grpc(node)?, Format::Json)?,
    }
    Ok(ExitCode::SUCCESS)
}
