//! Golden worlds of the translation, as whole-system tests use them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

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
