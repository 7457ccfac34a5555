//! What the drills of one dialect share: a server, a relay to it, an Envoy, backends, and a load that never stops.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use pilotage_tests::{
    Backend, Client, Dialect, Mesh, Proxy, Relay, endpoint_slice, eventually, host, service,
};

use super::load::Load;

/// Calls that a drill waits for where nothing else shows that something has had its effect.
pub(crate) const AFTERMATH: u64 = 200;

/// The stage; dropping it ends everything.
pub(crate) struct Stage {
    pub(crate) dialect: Dialect,
    pub(crate) mesh: Mesh,
    /// Between Envoy and the server.
    pub(crate) relay: Relay,
    pub(crate) sidecar: Proxy,
    /// One backend of the version `v1`, and one of `v2`.
    pub(crate) backends: Vec<Backend>,
    probe: Client,
    load: Load,
    editions: u32,
}

impl Stage {
    /// Starts everything, and the load as soon as a first call succeeds.
    ///
    /// # Errors
    /// Something is not ready in time.
    pub(crate) async fn start(dialect: Dialect) -> Result<Self> {
        let backends = vec![Backend::start("one", "v1").await?, Backend::start("two", "v2").await?];
        let slices: String = backends.iter().map(|backend| endpoint_slice("echo", backend)).collect();
        let services = service("echo", 80) + &slices;
        let rules = virtual_service("first", &plain("echo"));
        let mesh = Mesh::start(&[("services.yaml", &services), ("rules.yaml", &rules)]).await?;
        let relay = Relay::to(mesh.xds()).await?;
        let mut sidecar = Proxy::sidecar_by_way_of(relay.address(), &mesh, "sidecar", dialect).await?;
        let probe = sidecar.client(&host("echo")).await?;
        let client = sidecar.client(&host("echo")).await?;
        let load = Load::start(&client, sidecar.entry(), &host("echo"));
        let mut stage = Self { dialect, mesh, relay, sidecar, backends, probe, load, editions: 0 };
        stage.more_calls(AFTERMATH).await?;
        stage.edit(|_| String::new(), &plain("echo")).await?;
        Ok(stage)
    }

    /// Runs a drill, and prints what was called meanwhile.
    ///
    /// # Errors
    /// The drill's, or a call failed, or there were too few to show anything.
    pub(crate) async fn drill(
        &mut self,
        name: &str,
        drill: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let before = self.load.counts();
        let outcome = drill(self).await;
        // What the last change breaks may show only a little later.
        let outcome = match outcome {
            Ok(()) => self.more_calls(AFTERMATH).await,
            failed => failed,
        };
        let after = self.load.counts();
        let line = after.since(&before).with_context(|| name.to_owned())?;
        println!("{:<6} {name:<40} {line}", format!("{:?}", self.dialect));
        self.none_failed(before.at).with_context(|| format!("{name}: {line}"))?;
        outcome.with_context(|| name.to_owned())
    }

    /// Ends the load.
    ///
    /// # Errors
    /// A call failed, or Envoy hid a failure by a retry.
    pub(crate) async fn end(mut self) -> Result<()> {
        let start = Instant::now();
        self.load.stop().await?;
        self.none_failed(start)?;
        let retries: u64 = self.retries().await?;
        ensure!(retries == 0, "Envoy retried {retries} calls");
        Ok(())
    }

    /// Publishes a new edition of the rules, with whatever else `more` gives of its mark, in one file, and waits until
    /// calls are routed by it.
    ///
    /// # Errors
    /// They are not in time, or a call fails.
    pub(crate) async fn edit(&mut self, more: impl FnOnce(&str) -> String, routes: &str) -> Result<()> {
        let mark = self.write(more, routes)?;
        self.is_live(&mark).await
    }

    /// Publishes a new edition as [`Stage::edit`] does, and gives its mark without waiting.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&mut self, more: impl FnOnce(&str) -> String, routes: &str) -> Result<String> {
        self.editions += 1;
        let mark = format!("edition-{}", self.editions);
        let text = more(&mark) + &virtual_service(&mark, routes);
        self.mesh.manifests().write("rules.yaml", &text)?;
        Ok(mark)
    }

    /// Waits until calls are routed by an edition.
    ///
    /// # Errors
    /// They are not in time, or a call fails.
    pub(crate) async fn is_live(&mut self, mark: &str) -> Result<()> {
        self.sidecar.routed(&mut self.probe, mark).await.map(drop)
    }

    /// Waits until the load has made so many more calls.
    ///
    /// # Errors
    /// It does not in time.
    pub(crate) async fn more_calls(&self, count: u64) -> Result<()> {
        let target = self.load.counts().unary + count;
        let made = || async { (self.load.counts().unary >= target).then_some(()) };
        eventually(&format!("{count} more calls"), made).await
    }

    /// Waits until `backend` has begun to be called, or has ceased to be.
    ///
    /// # Errors
    /// It does not in time.
    pub(crate) async fn is_called(&self, backend: &Backend, called: Called) -> Result<()> {
        let condition = || async {
            let before = backend.answered();
            self.more_calls(50).await.ok()?;
            ((backend.answered() > before) == (called == Called::Yes)).then_some(())
        };
        eventually(&format!("calls of {}: {called:?}", backend.id()), condition).await
    }

    fn none_failed(&self, start: Instant) -> Result<()> {
        let failures = self.load.failures();
        let told: Vec<String> = failures
            .iter()
            .map(|(at, words)| {
                let (after, before) = (at.duration_since(start), start.duration_since(*at));
                format!("{:+.3} s: {words}", after.as_secs_f64() - before.as_secs_f64())
            })
            .collect();
        ensure!(told.is_empty(), "{} failed, the first so:\n{}", self.load.counts().failed, told.join("\n"));
        Ok(())
    }

    async fn retries(&self) -> Result<u64> {
        let stats = self.sidecar.envoy().stats("cluster.outbound").await?;
        Ok(stats
            .iter()
            .filter(|(name, _)| name.ends_with(".upstream_rq_retry"))
            .map(|(_, count)| count)
            .sum())
    }
}

/// Whether a backend is to be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Called {
    Yes,
    No,
}

/// The route to a Service of the namespace `demo`, as the items of a VirtualService's `route`.
pub(crate) fn plain(service: &str) -> String {
    format!("    - {{destination: {{host: {}}}}}\n", host(service))
}

/// The VirtualService of the host `echo`, without retries; `mark` comes back in the header `x-route` of answers.
fn virtual_service(mark: &str, routes: &str) -> String {
    format!(
        "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: echo, namespace: demo}}
spec:
  hosts: [{host}]
  http:
  - headers: {{response: {{set: {{x-route: {mark}}}}}}}
    retries: {{attempts: 0}}
    route:
{routes}---
",
        host = host("echo")
    )
}
