//! The aggregated discovery service, in SotW and delta, as a tonic service.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use pilotage_protocol::{Response, SessionConfig};
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Request, Status, Streaming};

use crate::codec::{DiscoveryCodec, Renderer};
use crate::event::Queue;
use crate::message::DiscoveryMessage;
use crate::stream::{self, UnknownTypes};
use crate::{Cache, Events, GroupKey, Streams};

/// Responses that are rendered ahead of the transport, for one stream.
const RESPONSES_AHEAD: usize = 2;

/// How the service behaves.
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
    /// What clients see as `control_plane.identifier` (R7); `pilotage`.
    pub identifier: String,
}

impl Default for AdsConfig {
    fn default() -> Self {
        Self {
            session: SessionConfig::default(),
            max_request_bytes: 16 << 20,
            max_node_bytes: 1 << 20,
            identifier: "pilotage".to_owned(),
        }
    }
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`: serves what is in a [`Cache`].
///
/// A stream is refused with `INVALID_ARGUMENT` if its first request has no node with an id, if the id changes later,
/// or if a request has no type URL, and with `RESOURCE_EXHAUSTED` beyond a limit of [`AdsConfig`]. It ends with `UNAVAILABLE` when the server shuts down.
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
    identifier: Arc<str>,
}

impl<K: GroupKey> Ads<K> {
    /// A service on this cache, and what its streams report.
    ///
    /// `assign` says to which group a node belongs. All streams end when `shutdown` is cancelled.
    pub fn new(
        cache: Cache<K>,
        assign: impl Fn(&Node) -> K + Send + Sync + 'static,
        config: AdsConfig,
        shutdown: CancellationToken,
    ) -> (Self, Events<K>) {
        let (queue, events) = Queue::new();
        let streams = Streams::new(cache.progress.clone());
        let identifier = config.identifier.as_str().into();
        let (assign, unknown_types) = (Box::new(assign), UnknownTypes::default());
        let shared = Shared { cache, streams, queue, assign, config, shutdown, unknown_types, identifier };
        (Self { shared: Arc::new(shared) }, events)
    }

    /// The open streams.
    pub fn streams(&self) -> &Streams<K> {
        &self.shared.streams
    }

    /// How often a type was first asked for on a stream that neither the type table nor the snapshot knows.
    pub fn unknown_type_requests(&self) -> u64 {
        self.shared.unknown_types.count()
    }

    fn answer<M: DiscoveryMessage>(
        &self,
        request: http::Request<Body>,
    ) -> BoxFuture<http::Response<Body>, Infallible> {
        let shared = self.shared.clone();
        Box::pin(async move {
            let renderer = Renderer { dialect: M::DIALECT, identifier: shared.identifier.clone() };
            let mut grpc = Grpc::new(DiscoveryCodec::<M>::new(renderer))
                .max_decoding_message_size(shared.config.max_request_bytes);
            Ok(grpc.streaming(Method { shared }, request).await)
        })
    }
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
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path().rsplit('/').next() {
            Some("StreamAggregatedResources") => self.answer::<DiscoveryRequest>(request),
            Some("DeltaAggregatedResources") => self.answer::<DeltaDiscoveryRequest>(request),
            _ => Box::pin(async { Ok(Status::unimplemented("there is no such method").into_http()) }),
        }
    }
}

struct Method<K> {
    shared: Arc<Shared<K>>,
}

impl<K: GroupKey, M: DiscoveryMessage> StreamingService<M> for Method<K> {
    type Response = Response;
    type ResponseStream = ReceiverStream<Result<Response, Status>>;
    type Future = BoxFuture<tonic::Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<M>>) -> Self::Future {
        let shared = self.shared.clone();
        Box::pin(async move {
            let peer = request.remote_addr();
            let (sender, receiver) = mpsc::channel(RESPONSES_AHEAD);
            tokio::spawn(stream::serve(shared, peer, request.into_inner(), sender));
            Ok(tonic::Response::new(ReceiverStream::new(receiver)))
        })
    }
}
