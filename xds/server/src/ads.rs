//! The aggregated discovery service, in SotW and delta, as a tonic service.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderValue;
use pilotage_protocol::{ResourceType, SessionConfig};
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use pilotage_protos::envoy::status::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::server::TcpConnectInfo;

use crate::auth::{Authenticator, Complaints, Credentials, PeerCertificates};
use crate::client_status::ClientStatus;
use crate::event::Queue;
use crate::families;
use crate::frames::Requests;
use crate::interner::Interner;
use crate::message::DiscoveryMessage;
use crate::outflow::outflow;
use crate::serve::{Retirement, Spawner};
use crate::slabs::Slabs;
use crate::stream::{self, Caller, UnknownTypes};
use crate::{Cache, Events, GroupKey, Observer, Streams};

/// How the service behaves.
///
/// ```
/// use std::time::Duration;
/// use pilotage_server::AdsConfig;
///
/// // Every rejected content is tried on every client, and a client has 5 s to say who it is.
/// let config =
///     AdsConfig { spare_after: None, first_message_timeout: Duration::from_secs(5), ..AdsConfig::default() };
/// assert_eq!(config.max_request_bytes, 16 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct AdsConfig {
    /// What each stream's session goes by.
    pub session: SessionConfig,
    /// The greatest request that is decoded, in bytes; 16 MiB. A client that subscribes to 100 000 names sends about
    /// 10 MiB.
    pub max_request_bytes: usize,
    /// The greatest node that is accepted, in bytes; 1 MiB (H9). Envoy's own is about 100 KiB, most of it the list of
    /// its extensions.
    pub max_node_bytes: usize,
    /// How long a client may take to send its first request (H59); 30 s.
    pub first_message_timeout: Duration,
    /// How many streams are taken in at a time, from the first request to the first response; the others wait, so that
    /// after a restart their requests are not all in memory at once (H56); 64.
    pub admitted_at_once: usize,
    /// After so many distinct nodes of one client kind and version have rejected a content, the others of their group
    /// are spared it; 3. `None` always tries it on everyone.
    pub spare_after: Option<NonZeroUsize>,
    /// What clients see as `control_plane.identifier` (R7); `pilotage`.
    pub identifier: String,
    /// Decides whose streams are served; `None` serves everyone who reaches the server.
    pub authenticator: Option<Arc<dyn Authenticator>>,
}

impl Default for AdsConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            max_request_bytes: 16 << 20,
            max_node_bytes: 1 << 20,
            first_message_timeout: Duration::from_secs(30),
            admitted_at_once: 64,
            spare_after: NonZeroUsize::new(3),
            identifier: "pilotage".to_owned(),
            authenticator: None,
        }
    }
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`: serves what is in a [`Cache`].
///
/// A stream is refused as [`AdsConfig::authenticator`] says; with `INVALID_ARGUMENT` if its first request has no node with an id, if the id changes later,
/// or if a request has no type URL, and with `RESOURCE_EXHAUSTED` beyond a limit of [`AdsConfig`]. It ends with
/// `UNAVAILABLE` when the server shuts down.
///
/// It is a tower service like any that tonic generates: an interceptor can go before it, and it can be mounted beside
/// other services.
///
/// ```
/// use pilotage_server::{Ads, AdsConfig, Cache};
/// use tokio_util::sync::CancellationToken;
/// use tonic::service::{Routes, interceptor::InterceptedService};
/// use tonic::{Request, Status};
///
/// fn authenticated(request: Request<()>) -> Result<Request<()>, Status> {
///     match request.metadata().get("authorization") {
///         Some(token) if token == "Bearer secret" => Ok(request),
///         _ => Err(Status::unauthenticated("no token, or another one")),
///     }
/// }
///
/// let (cache, shutdown) = (Cache::<String>::new(), CancellationToken::new());
/// let assign = |node: &pilotage_server::Node| node.cluster.clone();
/// let (ads, events) = Ads::new(cache, assign, AdsConfig::default(), shutdown);
/// let routes = Routes::new(InterceptedService::new(ads, authenticated));
/// ```
pub struct Ads<K> {
    shared: Arc<Shared<K>>,
}

/// What all streams of a service share.
pub(crate) struct Shared<K> {
    pub(crate) cache: Cache<K>,
    pub(crate) streams: Streams<K>,
    pub(crate) queue: Arc<Queue<K>>,
    pub(crate) assign: Box<dyn Fn(&Node) -> K + Send + Sync>,
    pub(crate) config: AdsConfig,
    pub(crate) shutdown: CancellationToken,
    pub(crate) unknown_types: UnknownTypes,
    pub(crate) observer: Box<dyn Observer<K>>,
    pub(crate) slabs: Slabs,
    pub(crate) interner: Interner,
    pub(crate) admission: Semaphore,
    pub(crate) complaints: Complaints,
}

impl<K: GroupKey> Ads<K> {
    /// A service on this cache, and what its streams report.
    ///
    /// `assign` says to which group a node belongs. All streams end when `shutdown` is cancelled.
    ///
    /// ```
    /// use pilotage_server::{Ads, AdsConfig, Cache};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// // Envoys with `--service-cluster edge` are a group, and so on.
    /// let assign = |node: &pilotage_server::Node| node.cluster.clone();
    /// let (ads, events) = Ads::new(Cache::new(), assign, AdsConfig::default(), CancellationToken::new());
    /// ```
    pub fn new(
        cache: Cache<K>,
        assign: impl Fn(&Node) -> K + Send + Sync + 'static,
        config: AdsConfig,
        shutdown: CancellationToken,
    ) -> (Self, Events<K>) {
        Self::observed(cache, assign, (), config, shutdown)
    }

    /// The same, with an observer of everything that happens on the streams.
    ///
    /// ```
    /// use pilotage_server::{Ads, AdsConfig, Cache, Observer, Outcome};
    /// use tokio_util::sync::CancellationToken;
    ///
    /// struct Audit;
    ///
    /// impl Observer<()> for Audit {
    ///     fn answered(&self, outcome: &Outcome<()>) {
    ///         println!("{} on {}: {:?}", outcome.node, outcome.resource_type, outcome.answer);
    ///     }
    /// }
    ///
    /// let everyone = |_: &pilotage_server::Node| ();
    /// let (ads, _) = Ads::observed(Cache::new(), everyone, Audit, AdsConfig::default(), CancellationToken::new());
    /// ```
    pub fn observed(
        cache: Cache<K>,
        assign: impl Fn(&Node) -> K + Send + Sync + 'static,
        observer: impl Observer<K>,
        config: AdsConfig,
        shutdown: CancellationToken,
    ) -> (Self, Events<K>) {
        let (queue, events) = Queue::new();
        let streams = Streams::new(cache.progress.clone());
        let shared = Shared {
            cache,
            streams,
            queue,
            assign: Box::new(assign),
            observer: Box::new(observer),
            shutdown,
            unknown_types: UnknownTypes::default(),
            slabs: Slabs::new(&config.identifier),
            interner: Interner::default(),
            admission: Semaphore::new(config.admitted_at_once.clamp(1, Semaphore::MAX_PERMITS)),
            complaints: Complaints::default(),
            config,
        };
        (Self { shared: Arc::new(shared) }, events)
    }

    /// The open streams.
    ///
    /// ```
    /// # use pilotage_server::{Ads, AdsConfig, Cache};
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// # let (ads, _) = Ads::new(Cache::new(), |_: &pilotage_server::Node| (), AdsConfig::default(), token);
    /// let streams = ads.streams().clone();
    /// assert!(streams.is_empty());
    /// ```
    pub fn streams(&self) -> &Streams<K> {
        &self.shared.streams
    }

    /// How often a type was first asked for on a stream that neither the type table nor the snapshot knows.
    ///
    /// ```
    /// # use pilotage_server::{Ads, AdsConfig, Cache};
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// # let (ads, _) = Ads::new(Cache::new(), |_: &pilotage_server::Node| (), AdsConfig::default(), token);
    /// println!("unknown_type_requests_total {}", ads.unknown_type_requests());
    /// ```
    pub fn unknown_type_requests(&self) -> u64 {
        self.shared.unknown_types.count()
    }

    /// Every discovery service in one router: the aggregated one, and those of single types.
    ///
    /// Mount it with [`crate::serve`], or add it to a router of your own.
    ///
    /// ```
    /// # use pilotage_server::{Ads, AdsConfig, Cache};
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// # let (ads, _) = Ads::new(Cache::new(), |_: &pilotage_server::Node| (), AdsConfig::default(), token);
    /// // In a tonic server of one's own, beside other services.
    /// let server = tonic::transport::Server::builder().add_routes(ads.routes());
    /// ```
    pub fn routes(&self) -> Routes {
        families::add_all(Routes::new(self.clone()), &self.shared)
    }

    /// The client status discovery service, which tells what every client was sent, accepted and rejected.
    ///
    /// It shows each client the configuration of all others, secrets aside, and so is not part of
    /// [`Ads::routes`]: mount it where only operators reach it.
    ///
    /// ```
    /// # use pilotage_server::{Ads, AdsConfig, Cache};
    /// # let token = tokio_util::sync::CancellationToken::new();
    /// # let (ads, _) = Ads::new(Cache::new(), |_: &pilotage_server::Node| (), AdsConfig::default(), token);
    /// // Served where only operators reach it.
    /// let operators = tonic::service::Routes::new(ads.client_status());
    /// ```
    pub fn client_status(&self) -> ClientStatusDiscoveryServiceServer<impl ClientStatusDiscoveryService> {
        ClientStatusDiscoveryServiceServer::new(ClientStatus::new(self.streams().clone()))
    }
}

/// Opens a stream of one dialect, for all types or for one.
pub(crate) fn open<K: GroupKey, M: DiscoveryMessage>(
    shared: &Arc<Shared<K>>,
    request: http::Request<Body>,
    only: Option<ResourceType>,
) -> http::Response<Body> {
    let extensions = request.extensions();
    let peer = extensions.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
    let retirement = extensions.get::<Retirement>().map(|retirement| retirement.0.clone());
    let spawner = extensions.get::<Spawner>().cloned();
    let credentials = Credentials::of(peer, extensions.get::<PeerCertificates>(), request.headers());
    let caller = Caller { credentials, only, retirement };
    let requests = Requests::new(request.into_body(), shared.config.max_request_bytes);
    let (outlet, outflow) = outflow();
    let stream = stream::serve::<K, M>(shared.clone(), caller, requests, outlet);
    match spawner {
        Some(spawner) => spawner.spawn(stream),
        // The connection is not one of ours.
        None => drop(tokio::spawn(stream)),
    }
    let mut response = http::Response::new(Body::new(outflow));
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    response
}

impl<K> Clone for Ads<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K> NamedService for Ads<K> {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl<K: GroupKey> Service<http::Request<Body>> for Ads<K> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        ready(Ok(match request.uri().path().rsplit('/').next() {
            Some("StreamAggregatedResources") => open::<K, DiscoveryRequest>(&self.shared, request, None),
            Some("DeltaAggregatedResources") => open::<K, DeltaDiscoveryRequest>(&self.shared, request, None),
            _ => no_such_method(),
        }))
    }
}

pub(crate) fn no_such_method() -> http::Response<Body> {
    Status::unimplemented("there is no such method").into_http()
}
