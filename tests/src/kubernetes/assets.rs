//! The programs of the control plane: named by `KUBEBUILDER_ASSETS`, found on `PATH`, or built from pinned modules.
//!
//! A build takes minutes and is done once for a machine: its programs lie in the cache under the hash of what pins
//! them, complete or not at all.

use std::env;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pilotage::tools::{Cache, during, say};

use super::toolchain::{go, modules, run};

/// The version of kube-apiserver that is built where there is none.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

const API_SERVER: &str = "kube-apiserver";
const STORE: &str = "etcd";

/// The programs of a control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assets {
    /// kube-apiserver.
    pub api_server: PathBuf,
    /// etcd.
    pub store: PathBuf,
}

impl Assets {
    /// Both programs from the folder `$KUBEBUILDER_ASSETS`, else both from `PATH`, else built into the cache.
    ///
    /// # Errors
    /// `KUBEBUILDER_ASSETS` names a folder without them, or they cannot be built.
    pub async fn find() -> Result<Self> {
        if let Some(folder) = env::var_os("KUBEBUILDER_ASSETS").filter(|folder| !folder.is_empty()) {
            return Self::named(Path::new(&folder));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        match env::split_paths(&path).map(|folder| Self::below(&folder)).find(Self::is_complete) {
            Some(found) => Ok(found),
            None => Self::built(&Cache::from_env()?).await,
        }
    }

    fn below(folder: &Path) -> Self {
        Self { api_server: folder.join(API_SERVER), store: folder.join(STORE) }
    }

    fn is_complete(&self) -> bool {
        self.api_server.is_file() && self.store.is_file()
    }

    /// A folder that was named is taken or refused, and never passed over.
    fn named(folder: &Path) -> Result<Self> {
        let named = Self::below(folder);
        ensure!(
            named.is_complete(),
            "KUBEBUILDER_ASSETS names {}, which does not hold both {API_SERVER} and {STORE}",
            folder.display()
        );
        Ok(named)
    }

    /// The programs in `cache`, built there if need be.
    async fn built(cache: &Cache) -> Result<Self> {
        let source = modules("control-plane");
        let name = format!("control-plane-{KUBERNETES_VERSION}-{:016x}", fingerprint(&source)?);
        let folder = cache.folder().join(&name);
        let programs = Self::below(&folder);
        if programs.is_complete() {
            return Ok(programs);
        }
        let waiting = || say("waiting for another process to build kube-apiserver and etcd");
        let _lock = cache.lock(&name, waiting).await?;
        if programs.is_complete() {
            return Ok(programs);
        }
        let go = go(cache).await?;
        let prefix = format!(".{name}-");
        remove_abandoned(cache.folder(), &prefix);
        let scratch = tempfile::Builder::new().prefix(&prefix).tempdir_in(cache.folder())?;
        let target = scratch.path().join("target");
        fs::create_dir(&target)?;
        let version = format!("-s -w -X k8s.io/component-base/version.gitVersion={KUBERNETES_VERSION}");
        let packages =
            [(STORE, "go.etcd.io/etcd/server/v3"), (API_SERVER, "k8s.io/kubernetes/cmd/kube-apiserver")];
        for (program, package) in packages {
            let output = target.join(program).to_string_lossy().into_owned();
            let build = ["build", "-mod=readonly", "-trimpath", "-ldflags", &version, "-o", &output, package];
            let what = format!("building {program} with Go, once for this machine; this takes some minutes");
            during(&what, run(&go, &source, &build)).await?;
        }
        fs::rename(&target, &folder).with_context(|| format!("cannot write {}", folder.display()))?;
        Ok(programs)
    }
}

/// Removes what builds that were killed have left. Under the lock, nobody else is at work on these.
fn remove_abandoned(cache: &Path, prefix: &str) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            // What cannot be removed only takes space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What the programs are built from, as a number: another pin is another build.
pub(super) fn fingerprint(source: &Path) -> Result<u64> {
    let mut hasher = xxhash_rust::xxh3::Xxh3::new();
    for file in ["go.mod", "go.sum"] {
        let path = source.join(file);
        hasher.write(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_named_folder_without_the_programs_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(STORE), "").unwrap();
        let error = Assets::named(folder.path()).unwrap_err().to_string();
        assert!(error.contains(folder.path().to_str().unwrap()), "{error}");
        fs::write(folder.path().join(API_SERVER), "").unwrap();
        assert_eq!(Assets::named(folder.path()).unwrap(), Assets::below(folder.path()));
    }

    #[test]
    fn another_pin_is_another_build() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("go.mod"), "module a").unwrap();
        fs::write(folder.path().join("go.sum"), "one").unwrap();
        let before = fingerprint(folder.path()).unwrap();
        fs::write(folder.path().join("go.sum"), "two").unwrap();
        assert_ne!(fingerprint(folder.path()).unwrap(), before);
    }
}
