//! The server under test, and a client that says exactly what it is told to.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pilotage_protos::discovery::{
    Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node,
    Status as Rejection,
};
use pilotage_server::protocol::{Collection, Name, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Cache, Events, Observer, ServeConfig, serve};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// Fails a test that waits for something that does not come. The bound is not what is tested: it only has to be longer
/// than a machine takes that builds other things meanwhile.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it did not happen in time")
}

pub(crate) struct Server {
    pub(crate) cache: Cache<String>,
    pub(crate) ads: Ads<String>,
    pub(crate) events: Events<String>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<usize>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// A server that groups nodes by their `cluster`.
    pub(crate) async fn start() -> Self {
        Self::start_with(AdsConfig::default()).await
    }

    pub(crate) async fn start_with(config: AdsConfig) -> Self {
        Self::start_on(config, ServeConfig::default()).await
    }

    pub(crate) async fn start_on(config: AdsConfig, connections: ServeConfig) -> Self {
        Self::start_with_all(|node: &Node| node.cluster.clone(), (), config, connections).await
    }

    /// A server with another function from node to group.
    pub(crate) async fn start_where(assign: impl Fn(&Node) -> String + Send + Sync + 'static) -> Self {
        Self::start_with_all(assign, (), AdsConfig::default(), ServeConfig::default()).await
    }

    pub(crate) async fn start_observed(observer: impl Observer<String>) -> Self {
        let assign = |node: &Node| node.cluster.clone();
        Self::start_with_all(assign, observer, AdsConfig::default(), ServeConfig::default()).await
    }

    async fn start_with_all(
        assign: impl Fn(&Node) -> String + Send + Sync + 'static,
        observer: impl Observer<String>,
        config: AdsConfig,
        connections: ServeConfig,
    ) -> Self {
        let (cache, shutdown) = (Cache::new(), CancellationToken::new());
        let (ads, events) = Ads::observed(cache.clone(), assign, observer, config, shutdown.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
        let address = listener.local_addr().expect("its address");
        let routes = ads.routes().add_service(ads.client_status());
        let task = tokio::spawn(serve(listener, routes, shutdown.clone(), connections));
        Self { cache, ads, events, shutdown, task, address }
    }

    pub(crate) async fn sotw(&self) -> Talk<DiscoveryRequest, DiscoveryResponse> {
        self.talk("StreamAggregatedResources").await
    }

    pub(crate) async fn delta(&self) -> Talk<DeltaDiscoveryRequest, DeltaDiscoveryResponse> {
        self.talk("DeltaAggregatedResources").await
    }

    pub(crate) async fn talk<Q, A>(&self, method: &str) -> Talk<Q, A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        self.talk_to("envoy.service.discovery.v3.AggregatedDiscoveryService", method).await
    }

    pub(crate) async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a valid address");
        endpoint.connect().await.expect("a connection")
    }

    pub(crate) async fn talk_to<Q, A>(&self, service: &str, method: &str) -> Talk<Q, A>
    where
        Q: prost::Message + 'static,
        A: prost::Message + Default + 'static,
    {
        Talk::on(self.channel().await, service, method)
    }
}

async fn open<Q, A>(
    channel: Channel,
    path: String,
    requests: mpsc::UnboundedReceiver<Q>,
) -> Result<Streaming<A>, Status>
where
    Q: prost::Message + 'static,
    A: prost::Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let path = PathAndQuery::from_maybe_shared(path).expect("a valid path");
    let requests = Request::new(UnboundedReceiverStream::new(requests));
    let response = grpc.streaming(requests, path, ProstCodec::<Q, A>::default()).await?;
    Ok(response.into_inner())
}

/// One stream.
pub(crate) struct Talk<Q, A> {
    requests: Option<mpsc::UnboundedSender<Q>>,
    opening: Option<JoinHandle<Result<Streaming<A>, Status>>>,
    responses: Option<Streaming<A>>,
}

impl<Q: prost::Message + 'static, A: prost::Message + Default + 'static> Talk<Q, A> {
    /// A stream on a connection that others may share.
    pub(crate) fn on(channel: Channel, service: &str, method: &str) -> Self {
        let (requests, receiver) = mpsc::unbounded_channel();
        let path = format!("/{service}/{method}");
        let opening = tokio::spawn(open(channel, path, receiver));
        Self { requests: Some(requests), opening: Some(opening), responses: None }
    }

    pub(crate) fn say(&self, request: Q) {
        let requests = self.requests.as_ref().expect("an open stream");
        requests.send(request).expect("a stream that takes requests");
    }

    /// Ends the client's half of the stream.
    pub(crate) fn hang_up(&mut self) {
        self.requests = None;
    }

    /// The next response; `None` at a regular end.
    pub(crate) async fn hear(&mut self) -> Result<Option<A>, Status> {
        if let Some(opening) = self.opening.take() {
            self.responses = Some(soon(opening).await.expect("a task that does not panic")?);
        }
        let responses = self.responses.as_mut().expect("an open stream");
        soon(responses.message()).await
    }

    pub(crate) async fn response(&mut self) -> A {
        self.hear().await.expect("a stream without an error").expect("a response")
    }
}

pub(crate) fn node(id: &str, group: &str) -> Option<Node> {
    Some(Node { id: id.to_owned(), cluster: group.to_owned(), ..Node::default() })
}

pub(crate) fn error(message: &str) -> Option<Rejection> {
    Some(Rejection { code: 13, message: message.to_owned(), details: Vec::new() })
}

pub(crate) fn resource(name: &str, content: &str) -> Resource {
    Resource::new(name, content.as_bytes().to_vec())
}

pub(crate) fn snapshot(revision: u64, resource_type: ResourceType, resources: &[(&str, &str)]) -> Snapshot {
    change(&Snapshot::default(), revision, resource_type, resources)
}

/// A successor in which resources are added or replaced; empty content removes one.
pub(crate) fn change(
    snapshot: &Snapshot,
    revision: u64,
    resource_type: ResourceType,
    resources: &[(&str, &str)],
) -> Snapshot {
    let (removals, upserts): (Vec<_>, Vec<_>) = resources.iter().partition(|(_, content)| content.is_empty());
    let former = snapshot.collection(&resource_type).cloned().unwrap_or_default();
    let collection: Collection = former.with_changes(
        upserts.into_iter().map(|(name, content)| resource(name, content)),
        removals.into_iter().map(|(name, _)| Name::from(name)),
    );
    snapshot.clone().at(Revision(revision)).with(resource_type, Arc::new(collection))
}

/// `name=content` of bodies, which in these tests are text.
pub(crate) fn bodies<'a>(resources: impl IntoIterator<Item = &'a Any>) -> Vec<String> {
    resources.into_iter().map(|any| String::from_utf8_lossy(&any.value).into_owned()).collect()
}
