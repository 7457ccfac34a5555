//! TLS: who may connect, what the services learn of a client, and certificates that are renewed.

use std::sync::{Arc, Mutex};

use pilotage_protos::discovery::DiscoveryRequest;
use pilotage_server::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use pilotage_server::rustls::{self, ClientConfig, RootCertStore, ServerConfig};
use pilotage_server::{Ads, AdsConfig, Cache, Node, PeerCertificates, ServeConfig, serve_tls, tls_config};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, interceptor::InterceptedService};
use tonic::{Request, Status};

use crate::client::{node, snapshot, soon};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn issued(authority: &Authority) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
}

fn trusting(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).expect("a certificate");
    roots
}

/// A client that trusts one authority, and shows a certificate of another.
fn client(trusted: &Authority, identity: Option<&Authority>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(trusting(trusted));
    let mut config = match identity.map(issued) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("an identity"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

struct Server {
    listener: std::net::SocketAddr,
    renew: watch::Sender<Arc<ServerConfig>>,
    /// The chains of the clients whose streams were opened.
    seen: Arc<Mutex<Vec<Option<usize>>>>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<usize>,
}

async fn start(config: ServerConfig) -> Server {
    let (cache, shutdown) = (Cache::new(), CancellationToken::new());
    cache.publish(
        &"g".to_owned(),
        snapshot(1, pilotage_server::protocol::ResourceType::Cluster, &[("a", "one")]),
    );
    let assign = |node: &Node| node.cluster.clone();
    let (ads, _events) = Ads::new(cache, assign, AdsConfig::default(), shutdown.clone());
    let seen: Arc<Mutex<Vec<Option<usize>>>> = Arc::default();
    let record = seen.clone();
    let look = move |request: Request<()>| -> Result<Request<()>, Status> {
        let chain = request.extensions().get::<PeerCertificates>().map(|peer| peer.0.len());
        record.lock().expect("nobody panics").push(chain);
        Ok(request)
    };
    let routes = Routes::new(InterceptedService::new(ads, look));
    let (renew, current) = watch::channel(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let address = listener.local_addr().expect("its address");
    let tls = move || current.borrow().clone();
    let task = tokio::spawn(serve_tls(listener, tls, routes, shutdown.clone(), ServeConfig::default()));
    Server { listener: address, renew, seen, shutdown, task }
}

async fn connect(server: &Server, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let socket = TcpStream::connect(server.listener).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(config).connect(name, socket).await
}

/// Opens a stream and returns the first bytes of the first response.
async fn first_response(stream: TlsStream<TcpStream>) -> Result<usize, h2::Error> {
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::spawn(connection);
    let path = "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
    let request =
        http::Request::post(format!("https://localhost/{path}")).header("content-type", "application/grpc");
    let mut sender = sender.ready().await?;
    let (response, mut requests) = sender.send_request(request.body(()).expect("a request"), false)?;
    let type_url = pilotage_server::protocol::ResourceType::Cluster.type_url().to_owned();
    let ask =
        DiscoveryRequest { node: node("n", "g"), type_url, ..DiscoveryRequest::default() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&(ask.len() as u32).to_be_bytes());
    frame.extend_from_slice(&ask);
    requests.send_data(frame.into(), false)?;
    let mut body = response.await?.into_body();
    Ok(body.data().await.expect("a response")?.len())
}

#[tokio::test]
async fn a_client_is_served_and_known_by_its_certificate() {
    let (ours, theirs) = (authority(), authority());
    let (chain, key) = issued(&ours);
    let server = start(tls_config(chain, key, Some(trusting(&theirs))).expect("a configuration")).await;
    let stream = soon(connect(&server, client(&ours, Some(&theirs)))).await.expect("a handshake");
    assert!(soon(first_response(stream)).await.expect("a response") > 0);
    assert_eq!(*server.seen.lock().expect("nobody panics"), [Some(1)]);
    // Without a certificate, or with one of somebody else, a client learns at its first word that it is refused.
    for identity in [None, Some(&ours)] {
        let refused = match soon(connect(&server, client(&ours, identity))).await {
            Ok(stream) => soon(first_response(stream)).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    assert_eq!(server.seen.lock().expect("nobody panics").len(), 1);
    server.shutdown.cancel();
    assert_eq!(soon(server.task).await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_renewed_certificate_counts_for_new_connections() {
    let (old, new) = (authority(), authority());
    let config = |authority: &Authority| {
        let (chain, key) = issued(authority);
        tls_config(chain, key, None).expect("a configuration")
    };
    let server = start(config(&old)).await;
    let kept = soon(connect(&server, client(&old, None))).await.expect("a handshake");
    server.renew.send(Arc::new(config(&new))).expect("a server");
    assert!(soon(connect(&server, client(&old, None))).await.is_err());
    let renewed = soon(connect(&server, client(&new, None))).await.expect("a handshake");
    for stream in [kept, renewed] {
        assert!(soon(first_response(stream)).await.expect("a response") > 0);
    }
    // No certificate was asked for.
    assert_eq!(*server.seen.lock().expect("nobody panics"), [None, None]);
}

#[tokio::test]
async fn what_belongs_to_different_keys_is_no_identity() {
    let ours = authority();
    let ((chain, _), (_, key)) = (issued(&ours), issued(&ours));
    let error = tls_config(chain, key, None).expect_err("a refusal");
    assert!(error.to_string().contains("certificate and key"), "{error}");
    let (chain, key) = issued(&ours);
    let error = tls_config(chain, key, Some(RootCertStore::empty())).expect_err("a refusal");
    assert!(error.to_string().contains("authorities"), "{error}");
}
