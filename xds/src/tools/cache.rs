//! The user's cache folder, and the locks that let several processes share it.
//!
//! Whatever lies under its final name is complete: things are built beside it and renamed into place under a lock.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

/// How often a lock that another process holds is tried again. The system call that would wait cannot be cancelled.
const LOCK_RETRY: Duration = Duration::from_millis(100);

/// The folder that downloaded programs are kept in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

/// Why the cache cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// None of the variables that say where it lies is set.
    #[error("no folder to keep downloaded programs in: set PILOTAGE_CACHE, XDG_CACHE_HOME or HOME")]
    NoFolder,
    /// The folder, or a file in it, cannot be written.
    #[error("cannot write {}; set PILOTAGE_CACHE to a folder that can be written", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
}

/// An exclusive lock among processes, held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Cache {
    /// The cache in `folder`, which is made when something is first put there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The cache that the environment names: `$PILOTAGE_CACHE`, else `$XDG_CACHE_HOME/pilotage`, else
    /// `~/.cache/pilotage`.
    pub fn from_env() -> Result<Self, CacheError> {
        Self::from_variables(|name| {
            std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
        })
    }

    fn from_variables(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, CacheError> {
        variable("PILOTAGE_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("pilotage")))
            .or_else(|| variable("HOME").map(|home| home.join(".cache/pilotage")))
            .map(Self::new)
            .ok_or(CacheError::NoFolder)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes the lock `name`, calling `waiting` once if another process holds it now.
    pub async fn lock(&self, name: &str, waiting: impl FnOnce()) -> Result<Lock, CacheError> {
        fs::create_dir_all(&self.folder)
            .map_err(|source| CacheError::Write { path: self.folder.clone(), source })?;
        let path = self.folder.join(format!("{name}.lock"));
        let file = File::create(&path).map_err(|source| CacheError::Write { path: path.clone(), source })?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    tokio::time::sleep(LOCK_RETRY).await;
                }
                Err(TryLockError::Error(source)) => return Err(CacheError::Write { path, source }),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(variables: &[(&str, &str)]) -> Option<PathBuf> {
        Cache::from_variables(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| PathBuf::from(value))
        })
        .ok()
        .map(|cache| cache.folder)
    }

    #[test]
    fn the_most_specific_variable_names_the_folder() {
        let all = [("PILOTAGE_CACHE", "/p"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(folder(&all), Some("/p".into()));
        assert_eq!(folder(&all[1..]), Some("/x/pilotage".into()));
        assert_eq!(folder(&all[2..]), Some("/h/.cache/pilotage".into()));
        assert_eq!(folder(&[]), None);
    }

    #[tokio::test]
    async fn a_lock_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("made/when/needed"));
        let held = cache.lock("a", || panic!("the lock is free")).await.unwrap();
        let (told, waits) = tokio::sync::oneshot::channel();
        let second = {
            let cache = cache.clone();
            tokio::spawn(async move { cache.lock("a", || told.send(()).unwrap()).await })
        };
        waits.await.unwrap();
        assert!(!second.is_finished());
        drop(held);
        second.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Cache::new(file.path().join("below")).lock("a", || ()).await.unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }
}
