//! A folder, a running source, and the world that its changes make.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pilotage_watcher::directory::{DirectorySource, Options};
use pilotage_watcher::{Batch, Change, Object, ObjectKey, Positions, Problem, World};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Far longer than anything takes, so that only a fault meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Live {
    pub(crate) root: PathBuf,
    pub(crate) world: World,
    pub(crate) objects: BTreeMap<ObjectKey, Object>,
    pub(crate) problems: BTreeMap<String, Vec<Problem>>,
    pub(crate) positions: Positions,
    /// Every deletion ever told.
    pub(crate) deleted: Vec<ObjectKey>,
    pub(crate) synced: usize,
    pub(crate) batches: usize,
    receiver: mpsc::Receiver<Batch>,
    _shutdown: oneshot::Sender<()>,
    _folder: tempfile::TempDir,
}

impl Live {
    /// Follows a new folder that `fill` has filled.
    pub(crate) async fn open(fill: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("manifests");
        fs::create_dir(&root).unwrap();
        fill(&root);
        Self::follow(folder, root).await
    }

    pub(crate) async fn follow(folder: tempfile::TempDir, root: PathBuf) -> Self {
        Self::with(folder, Options::new(root)).await
    }

    pub(crate) async fn with(folder: tempfile::TempDir, options: Options) -> Self {
        let root = options.path.clone();
        let source = DirectorySource::open(options).unwrap();
        let positions = source.positions();
        let (sender, receiver) = mpsc::channel(16);
        let (shutdown, done) = oneshot::channel::<()>();
        tokio::spawn(source.run(sender, async {
            let _ = done.await;
        }));
        let mut live = Self {
            root,
            world: World::default(),
            objects: BTreeMap::new(),
            problems: BTreeMap::new(),
            positions,
            deleted: Vec::new(),
            synced: 0,
            batches: 0,
            receiver,
            _shutdown: shutdown,
            _folder: folder,
        };
        live.until("synced", |live| live.synced == 1).await;
        live
    }

    /// Takes in batches until a condition holds.
    pub(crate) async fn until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        while !condition(self) {
            let Ok(Some(batch)) = timeout(PATIENCE, self.receiver.recv()).await else {
                panic!("{what} did not come about; there are {:?} and {:#?}", self.names(), self.problems);
            };
            self.take(batch);
        }
    }

    /// Asserts that nothing is told for a while.
    pub(crate) async fn says_nothing_for(&mut self, time: Duration) {
        if let Ok(batch) = timeout(time, self.receiver.recv()).await {
            panic!("nothing was to be told, and then came {batch:?}");
        }
    }

    fn take(&mut self, batch: Batch) {
        self.batches += 1;
        for change in batch.changes {
            match change {
                Change::Apply(object) => {
                    self.world.apply(object.clone());
                    self.objects.insert(object.key(), object);
                }
                Change::Delete(key) => {
                    self.world.delete(&key);
                    assert!(
                        self.objects.remove(&key).is_some(),
                        "{key} was deleted without having been there"
                    );
                    self.deleted.push(key);
                }
                Change::Problems { scope, problems } if problems.is_empty() => {
                    self.problems.remove(&*scope);
                }
                Change::Problems { scope, problems } => {
                    self.problems.insert(scope.to_string(), problems);
                }
                Change::Synced(_) => self.synced += 1,
            }
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.root.join(name), text).unwrap();
    }

    /// The names of the Services, in order.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.world.services().map(|service| &*service.meta.name).collect()
    }

    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        Some(self.world.service("default", name)?.spec.ports[0].port)
    }

    /// The codes of all problems, in order.
    pub(crate) fn codes(&self) -> Vec<&'static str> {
        self.problems.values().flatten().map(|problem| problem.code.name()).collect()
    }

    /// Changes one more file and waits until that has arrived, so that whatever was going to come before has come.
    pub(crate) async fn barrier(&mut self) {
        self.write("zz-barrier.yaml", &service("barrier", 1));
        self.until("the barrier", |live| live.port("barrier").is_some()).await;
        fs::remove_file(self.root.join("zz-barrier.yaml")).unwrap();
        self.until("the end of the barrier", |live| live.port("barrier").is_none()).await;
        self.deleted.retain(|key| &*key.name != "barrier");
    }
}

pub(crate) fn service(name: &str, port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  ports:\n  - name: grpc-api\n    port: {port}\n"
    )
}
