//! A running kube-apiserver over a running etcd, with RBAC on.
//!
//! Both end when the value that holds them is dropped. The API server can be killed and started again at its address,
//! over the same store.

use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use pilotage::tools::{Process, ReservedPort};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tokio::sync::Mutex;

use super::identity::kubeconfig;
use super::signing::{CHECKING_KEY, ISSUER, SIGNING_KEY, signed, write_signing_keys};
use super::{Assets, Identity, OUR_CRDS, create_crds, istio_crds};

/// How long a start may take; it takes about 3 s where the machine is not loaded.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// How a control plane is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// Arguments of kube-apiserver beyond those that every test needs.
    pub api_server: &'a [&'a str],
}

/// An API server and its store. Dropping it kills both.
#[derive(Debug)]
pub struct ControlPlane {
    api_server: Option<Process>,
    _store: Process,
    assets: Assets,
    arguments: Vec<String>,
    starts: u32,
    port: ReservedPort,
    store_port: ReservedPort,
    _peer_port: ReservedPort,
    folder: TempDir,
}

impl ControlPlane {
    /// The control plane that the tests of this process share while any of them holds it. It has Istio's definitions of
    /// the routing kinds, and ours of the rest. Nobody may stop it, and each test keeps to a namespace of its own.
    ///
    /// # Errors
    /// As of [`ControlPlane::start`].
    pub async fn shared() -> Result<Arc<Self>> {
        static SHARED: Mutex<Weak<ControlPlane>> = Mutex::const_new(Weak::new());
        let mut shared = SHARED.lock().await;
        if let Some(running) = shared.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(Self::start(Options::default()).await?);
        let client = started.client(Identity::Administrator).await?;
        create_crds(&client, &istio_crds().await?).await?;
        create_crds(&client, OUR_CRDS).await?;
        *shared = Arc::downgrade(&started);
        Ok(started)
    }

    /// Starts a control plane and waits until it is ready.
    ///
    /// # Errors
    /// There are no programs, or they do not become ready in time; the error has the end of their log.
    pub async fn start(options: Options<'_>) -> Result<Self> {
        let assets = Assets::find().await?;
        let folder = tempfile::Builder::new().prefix("pilotage-kubernetes-").tempdir()?;
        let (port, store_port, peer_port) =
            (ReservedPort::new()?, ReservedPort::new()?, ReservedPort::new()?);
        let store = start_store(&assets, folder.path(), &store_port, &peer_port)?;
        write_signing_keys(folder.path())?;
        fs::write(folder.path().join("tokens.csv"), Identity::token_file())?;
        let mut control_plane = Self {
            api_server: None,
            _store: store,
            arguments: arguments(folder.path(), &port, &store_port, options.api_server),
            assets,
            starts: 0,
            port,
            store_port,
            _peer_port: peer_port,
            folder,
        };
        control_plane.start_api_server().await?;
        Ok(control_plane)
    }

    /// Starts the API server, after it was killed, and waits until it is ready.
    ///
    /// # Errors
    /// It is running, or does not become ready in time.
    pub async fn start_api_server(&mut self) -> Result<()> {
        ensure!(self.api_server.is_none(), "the API server is running");
        self.starts += 1;
        let log = self.folder.path().join(format!("kube-apiserver-{}.log", self.starts));
        let mut command = Command::new(&self.assets.api_server);
        command.args(&self.arguments);
        let mut process = Process::start("kube-apiserver", command, &log)?;
        let ready = || async {
            // The certificate is made during the first start.
            let client = self.client(Identity::Administrator).await.ok()?;
            let request = http::Request::get("/readyz").body(Vec::new()).ok()?;
            client.request_text(request).await.ok()?;
            super::client::has_default_service(&client).await.then_some(())
        };
        process.wait_for("readiness", READY_WITHIN, ready).await?;
        self.api_server = Some(process);
        Ok(())
    }

    /// Kills the API server, as a crash would.
    pub async fn kill_api_server(&mut self) {
        if let Some(process) = self.api_server.take() {
            process.kill().await;
        }
    }

    /// Removes the history of the store up to now, as etcd does by itself after some minutes.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn compact(&self) -> Result<()> {
        let store = format!("http://{}", self.store_port.address());
        let all = serde_json::json!({"key": "AA==", "range_end": "AA==", "count_only": true});
        let answer = super::client::post(&store, "/v3/kv/range", &all).await?;
        let revision = answer["header"]["revision"].as_str().context("etcd tells no revision")?;
        let compaction = serde_json::json!({"revision": revision, "physical": true});
        super::client::post(&store, "/v3/kv/compaction", &compaction).await?;
        Ok(())
    }

    /// A client that is `identity`.
    ///
    /// # Errors
    /// The API server has not been started yet.
    pub async fn client(&self, identity: Identity) -> Result<Client> {
        let text = self.kubeconfig_text(self.address(), &identity.token());
        let config = Kubeconfig::from_yaml(&text)?;
        let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Client::try_from(config)?)
    }

    /// A kubeconfig file for `identity`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig(&self, identity: Identity) -> Result<PathBuf> {
        self.kubeconfig_at(identity, self.address())
    }

    /// A kubeconfig file for `identity`, with the API server at another address, such as that of a [`Relay`].
    ///
    /// # Errors
    /// It cannot be written.
    ///
    /// [`Relay`]: crate::Relay
    pub fn kubeconfig_at(&self, identity: Identity, address: SocketAddr) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{}-{}.kubeconfig", identity.user(), address.port()));
        fs::write(&path, self.kubeconfig_text(address, &identity.token()))?;
        Ok(path)
    }

    /// A kubeconfig file for whoever a token says.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig_with(&self, token: &str) -> Result<PathBuf> {
        let path = self.folder.path().join("token.kubeconfig");
        fs::write(&path, self.kubeconfig_text(self.address(), token))?;
        Ok(path)
    }

    fn kubeconfig_text(&self, address: SocketAddr, token: &str) -> String {
        let authority = self.folder.path().join("certificates/apiserver.crt");
        kubeconfig(&format!("https://{address}"), &authority.to_string_lossy(), token)
    }

    /// A service-account token with these claims, signed as the API server signs them, which itself gives out none for less
    /// than ten minutes.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn signed_token(&self, claims: &Value) -> Result<String> {
        signed(self.folder.path(), claims)
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }
}

fn start_store(
    assets: &Assets,
    folder: &Path,
    port: &ReservedPort,
    peer_port: &ReservedPort,
) -> Result<Process> {
    let (client, peer) = (format!("http://{}", port.address()), format!("http://{}", peer_port.address()));
    let mut command = Command::new(&assets.store);
    command
        .arg("--data-dir")
        .arg(folder.join("store"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        // What a test stores need not survive the machine.
        .args(["--unsafe-no-fsync", "--log-level", "warn"]);
    Ok(Process::start("etcd", command, &folder.join("etcd.log"))?)
}

fn arguments(folder: &Path, port: &ReservedPort, store_port: &ReservedPort, more: &[&str]) -> Vec<String> {
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let mut arguments = vec![
        format!("--etcd-servers=http://{}", store_port.address()),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={}", port.number()),
        format!("--cert-dir={}", file("certificates")),
        format!("--token-auth-file={}", file("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/12".to_owned(),
        format!("--service-account-issuer={ISSUER}"),
        format!("--service-account-key-file={}", file(CHECKING_KEY)),
        format!("--service-account-signing-key-file={}", file(SIGNING_KEY)),
        // There is no controller that would make the ServiceAccounts that it asks for.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
    ];
    arguments.extend(more.iter().map(|&argument| argument.to_owned()));
    arguments
}

/// An address of this machine that an API server takes for an endpoint's: it refuses loopback.
///
/// # Errors
/// There is none.
pub fn own_address() -> Result<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    // Nothing is sent: connecting only chooses the interface.
    socket.connect("192.0.2.1:9").context("this machine has no address but loopback")?;
    Ok(socket.local_addr()?.ip())
}
