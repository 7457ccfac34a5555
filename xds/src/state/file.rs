//! The file of a last good state: one JSON document with its format's number, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use pilotage_watcher::{Object, ObjectKey};
use serde::{Deserialize, Serialize};

use super::Endpoints;

/// The format that is written, and the only one that is read. Another one is another program's: it is not guessed at.
const FORMAT: u32 = 1;

/// An object that is good, and the scope whose errors would be its own: a file, or a kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) scope: Arc<str>,
    pub(super) object: Object,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u32,
    objects: Vec<&'a Entry>,
}

#[derive(Deserialize)]
struct Read {
    format: u32,
    #[serde(default)]
    objects: Vec<serde_json::Value>,
}

/// The file of a source in `folder`, which is made if it is not there.
pub(super) fn path(folder: &Path, endpoints: Endpoints) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the state folder {}", folder.display()))?;
    Ok(folder.join(match endpoints {
        Endpoints::Kept => "directory.json",
        Endpoints::Fleeting => "kubernetes.json",
    }))
}

/// What was written; nothing where there is no file. An object that this version does not read is left out.
pub(super) fn load(path: &Path) -> anyhow::Result<BTreeMap<ObjectKey, Entry>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let read: Read = serde_json::from_reader(BufReader::new(file))
        .with_context(|| format!("{} is not what was written", path.display()))?;
    ensure!(read.format == FORMAT, "{} is of format {}, and {FORMAT} is read", path.display(), read.format);
    let entries = read.objects.into_iter().filter_map(|value| serde_json::from_value::<Entry>(value).ok());
    Ok(entries.map(|entry| (entry.object.key(), entry)).collect())
}

/// Writes it beside the file and moves it there, so that a crash leaves the former one.
pub(super) fn save(path: &Path, good: &BTreeMap<ObjectKey, Entry>) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(fs::File::create(&beside)?);
        serde_json::to_writer(&mut out, &Written { format: FORMAT, objects: good.values().collect() })?;
        out.write_all(b"\n")?;
        out.into_inner()?.sync_all()?;
        fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
