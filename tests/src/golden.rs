//! Golden worlds of the translation, as whole-system tests use them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pilotage::tools::ReservedPort;
use pilotage_compile::{Group, ProxyKind};

#[path = "../../xds/compile/tests/translation/header.rs"]
mod head;

pub use head::{Header, Viewer, header};

/// The folders of the golden worlds, by name.
///
/// # Errors
/// They cannot be listed, or there are none.
pub fn folders() -> Result<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xds/compile/tests/golden");
    let entries = std::fs::read_dir(&root).with_context(|| root.display().to_string())?;
    let mut folders = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    folders.retain(|path| path.join("world.yaml").is_file());
    folders.sort();
    ensure!(!folders.is_empty(), "{} holds golden worlds", root.display());
    Ok(folders)
}

/// Arguments of `pilotage bootstrap` for an Envoy of a group; none for a group that has no Envoys.
pub fn bootstrap(group: &Group, egress: &ReservedPort) -> Option<Vec<String>> {
    let mut arguments = Vec::new();
    let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
    let kind = match group.kind {
        ProxyKind::Sidecar { .. } => "sidecar",
        ProxyKind::Gateway => "gateway",
        ProxyKind::Grpc => return None,
    };
    add("--kind", kind.to_owned());
    add("--namespace", group.namespace.to_string());
    for (key, value) in &group.labels {
        add("--label", format!("{key}={value}"));
    }
    let place = &group.location;
    if !place.region.is_empty() {
        let parts = [&place.region, &place.zone, &place.subzone];
        let parts: Vec<&str> =
            parts.into_iter().map(|part| &**part).filter(|part| !part.is_empty()).collect();
        add("--locality", parts.join("/"));
    }
    if !place.node.is_empty() {
        add("--node-name", place.node.to_string());
    }
    if let ProxyKind::Sidecar { tcp_egress, .. } = group.kind {
        add("--egress-port", egress.number().to_string());
        if tcp_egress {
            arguments.push("--tcp-egress".to_owned());
        }
    }
    Some(arguments)
}
