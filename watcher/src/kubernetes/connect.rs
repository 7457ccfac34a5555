//! The way to an API server: credentials from a kubeconfig file or from the Pod's service account, and TLS.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{Request, Response};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::ServiceBuilder;

/// A server that does not take a connection in this time is tried again.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// A connection on which nothing is heard for this long, and then nothing for [`PROBES`] questions each
/// [`PROBE_INTERVAL`], is dead. Without it a watch over a lost network would be silent until the server's own end of it.
const QUIET: Duration = Duration::from_secs(15);
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
const PROBES: u32 = 3;

/// A way to an API server; clones share its connections.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    address: String,
}

/// Why there is no way to an API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("cannot use the kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// This is no Pod with a service account.
    #[error(
        "not inside a cluster: name a kubeconfig file with --kubeconfig, or run where a service account is mounted"
    )]
    NotInCluster(#[source] InClusterError),
    /// The credentials or certificates cannot be used.
    #[error("cannot use the credentials for {address}")]
    Credentials {
        /// The API server.
        address: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// The way that a kubeconfig file describes; `context` names another of its contexts than the current one. Must be
/// called within a tokio runtime, as [`connect_in_cluster`] must.
///
/// # Errors
///
/// The file or its credentials cannot be used. Whether the server is there shows later.
pub async fn connect(kubeconfig: &Path, context: Option<&str>) -> Result<Connection, ConnectError> {
    let unusable =
        |source| ConnectError::Kubeconfig { path: kubeconfig.to_owned(), source: Box::new(source) };
    let options = KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
    let file = Kubeconfig::read_from(kubeconfig).map_err(unusable)?;
    let config = Config::from_custom_kubeconfig(file, &options).await.map_err(unusable)?;
    Connection::new(config)
}

/// The way from within a Pod, by the service account that Kubernetes mounts into it.
///
/// # Errors
///
/// This is no such Pod, or its files cannot be used.
pub fn connect_in_cluster() -> Result<Connection, ConnectError> {
    Connection::new(Config::incluster().map_err(ConnectError::NotInCluster)?)
}

impl Connection {
    fn new(config: Config) -> Result<Self, ConnectError> {
        let address = config
            .cluster_url
            .authority()
            .map_or_else(|| config.cluster_url.to_string(), ToString::to_string);
        let unusable =
            |source| ConnectError::Credentials { address: address.clone(), source: Box::new(source) };
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT_WITHIN));
        http.set_keepalive(Some(QUIET));
        http.set_keepalive_interval(Some(PROBE_INTERVAL));
        http.set_keepalive_retries(Some(PROBES));
        let https = config.rustls_https_connector_with_connector(http).map_err(unusable)?;
        // kube's own stack would log each failure as an error and try again by itself; both are for the follower.
        let service = ServiceBuilder::new()
            .layer(config.base_uri_layer())
            .option_layer(config.auth_layer().map_err(unusable)?)
            .layer(config.extra_headers_layer().map_err(unusable)?)
            .map_err(tower::BoxError::from)
            .service(HttpClient::builder(TokioExecutor::new()).build(https));
        Ok(Self { client: Client::new(service, config.default_namespace.as_str()), address })
    }

    /// The address of the API server, such as `10.96.0.1:443`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub(super) async fn send(&self, request: Request<Body>) -> kube::Result<Response<Body>> {
        self.client.send(request).await
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}
