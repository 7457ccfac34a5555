//! The gRPC client of another language: `grpcio`, through a sidecar or proxyless.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result};
use pilotage::demo::bootstrap;
use pilotage::tools::{Cache, GrpcPython};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{Caller, Mesh, Outcomes, pilotage};

/// A running client with one channel. Dropping it kills it.
#[derive(Debug)]
pub struct GrpcClient {
    _child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl GrpcClient {
    /// A client that connects to `target` and calls what is known there as `authority`.
    ///
    /// # Errors
    /// Python or its gRPC library cannot be had.
    pub async fn plain(target: SocketAddr, authority: &str) -> Result<Self> {
        Self::start(script().await?.args([&target.to_string(), authority]))
    }

    /// A proxyless client of the namespace `demo`, which asks the server of `mesh` where `authority` is.
    ///
    /// # Errors
    /// As of [`GrpcClient::plain`].
    pub async fn proxyless(mesh: &Mesh, name: &str, authority: &str) -> Result<Self> {
        Self::proxyless_with(mesh, name, authority, &[]).await
    }

    /// The same, with more arguments of `pilotage bootstrap`.
    ///
    /// # Errors
    /// As of [`GrpcClient::plain`].
    pub async fn proxyless_with(mesh: &Mesh, name: &str, authority: &str, more: &[&str]) -> Result<Self> {
        let xds = mesh.xds().to_string();
        let arguments = [&["grpc", "--id", name, "--namespace", "demo", "--server", &xds], more].concat();
        let file = mesh.folder().join(format!("{name}.json"));
        fs::write(&file, bootstrap(pilotage()?, arguments).await?)?;
        let target = format!("xds:///{authority}");
        // Without the second variable, tokens of the bootstrap are passed over in silence (gRFC A97).
        let mut command = script().await?;
        command.arg(target).env("GRPC_XDS_BOOTSTRAP", file);
        Self::start(command.env("GRPC_EXPERIMENTAL_XDS_BOOTSTRAP_CALL_CREDS", "true"))
    }

    fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start python3")?;
        let requests = child.stdin.take().context("its input is a pipe")?;
        let answers = BufReader::new(child.stdout.take().context("its output is a pipe")?).lines();
        Ok(Self { _child: child, requests, answers })
    }
}

impl Caller for GrpcClient {
    async fn calls(&mut self, count: u64, headers: &[(&str, &str)]) -> Result<Outcomes> {
        let request = json!({ "count": count, "headers": headers });
        self.requests.write_all(format!("{request}\n").as_bytes()).await?;
        let line = self.answers.next_line().await?.context("the Python client ended")?;
        let answer: serde_json::Value = serde_json::from_str(&line)?;
        let counts = |key: &str| {
            let entries = answer[key].as_object().into_iter().flatten();
            entries
                .map(|(name, count)| (name.clone(), count.as_u64().unwrap_or_default()))
                .collect::<BTreeMap<_, _>>()
        };
        Ok(Outcomes {
            servers: counts("servers"),
            versions: counts("versions"),
            failed: answer["failed"].as_u64().context("a number of failed calls")?,
            first_failure: answer["first_failure"].as_str().map(|why| (Instant::now(), why.to_owned())),
        })
    }
}

async fn script() -> Result<Command> {
    let python = GrpcPython::find(&Cache::from_env()?).await?;
    Ok(python.command(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/python/echo_client.py"))))
}
