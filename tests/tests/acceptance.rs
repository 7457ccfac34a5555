//! Every golden world and every example, served to a real Envoy, which has to accept each resource.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pilotage_compile::{Group, ProxyKind};
use pilotage_protocol::{Resource, ResourceType};
use pilotage_protos::json::any_from_json;
use pilotage_tests::golden::{self, Viewer, header};
use pilotage_tests::{Acceptance, Authority, Seen, secret};
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, World};
use serde_json::json;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The sub-folders of a folder, by name.
fn folders(path: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(root().join(path)).with_context(|| path.to_owned())?;
    let mut folders: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    ensure!(!folders.is_empty(), "{path} has sub-folders");
    Ok(folders)
}

fn world(folder: &Path) -> Result<World> {
    let mut world = World::default();
    for change in read_directory(folder)?.changes {
        if let Change::Apply(object) = change {
            world.apply(object);
        }
    }
    Ok(world)
}

/// The gateway of the examples.
const GATEWAY: &str = "gateway namespace=shop labels=istio=ingressgateway";
const SIDECAR: &str = "sidecar namespace=shop";

/// A group as golden worlds name it.
fn group(line: &str) -> Result<Group> {
    let mut header = header(&format!("# group: {line}")).map_err(anyhow::Error::msg)?;
    Ok(header.viewers.remove(0).group)
}

/// The Envoys of a test: one at the edge and one beside a workload, each with files of its own.
struct Envoys {
    gateway: (Acceptance, TempDir),
    sidecar: (Acceptance, TempDir),
}

impl Envoys {
    async fn start() -> Result<Self> {
        let (gateway, sidecar) = (tempfile::tempdir()?, tempfile::tempdir()?);
        let (at_edge, beside) = tokio::join!(
            Acceptance::start("gateway", gateway.path()),
            Acceptance::start("sidecar", sidecar.path())
        );
        Ok(Self { gateway: (at_edge?, gateway), sidecar: (beside?, sidecar) })
    }

    /// Serves a world to the Envoy of a group's kind; none for a group that has no Envoys. `certs` are the files that
    /// the proxy itself has, below the folder where it runs.
    async fn serve(&mut self, world: &World, group: &Group, certs: &Path) -> Result<Option<usize>> {
        let (envoy, folder) = match group.kind {
            ProxyKind::Gateway => &mut self.gateway,
            ProxyKind::Sidecar { .. } | ProxyKind::Intercepted => &mut self.sidecar,
            ProxyKind::Grpc => return Ok(None),
        };
        if certs.is_dir() {
            let own = folder.path().join("certs");
            std::fs::create_dir_all(&own)?;
            for entry in std::fs::read_dir(certs)? {
                let entry = entry?;
                std::fs::copy(entry.path(), own.join(entry.file_name()))?;
            }
        }
        envoy.serve(Seen { world, group }, []).await.map(Some)
    }

    async fn end(self) -> Result<()> {
        self.gateway.0.end().await?;
        self.sidecar.0.end().await
    }
}

#[tokio::test]
async fn envoy_accepts_every_golden_world() -> Result<()> {
    let mut envoys = Envoys::start().await?;
    for folder in golden::folders()? {
        let text = std::fs::read_to_string(folder.join("world.yaml"))?;
        let world = world(&folder)?;
        for Viewer { name, group, .. } in header(&text).map_err(anyhow::Error::msg)?.viewers {
            let accepted = envoys.serve(&world, &group, &folder.join("certs")).await;
            let accepted = accepted.with_context(|| format!("{}/{name}", folder.display()))?;
            ensure!(accepted != Some(0), "{}/{name} has resources", folder.display());
        }
    }
    envoys.end().await
}

/// Redirected connections to a port, and a socket of the workload's own for the same port and so of the same name.
const WITHOUT_SOCKET: &str = "\
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: shop}
spec:
  clusterIP: 10.96.0.9
  ports: [{name: http, port: 28443}]
";
const WITH_SOCKET: &str = "\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: cart, namespace: shop}
spec:
  ingress:
  - port: {number: 28443, protocol: TCP, name: tcp}
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:8080
";

#[tokio::test]
async fn envoy_lives_on_when_a_listener_takes_the_name_of_one_without_a_socket() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut envoy = Acceptance::start("sidecar", folder.path()).await?;
    let group = group("intercepted namespace=shop labels=app=cart")?;
    for (round, text) in [WITHOUT_SOCKET, WITH_SOCKET].into_iter().cycle().take(6).enumerate() {
        let manifests = folder.path().join(round.to_string());
        std::fs::create_dir(&manifests)?;
        std::fs::write(manifests.join("world.yaml"), text)?;
        let served = envoy.serve(Seen { world: &world(&manifests)?, group: &group }, []).await;
        served.with_context(|| format!("round {round}"))?;
    }
    envoy.end().await
}

#[tokio::test]
async fn envoy_accepts_every_example() -> Result<()> {
    let mut envoys = Envoys::start().await?;
    for folder in folders("deploy/examples")? {
        let world = world(&folder)?;
        let mut count = 0;
        for line in [SIDECAR, GATEWAY, "intercepted namespace=shop labels=app=cart"] {
            let accepted = envoys.serve(&world, &group(line)?, Path::new("")).await;
            count += accepted.with_context(|| format!("{} for a {line}", folder.display()))?.unwrap_or(0);
        }
        ensure!(count > 0, "{} has resources", folder.display());
    }
    envoys.end().await
}

/// The example is complete but for its Secret, which nobody should copy: made here, it is all that was missing.
#[tokio::test]
async fn the_tls_example_lacks_its_secret_and_nothing_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let example = root().join("deploy/examples/gateway-tls/edge.yaml");
    std::fs::copy(example, folder.path().join("edge.yaml"))?;
    let settings = pilotage_compile::Settings::default();
    let found = pilotage_compile::check(&world(folder.path())?, &settings);
    let codes: Vec<&str> = found.iter().map(|problem| problem.code.name()).collect();
    ensure!(codes == ["unknown-secret"], "{found:?}");

    let issued = Authority::new()?.issue("checkout.example.com")?;
    let secret = secret("checkout-certificate", &issued, None).replace("namespace: demo", "namespace: shop");
    std::fs::write(folder.path().join("secret.yaml"), secret)?;
    let world = world(folder.path())?;
    let found = pilotage_compile::check(&world, &settings);
    ensure!(found.is_empty(), "{found:?}");
    let place = tempfile::tempdir()?;
    let mut envoy = Acceptance::start("gateway", place.path()).await?;
    let accepted = envoy.serve(Seen { world: &world, group: &group(GATEWAY)? }, []).await?;
    // A cluster and its endpoints, a listener, its routes, and the secret.
    ensure!(accepted == 5, "{accepted} resources");
    envoy.end().await
}

#[tokio::test]
async fn a_planted_bad_resource_is_found_and_the_next_world_is_taken() -> Result<()> {
    let place = tempfile::tempdir()?;
    let world = world(&root().join("deploy/examples/canary"))?;
    // A ring that is to be smaller than its smallest size.
    let bad = json!({
        "name": "planted",
        "connect_timeout": "1s",
        "type": "STATIC",
        "lb_policy": "RING_HASH",
        "ring_hash_lb_config": {"minimum_ring_size": "1024", "maximum_ring_size": "2"},
    });
    let body = any_from_json(ResourceType::Cluster.type_url(), &bad)?;
    let planted = [(ResourceType::Cluster, Resource::new("planted", body))];
    let group = group(SIDECAR)?;
    let mut envoy = Acceptance::start("sidecar", place.path()).await?;
    let error = envoy.serve(Seen { world: &world, group: &group }, planted).await;
    let error = format!("{:#}", error.err().context("the bad cluster is rejected")?);
    ensure!(error.contains("planted") && error.contains("rejected"), "{error}");
    envoy.serve(Seen { world: &world, group: &group }, []).await?;
    envoy.end().await
}
