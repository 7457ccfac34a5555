//! The proxyless gRPC client of Rust: `tonic-xds`, on `xds-client`.

use std::time::Duration;

use anyhow::Result;
use pilotage::demo::{Client, bootstrap};
use tokio::time::timeout;
use tonic::Status;
use tonic_xds::{BootstrapConfig, XdsChannelBuilder, XdsChannelConfig, XdsChannelGrpc, XdsUri};

use crate::{Caller, Mesh, Outcomes, pilotage};

/// The channel waits for its resources without an end.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client whose channel asks a server where calls go.
#[derive(Debug)]
pub struct XdsClient(Client<XdsChannelGrpc>);

impl XdsClient {
    /// A client of the namespace `demo`, which asks the server of `mesh` where `authority` is.
    ///
    /// # Errors
    /// There is no bootstrap, or the client does not take it.
    pub async fn proxyless(mesh: &Mesh, name: &str, authority: &str) -> Result<Self> {
        let xds = mesh.xds().to_string();
        let arguments = ["grpc", "--id", name, "--namespace", "demo", "--server", &xds];
        let bootstrap = bootstrap(pilotage()?, arguments).await?;
        // In plaintext this client takes a URL, where others take the target of a channel.
        let bootstrap = bootstrap.replace(&format!("\"{xds}\""), &format!("\"http://{xds}\""));
        let bootstrap = BootstrapConfig::from_json(&bootstrap)?;
        let target = XdsUri::parse(&format!("xds:///{authority}"))?;
        let config = XdsChannelConfig::new(target).with_bootstrap(bootstrap);
        Ok(Self(Client::over(XdsChannelBuilder::new(config).build_grpc_channel()?)))
    }
}

impl Caller for XdsClient {
    async fn calls(&mut self, count: u64, headers: &[(&str, &str)]) -> Result<Outcomes> {
        let mut outcomes = Outcomes::default();
        for _ in 0..count {
            let late = |_| Err(Status::deadline_exceeded("the call is not answered"));
            outcomes.count(timeout(CALL_TIMEOUT, self.0.call(headers)).await.unwrap_or_else(late));
        }
        Ok(outcomes)
    }
}
