//! The parts of the demo, running: six backends, a server of a folder of manifests, an Envoy between them.
//!
//! All of it ends with the value, however that ends: the processes are killed and the folder is removed.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;
use tonic::Status;

use super::manifests::{self, HOST, Manifests};
use super::screen::Screen;
use super::table::Table;
use super::tally::Tally;
use super::{Backend, Client, Reply, Serve, Server, bootstrap};
use crate::tools::{Envoy, EnvoyProgram, Launch, ReservedPort};

/// An edit that has not reached a call by then never will.
const APPLIED_WITHIN: Duration = Duration::from_secs(10);

/// As many of v1 as of v2, so that a canary's tenth cannot come from balancing alone.
const BACKENDS: [(&str, &str); 6] = [
    ("ann-v1", "v1"),
    ("ben-v1", "v1"),
    ("cleo-v1", "v1"),
    ("dan-v2", "v2"),
    ("eve-v2", "v2"),
    ("finn-v2", "v2"),
];

/// The parts. What is declared first is dropped first: the folder outlives who writes into it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) envoy: Envoy,
    pub(super) server: Server,
    pub(super) backends: Vec<Backend>,
    pub(super) manifests: Manifests,
    /// The Service's port. A port that is opaque TCP is bound by the sidecar itself, so it must be free here.
    pub(super) service: ReservedPort,
    /// The port of the sidecar's listener that routes by `:authority`.
    pub(super) egress: ReservedPort,
    _folder: TempDir,
    pub(super) screen: Screen,
    pub(super) table: Table,
    /// Calls of each measurement.
    pub(super) calls: u64,
    /// What became of all calls since the routes exist, in measurements and between them.
    pub(super) live: Tally,
}

impl Stage {
    /// Starts everything, with the Service's port undeclared.
    pub(super) async fn set(
        executable: &Path,
        program: &EnvoyProgram,
        screen: Screen,
        calls: u64,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pilotage-demo-").tempdir()?;
        let (service, egress) = (ReservedPort::new()?, ReservedPort::new()?);
        let mut backends = Vec::new();
        for (id, version) in BACKENDS {
            backends.push(Backend::start(id, version).await?);
        }
        let manifests = Manifests::below(folder.path())?;
        manifests.write("service.yaml", &manifests::service(service.number(), None))?;
        manifests.write("endpoints.yaml", &manifests::endpoint_slices(&backends))?;
        let server = Server::start(&Serve::new(executable, manifests.folder(), folder.path())).await?;
        let xds = server.xds().to_string();
        let egress_port = egress.number().to_string();
        let options = [
            ["--kind", "sidecar"],
            ["--id", "demo"],
            ["--namespace", "demo"],
            ["--server", &xds],
            ["--egress-port", &egress_port],
            ["--admin", "127.0.0.1:0"],
        ];
        let arguments = ["envoy", "--tcp-egress"].into_iter().chain(options.into_iter().flatten());
        let yaml = bootstrap(executable, arguments).await?;
        let launch = Launch { name: "envoy", bootstrap: &yaml, folder: folder.path(), workers: 1 };
        let mut envoy = Envoy::start(program, &launch).await?;
        envoy.wait_ready().await?;
        let live = Tally::default();
        let table = Table::default();
        Ok(Self {
            envoy,
            server,
            backends,
            manifests,
            service,
            egress,
            _folder: folder,
            screen,
            table,
            calls,
            live,
        })
    }

    /// The `:authority` of the Service.
    pub(super) fn authority(&self) -> String {
        format!("{HOST}:{}", self.service.number())
    }

    /// A client with one connection to `target`, once a call succeeds there.
    pub(super) async fn connect(&mut self, target: SocketAddr) -> Result<Client> {
        let authority = &self.authority();
        let first_call = || async move {
            let mut client = Client::connect(target, authority).await.ok()?;
            client.call(&[]).await.ok().map(|_| client)
        };
        let awaited = format!("a call to {authority} at {target} that succeeds");
        let client = self.envoy.process().wait_for(&awaited, APPLIED_WITHIN, first_call).await;
        client.with_context(|| self.logs())
    }

    /// Makes and shows as many calls as a measurement takes.
    pub(super) async fn measure(&mut self, client: &mut Client, headers: &[(&str, &str)]) -> Result<Tally> {
        let mut tally = Tally::of(self.backends.iter().map(Backend::id));
        for _ in 0..self.calls {
            let outcome = client.call(headers).await;
            tally.count(&outcome);
            self.screen.draw(&tally)?;
        }
        self.screen.finish(&tally)?;
        Ok(tally)
    }

    /// Makes one call and counts it as live.
    pub(super) async fn call(&mut self, client: &mut Client) -> Result<Reply, Status> {
        let outcome = client.call(&[]).await;
        self.live.count(&outcome);
        outcome
    }

    /// The ends of the logs, for an error: the files are gone when it is read.
    pub(super) fn logs(&mut self) -> String {
        let (server, envoy) = (self.server.process().log_tail(), self.envoy.process().log_tail());
        format!("the end of the server's log:\n{server}\nthe end of Envoy's log:\n{envoy}\n")
    }

    /// How long an edit may take.
    pub(super) fn patience(&self) -> Duration {
        APPLIED_WITHIN
    }

    /// Ends everything in order and waits until it has ended.
    pub(super) async fn end(self) {
        self.envoy.stop().await;
        self.server.stop().await;
    }
}
