//! A folder of manifests as a source: read at once, then followed by file events.
//!
//! What was good stays until something better stands in its place: a file that is half written, emptied or broken
//! keeps its objects. `folder` holds that state and does no waiting; `watch` says what may have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{timeout, timeout_at};

use self::folder::Folder;
use self::watch::{Signal, Watch};
use crate::{Batch, Change, Kind, Positions, SourceName};

mod file;
mod folder;
mod scan;
mod watch;

/// How a folder is read.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder.
    pub path: PathBuf,
    /// Larger files are refused; default 16 MiB.
    pub max_file_bytes: u64,
    /// After an event, how long it must be quiet before files are read; default 2 ms, and never more than 10 times
    /// that in all.
    pub quiet: Duration,
    /// How long a file may be missing before its objects are gone; default 20 ms. Some editors move the old file
    /// away before they write the new one.
    pub absence: Duration,
}

impl Options {
    /// The defaults for this folder.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_file_bytes: 16 * 1024 * 1024,
            quiet: Duration::from_millis(2),
            absence: Duration::from_millis(20),
        }
    }
}

/// Why a folder cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The folder is missing or may not be read.
    #[error("cannot read the folder {}", path.display())]
    Read {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder cannot be followed, perhaps because the system's limit of watches is reached.
    #[error("cannot watch the folder {}; on Linux see fs.inotify.max_user_watches", path.display())]
    Watch {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
}

/// What a folder holds, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Files with a manifest's ending.
    pub files: usize,
    /// Documents in them.
    pub documents: usize,
    /// Objects that are served, by kind.
    pub objects: BTreeMap<Kind, usize>,
    /// Objects of kinds that are not read, by kind.
    pub passed_over: BTreeMap<Arc<str>, usize>,
}

/// A folder read once.
#[derive(Debug)]
pub struct DirectoryReading {
    /// Its objects and problems; no `Synced`.
    pub changes: Vec<Change>,
    /// Its numbers.
    pub stats: Stats,
    /// Where its objects are written.
    pub positions: Positions,
}

/// Reads a folder once, for commands that do not stay.
///
/// # Errors
///
/// [`DirectoryError::Read`] where the folder is missing or may not be read. What is wrong with files is among the
/// changes.
pub fn read_directory(path: impl AsRef<Path>) -> Result<DirectoryReading, DirectoryError> {
    let options = Options::new(path.as_ref());
    let mut folder = Folder::new(&options);
    let changes = folder.open().map_err(|source| DirectoryError::Read { path: options.path, source })?;
    Ok(DirectoryReading { changes, stats: folder.stats(), positions: folder.positions() })
}

/// A folder that has been read and is being followed.
#[derive(Debug)]
pub struct DirectorySource {
    options: Options,
    folder: Folder,
    watch: Watch,
    initial: Batch,
}

impl DirectorySource {
    /// Begins to follow a folder, and reads it.
    ///
    /// # Errors
    ///
    /// Where the folder is missing or may not be read, or cannot be watched.
    pub fn open(options: Options) -> Result<Self, DirectoryError> {
        let seen = Instant::now();
        let mut folder = Folder::new(&options);
        let read = |source| DirectoryError::Read { path: options.path.clone(), source };
        // Asked first, for a watch of a missing folder gives a worse reason.
        std::fs::read_dir(&options.path).map_err(read)?;
        // Watched before it is read: an event too many costs a look, one too few would cost a change.
        let mut watch = Watch::open(&options.path)
            .map_err(|source| DirectoryError::Watch { path: options.path.clone(), source })?;
        let mut changes = folder.open().map_err(read)?;
        watch.follow(folder.targets());
        changes.push(Change::Synced(name_of(&options.path)));
        Ok(Self { initial: Batch { seen, changes }, options, folder, watch })
    }

    /// `directory:` and the path.
    pub fn name(&self) -> SourceName {
        name_of(&self.options.path)
    }

    /// What the folder held when it was opened; ends with `Synced`. Empty once taken.
    pub fn take_initial(&mut self) -> Batch {
        Batch { seen: self.initial.seen, changes: std::mem::take(&mut self.initial.changes) }
    }

    /// Where the objects are written; stays up to date while the source runs.
    pub fn positions(&self) -> Positions {
        self.folder.positions()
    }

    /// The numbers at the start.
    pub fn stats(&self) -> Stats {
        self.folder.stats()
    }

    /// Sends what the folder holds, unless it was taken, and then what changes, until `shutdown` is done or nobody
    /// receives any more.
    pub async fn run(mut self, batches: mpsc::Sender<Batch>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let initial = self.take_initial();
        if !initial.changes.is_empty() && batches.send(initial).await.is_err() {
            return;
        }
        loop {
            let first = tokio::select! {
                () = &mut shutdown => return,
                signal = self.watch.next() => signal,
            };
            let Some(first) = first else { return };
            let seen = first.seen;
            let mut signals = vec![first];
            self.gather(&mut signals, self.options.quiet).await;
            signals.retain(|signal| self.folder.concerns(signal));
            if signals.is_empty() {
                continue;
            }
            self.await_return(&mut signals).await;
            let name = self.name();
            let changes;
            (self, changes) = match tokio::task::spawn_blocking(move || self.follow(&signals)).await {
                Ok(followed) => followed,
                Err(error) => {
                    if error.is_panic() {
                        tracing::error!(source = %name, "the folder is no longer followed; this is a defect");
                    }
                    return;
                }
            };
            if changes.is_empty() {
                continue;
            }
            tracing::debug!(source = %name, changes = changes.len(), "folder changed");
            tokio::select! {
                () = &mut shutdown => return,
                sent = batches.send(Batch { seen, changes }) => if sent.is_err() { return },
            }
        }
    }

    /// Waits for quiet, but not for ever.
    async fn gather(&mut self, signals: &mut Vec<Signal>, quiet: Duration) {
        let end = Instant::now() + quiet * 10;
        while Instant::now() < end
            && let Ok(Some(signal)) = timeout(quiet, self.watch.next()).await
        {
            signals.push(signal);
        }
    }

    /// Waits until nothing is missing that events spoke of, or until it has been missing for long enough.
    async fn await_return(&mut self, signals: &mut Vec<Signal>) {
        let end = tokio::time::Instant::now() + self.options.absence;
        while signals.iter().any(|signal| signal.removes(&self.options.path))
            && let Ok(Some(signal)) = timeout_at(end, self.watch.next()).await
        {
            if self.folder.concerns(&signal) {
                signals.push(signal);
            }
        }
    }

    fn follow(mut self, signals: &[Signal]) -> (Self, Vec<Change>) {
        if signals.iter().any(Signal::is_root) {
            self.watch.renew();
        }
        let changes = self.folder.refresh(signals);
        self.watch.follow(self.folder.targets());
        (self, changes)
    }
}

fn name_of(path: &Path) -> SourceName {
    format!("directory:{}", path.display()).into()
}
