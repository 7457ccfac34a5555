//! The golden worlds as they are read from their folders.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pilotage_compile::{DEFAULT_EGRESS_PORT, Group, Location, ProxyKind};
use pilotage_protocol::Name;
use pilotage_watcher::directory::read_directory;
use pilotage_watcher::{Change, Object, World};

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
    let mut world = World::default();
    for change in read_directory(folder).unwrap().changes {
        match change {
            Change::Apply(object) => {
                world.apply(object);
            }
            Change::Problems { problems, .. } => {
                let errors: Vec<String> = problems.iter().map(ToString::to_string).collect();
                assert!(errors.is_empty(), "{}: {errors:#?}", folder.display());
            }
            Change::Delete(_) | Change::Synced(_) => {}
        }
    }
    world
}

fn of_folder(folder: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(folder.join("world.yaml")).unwrap();
    let mut world = read(folder);
    let time = text.lines().find_map(|line| line.strip_prefix("# time: "));
    world.set_time(time.map_or(0, |time| time.parse().unwrap()));
    let groups = text.lines().filter_map(|line| line.strip_prefix("# group: "));
    let cases: Vec<Case> = groups.map(|line| case(folder, &world, line)).collect();
    assert!(!cases.is_empty(), "{} names no group", folder.display());
    cases
}

fn case(folder: &Path, world: &World, line: &str) -> Case {
    let mut words = line.split_whitespace();
    let kind = words.next().unwrap();
    let mut name = kind.to_owned();
    let mut namespace = "default";
    let mut labels = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut tcp_egress = false;
    let mut location = Location::default();
    for word in words {
        match word.split_once('=') {
            Some(("namespace", value)) => namespace = value,
            Some(("labels", list)) => {
                for (key, value) in list.split(',').filter_map(|label| label.split_once('=')) {
                    labels.insert(key.into(), value.into());
                }
            }
            Some(("as", value)) => name = value.to_owned(),
            Some(("locality", value)) => {
                let mut parts = value.split('/').map(Arc::from);
                location.region = parts.next().unwrap();
                location.zone = parts.next().unwrap_or_default();
                location.subzone = parts.next().unwrap_or_default();
            }
            Some(("node", value)) => location.node = value.into(),
            Some(("ask", list)) => asked.extend(list.split(',').map(Name::from)),
            _ => {
                assert_eq!(word, "tcp", "in {}", folder.display());
                tcp_egress = true;
            }
        }
    }
    let kind = match kind {
        "sidecar" => ProxyKind::Sidecar { egress_port: DEFAULT_EGRESS_PORT, tcp_egress },
        "intercepted" => ProxyKind::Intercepted,
        "gateway" => ProxyKind::Gateway,
        "grpc" => ProxyKind::Grpc,
        other => panic!("{other} is no kind of proxy"),
    };
    let group = Group { kind, namespace: namespace.into(), labels, location };
    Case { folder: folder.to_owned(), name, world: world.clone(), group, asked }
}
