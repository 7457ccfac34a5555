//! Texts as people write them, and what they are told.

#![allow(clippy::unwrap_used)]

use std::fs;

use pilotage_watcher::directory::{DirectoryReading, read_directory};
use pilotage_watcher::{Change, ObjectKey};

#[path = "manifests/errors.rs"]
mod errors;
#[path = "manifests/fuzz.rs"]
mod fuzz;
#[path = "manifests/objects.rs"]
mod objects;
#[path = "manifests/pasted.rs"]
mod pasted;
#[path = "manifests/secrets.rs"]
mod secrets;

/// What a folder of these files is read as.
struct Read {
    reading: DirectoryReading,
    /// The keys of what is served.
    served: Vec<String>,
    /// Each problem as it is printed, without the folder.
    problems: Vec<String>,
}

fn read(files: &[(&str, &str)]) -> Read {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let reading = read_directory(folder.path()).unwrap();
    let prefix = format!("{}/", folder.path().display());
    let mut served: Vec<ObjectKey> = Vec::new();
    let mut problems = Vec::new();
    for change in &reading.changes {
        match change {
            Change::Apply(object) => served.push(object.key()),
            Change::Problems { problems: found, .. } => {
                problems.extend(found.iter().map(|problem| problem.to_string().replace(&prefix, "")));
            }
            Change::Delete(_) | Change::Synced(_) => panic!("a first reading says {change:?}"),
        }
    }
    served.sort();
    Read { served: served.iter().map(ToString::to_string).collect(), problems, reading }
}
