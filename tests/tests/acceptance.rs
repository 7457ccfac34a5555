//! Every golden world and every example, served to a real Envoy, which has to accept each resource.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_protocol::{Resource, ResourceType};
use pilotage_protos::json::any_from_json;
use pilotage_tests::golden::{self, bootstrap, header};
use pilotage_tests::{Acceptance, Authority, secret};
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, World};
use serde_json::json;

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

/// Arguments of a bootstrap, for a group as golden worlds name it.
fn of_group(line: &str, egress: &ReservedPort) -> Result<Vec<String>> {
    let header = header(&format!("# group: {line}")).map_err(anyhow::Error::msg)?;
    bootstrap(&header.viewers[0].group, egress).context("the group is of an Envoy")
}

/// `certs` are the files that the proxy itself has, below the folder where it runs.
async fn accept(name: &str, world: &World, arguments: &[String], certs: &Path) -> Result<usize> {
    let folder = tempfile::tempdir()?;
    if certs.is_dir() {
        let own = folder.path().join("certs");
        std::fs::create_dir(&own)?;
        for entry in std::fs::read_dir(certs)? {
            let entry = entry?;
            std::fs::copy(entry.path(), own.join(entry.file_name()))?;
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let acceptance = Acceptance { name, world, bootstrap: &arguments, planted: &[] };
    Ok(acceptance.check(folder.path()).await?.resources)
}

#[tokio::test]
async fn envoy_accepts_every_golden_world() -> Result<()> {
    for folder in golden::folders()? {
        let egress = ReservedPort::new()?;
        let text = std::fs::read_to_string(folder.join("world.yaml"))?;
        let world = world(&folder)?;
        for viewer in header(&text).map_err(anyhow::Error::msg)?.viewers {
            let Some(arguments) = bootstrap(&viewer.group, &egress) else { continue };
            let name = format!("{} {arguments:?}", folder.display());
            let accepted = accept(&name, &world, &arguments, &folder.join("certs")).await?;
            ensure!(accepted > 0, "{name} has resources");
        }
    }
    Ok(())
}

#[tokio::test]
async fn envoy_accepts_every_example() -> Result<()> {
    for folder in folders("deploy/examples")? {
        let egress = ReservedPort::new()?;
        let world = world(&folder)?;
        let mut count = 0;
        for group in ["sidecar namespace=shop", GATEWAY] {
            let arguments = of_group(group, &egress)?;
            let name = format!("{} {arguments:?}", folder.display());
            count += accept(&name, &world, &arguments, Path::new("")).await?;
        }
        ensure!(count > 0, "{} has resources", folder.display());
    }
    Ok(())
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
    let egress = ReservedPort::new()?;
    let arguments = of_group(GATEWAY, &egress)?;
    // A cluster and its endpoints, a listener, its routes, and the secret.
    let accepted = accept("the TLS example", &world, &arguments, Path::new("")).await?;
    ensure!(accepted == 5, "{accepted} resources");
    Ok(())
}

#[tokio::test]
async fn a_planted_bad_resource_is_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
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
    let egress = ReservedPort::new()?;
    let arguments = of_group("sidecar namespace=shop", &egress)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let acceptance = Acceptance { name: "planted", world: &world, bootstrap: &arguments, planted: &planted };
    let error = acceptance.check(folder.path()).await.err().context("the bad cluster is rejected")?;
    ensure!(
        format!("{error:#}").contains("planted") && format!("{error:#}").contains("rejected"),
        "{error:#}"
    );
    Ok(())
}
