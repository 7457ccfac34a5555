//! A Python with the gRPC library: a second client implementation, and a proxyless xDS one, for tests.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::cache::Cache;
use super::package::{InstallError, Package, install};

/// The version of `grpcio` that is installed.
pub const GRPCIO_VERSION: &str = "1.85.1";
/// The version of `protobuf` that is installed beside it.
pub const PROTOBUF_VERSION: &str = "7.36.2";

/// The user's Python, with gRPC on its module path.
#[derive(Clone, Debug)]
pub struct GrpcPython {
    modules: PathBuf,
}

impl GrpcPython {
    /// Finds the packages in `cache`, or installs them there.
    pub async fn find(cache: &Cache) -> Result<Self, InstallError> {
        // The library is compiled for one Python: another one of the same user gets its own folder.
        let abi = python_tag().await;
        let package = Package {
            folder: format!("grpcio-{GRPCIO_VERSION}-protobuf-{PROTOBUF_VERSION}-{abi}"),
            requirements: vec![format!("grpcio=={GRPCIO_VERSION}"), format!("protobuf=={PROTOBUF_VERSION}")],
            contains: "grpc/__init__.py",
            instead: "run without the tests that need Python",
        };
        Ok(Self { modules: install(cache, &package).await? })
    }

    /// The folder with the modules, as for `PYTHONPATH`.
    pub fn modules(&self) -> &Path {
        &self.modules
    }

    /// A command that runs `script`.
    pub fn command(&self, script: &Path) -> Command {
        let mut command = Command::new("python3");
        command.arg("-u").arg(script).env("PYTHONPATH", &self.modules).env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }
}

/// Such as `cpython-311`; where Python does not answer, the installation says why.
async fn python_tag() -> String {
    let mut command = Command::new("python3");
    command.args(["-c", "import sys; print(sys.implementation.cache_tag)"]);
    match command.output().await {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "python3".into(),
    }
}
