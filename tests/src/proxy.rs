//! An Envoy of a mesh, as a sidecar or a gateway.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use pilotage::demo::{Client, bootstrap};
use pilotage::tools::{Envoy, EnvoyProgram, Launch, ReservedPort};
use serde_json::Value;

use crate::{Mesh, PATIENCE, eventually, pilotage};

/// Which dialect of xDS an Envoy is told to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Incremental, the default.
    Delta,
    /// State of the world.
    Sotw,
}

/// A running Envoy. Dropping it kills it.
#[derive(Debug)]
pub struct Proxy {
    envoy: Envoy,
    /// Where its calls go in; a gateway binds the port that its Gateway names.
    entry: SocketAddr,
    bootstrap: String,
    name: String,
    _egress: ReservedPort,
}

impl Proxy {
    /// Starts a sidecar of the namespace `demo`, and waits until it is ready.
    ///
    /// # Errors
    /// It is not ready in time; the error has the end of its log.
    pub async fn sidecar(mesh: &Mesh, name: &str, dialect: Dialect) -> Result<Self> {
        Self::sidecar_with(mesh, name, dialect, &[]).await
    }

    /// The same, with more arguments of `pilotage bootstrap`.
    ///
    /// # Errors
    /// As of [`Proxy::sidecar`].
    pub async fn sidecar_with(mesh: &Mesh, name: &str, dialect: Dialect, more: &[&str]) -> Result<Self> {
        Self::sidecar_at((mesh.xds(), mesh), name, dialect, more).await
    }

    /// The same, where `server` leads to the server of the mesh, as a [`crate::Relay`] does.
    ///
    /// # Errors
    /// It is not ready in time; the error has the end of its log.
    pub async fn sidecar_by_way_of(
        server: SocketAddr,
        mesh: &Mesh,
        name: &str,
        dialect: Dialect,
    ) -> Result<Self> {
        Self::sidecar_at((server, mesh), name, dialect, &[]).await
    }

    /// The same, with both.
    ///
    /// # Errors
    /// As of [`Proxy::sidecar`].
    pub async fn sidecar_at(
        at: (SocketAddr, &Mesh),
        name: &str,
        dialect: Dialect,
        more: &[&str],
    ) -> Result<Self> {
        let egress = ReservedPort::new()?;
        let port = egress.number().to_string();
        let mut arguments = vec!["--kind", "sidecar", "--egress-port", &port, "--tcp-egress"];
        if dialect == Dialect::Sotw {
            arguments.extend(["--dialect", "sotw"]);
        }
        arguments.extend(more);
        Self::start(at, name, &arguments, egress.address(), egress).await
    }

    /// Starts a sidecar of the namespace `demo` that runs at `locality`, as region and zone.
    ///
    /// # Errors
    /// It is not ready in time; the error has the end of its log.
    pub async fn sidecar_in(mesh: &Mesh, name: &str, locality: &str) -> Result<Self> {
        Self::sidecar_at((mesh.xds(), mesh), name, Dialect::Delta, &["--locality", locality]).await
    }

    /// Starts a gateway with the label `istio: ingressgateway`, whose Gateway has the port `port`.
    ///
    /// # Errors
    /// It is not ready in time; the error has the end of its log.
    pub async fn gateway(mesh: &Mesh, name: &str, port: u16) -> Result<Self> {
        Self::gateway_by_way_of(mesh.xds(), mesh, name, port).await
    }

    /// Starts a sidecar of the namespace `demo` and the label `app` to which every connection is redirected.
    ///
    /// # Errors
    /// It is not ready in time; the error has the end of its log.
    pub async fn intercepted(mesh: &Mesh, name: &str, app: &str) -> Result<Self> {
        let label = format!("app={app}");
        let arguments = ["--kind", "sidecar", "--intercepted", "--label", &label];
        let entry = (Ipv4Addr::LOCALHOST, 15001).into();
        Self::start((mesh.xds(), mesh), name, &arguments, entry, ReservedPort::new()?).await
    }

    /// The same, where `server` leads to the server of the mesh.
    ///
    /// # Errors
    /// As of [`Proxy::gateway`].
    pub async fn gateway_by_way_of(server: SocketAddr, mesh: &Mesh, name: &str, port: u16) -> Result<Self> {
        Self::gateway_at((server, mesh), name, port, &["--label", "istio=ingressgateway"]).await
    }

    /// Starts a gateway whose Gateway has the port `port`, with more arguments of `pilotage bootstrap`, such as labels.
    ///
    /// # Errors
    /// As of [`Proxy::gateway`].
    pub async fn gateway_at(at: (SocketAddr, &Mesh), name: &str, port: u16, more: &[&str]) -> Result<Self> {
        let entry = (Ipv4Addr::LOCALHOST, port).into();
        let arguments = [&["--kind", "gateway"], more].concat();
        Self::start(at, name, &arguments, entry, ReservedPort::new()?).await
    }

    async fn start(
        (server, mesh): (SocketAddr, &Mesh),
        name: &str,
        arguments: &[&str],
        entry: SocketAddr,
        egress: ReservedPort,
    ) -> Result<Self> {
        let server = server.to_string();
        let fixed =
            ["envoy", "--id", name, "--namespace", "demo", "--server", &server, "--admin", "127.0.0.1:0"];
        let bootstrap = bootstrap(pilotage()?, fixed.into_iter().chain(arguments.iter().copied())).await?;
        let envoy = Self::launch(mesh, name, &bootstrap).await?;
        Ok(Self { envoy, entry, bootstrap, name: name.into(), _egress: egress })
    }

    async fn launch(mesh: &Mesh, name: &str, bootstrap: &str) -> Result<Envoy> {
        let program = EnvoyProgram::find(None).await?;
        let launch = Launch { name, bootstrap, folder: mesh.folder(), workers: 1 };
        let mut envoy = Envoy::start(&program, &launch).await?;
        envoy.wait_ready().await?;
        Ok(envoy)
    }

    /// Kills the Envoy, as a crash would, and starts it again.
    ///
    /// # Errors
    /// It is not ready in time.
    pub async fn restart(self, mesh: &Mesh) -> Result<Self> {
        let Self { envoy, entry, bootstrap, name, _egress } = self;
        envoy.kill().await;
        let envoy = Self::launch(mesh, &name, &bootstrap).await?;
        Ok(Self { envoy, entry, bootstrap, name, _egress })
    }

    /// The Envoy.
    pub fn envoy(&self) -> &Envoy {
        &self.envoy
    }

    /// Where calls go in.
    pub fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// A client with one connection to this proxy, once a call to `authority` succeeds.
    ///
    /// # Errors
    /// None does in time.
    pub async fn client(&mut self, authority: &str) -> Result<Client> {
        let entry = self.entry;
        let first_call = || async move {
            let mut client = Client::connect(entry, authority).await.ok()?;
            client.call(&[]).await.ok().map(|_| client)
        };
        let awaited = format!("a call to {authority} that succeeds");
        Ok(self.envoy.process().wait_for(&awaited, PATIENCE, first_call).await?)
    }

    /// Waits until a call of `client` is answered by `route`, the value of the header `x-route` that a test's routes
    /// set to tell their editions apart, and gives how long that took. No call may fail meanwhile.
    ///
    /// # Errors
    /// A call fails, or the route is not used in time.
    pub async fn routed(&self, client: &mut Client, route: &str) -> Result<Duration> {
        let start = std::time::Instant::now();
        while start.elapsed() < PATIENCE {
            let reply = client.call(&[]).await.with_context(|| format!("while waiting for {route}"))?;
            if reply.headers.get("x-route").is_some_and(|value| value == route) {
                return Ok(start.elapsed());
            }
        }
        anyhow::bail!("no call was routed by {route} within {PATIENCE:?}")
    }

    /// The part of the configuration dump of one message type, such as `ClustersConfigDump`.
    ///
    /// # Errors
    /// Envoy does not answer, or has none.
    pub async fn dump(&self, message: &str) -> Result<Value> {
        let dump = self.envoy.admin_json("/config_dump?include_eds").await?;
        let parts = dump["configs"].as_array().context("a dump has parts")?;
        let part = parts.iter().find(|part| part["@type"].as_str().is_some_and(|url| url.ends_with(message)));
        part.cloned().with_context(|| format!("no {message} in the dump"))
    }

    /// How often Envoy has taken something in, by its counters.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn updates(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.envoy.admin_json("/stats?format=json&filter=update_success").await?;
        let stats = stats["stats"].as_array().context("stats")?.clone();
        let count = |stat: &Value| (stat["name"].to_string(), stat["value"].as_u64().unwrap_or_default());
        Ok(stats.iter().map(count).collect())
    }

    /// The cluster `name` as Envoy has it, once it has it.
    ///
    /// # Errors
    /// It does not come in time.
    pub async fn cluster(&self, name: &str) -> Result<Value> {
        let found = || async {
            let dump = self.dump(".ClustersConfigDump").await.ok()?;
            let clusters = dump["dynamic_active_clusters"].as_array()?;
            let named = clusters.iter().find(|cluster| cluster["cluster"]["name"] == name);
            named.map(|cluster| cluster["cluster"].clone())
        };
        eventually(&format!("the cluster {name}"), found).await
    }
}
