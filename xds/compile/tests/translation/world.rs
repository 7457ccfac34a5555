//! Worlds as they are read: the golden ones from their folders, and those that tests write.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pilotage_compile::Group;
use pilotage_protocol::Name;
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, Object, Problem, World};

use crate::header::{Viewer, header};

/// A world and a group that looks at it.
pub(crate) struct Case {
    pub(crate) folder: PathBuf,
    pub(crate) name: String,
    pub(crate) world: World,
    pub(crate) group: Group,
    pub(crate) asked: BTreeSet<Name>,
}

/// Every group of every golden world, by folder.
pub(crate) fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut folders: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("world.yaml").is_file())
        .collect();
    folders.sort();
    assert!(!folders.is_empty(), "there are no golden worlds");
    folders.iter().flat_map(|folder| of_folder(folder)).collect()
}

/// The objects of a folder.
pub(crate) fn objects(folder: &Path) -> Vec<Object> {
    let changes = read_directory(folder).unwrap().changes.into_iter();
    let objects = changes.filter_map(|change| match change {
        Change::Apply(object) => Some(object),
        Change::Delete(_) | Change::Problems { .. } | Change::Synced(_) => None,
    });
    objects.collect()
}

/// The world of a folder; the reader must not object to anything.
pub(crate) fn read(folder: &Path) -> World {
    let (world, problems) = taken_in(folder);
    let errors: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", folder.display());
    world
}

/// The world of manifests; the reader must not object to anything.
pub(crate) fn written(manifests: &str) -> World {
    let (world, problems) = written_with_mistakes(manifests);
    assert!(problems.is_empty(), "{problems:?}");
    world
}

/// The world of manifests, and what the reader says of them.
pub(crate) fn written_with_mistakes(manifests: &str) -> (World, Vec<Problem>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("world.yaml"), manifests).unwrap();
    taken_in(folder.path())
}

fn taken_in(folder: &Path) -> (World, Vec<Problem>) {
    let (mut world, mut problems) = (World::default(), Vec::new());
    for change in read_directory(folder).unwrap().changes {
        match change {
            Change::Apply(object) => drop(world.apply(object)),
            Change::Problems { problems: found, .. } => problems.extend(found),
            Change::Delete(_) | Change::Synced(_) => {}
        }
    }
    (world, problems)
}

fn of_folder(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("world.yaml")).unwrap();
    let header = header(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut world = read(folder);
    world.set_time(header.time);
    let case = |Viewer { name, group, asked }| Case {
        folder: folder.to_owned(),
        name,
        world: world.clone(),
        group,
        asked,
    };
    header.viewers.into_iter().map(case).collect()
}
