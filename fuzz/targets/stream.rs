//! Whatever bytes a client sends on a stream: the server answers in whole messages and ends the stream in order.
//!
//! The first byte chooses the method, the second how the body is cut into pieces. Frames, the decoder, the session and
//! the rendering of responses are all behind the one public door that a connection would use.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use libfuzzer_sys::fuzz_target;
use pilotage_protos::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};
use pilotage_server::protocol::{Collection, Reference, Resource, ResourceType, Revision, Snapshot};
use pilotage_server::{Ads, AdsConfig, Cache};
use prost::Message;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;

const METHODS: [&str; 4] = [
    "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters",
    "envoy.service.endpoint.v3.EndpointDiscoveryService/DeltaEndpoints",
];

static SERVER: LazyLock<(Runtime, Routes)> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let cache = Cache::new();
    let cluster =
        Resource::new("a", "content").with_references([Reference::new(ResourceType::Endpoint, "a")]);
    let state = Snapshot::new(Revision(1))
        .with(ResourceType::Cluster, Arc::new([cluster, Resource::new("b", "")].into_iter().collect()))
        .with(ResourceType::Endpoint, Arc::new(Collection::from_iter([Resource::new("a", "endpoints")])));
    cache.publish(&(), state);
    let (ads, _) = Ads::new(cache, |_| (), AdsConfig::default(), CancellationToken::new());
    (runtime, ads.routes())
});

fuzz_target!(|data: &[u8]| {
    let [method, cut, data @ ..] = data else { return };
    let method = usize::from(*method) % METHODS.len();
    let (runtime, routes) = &*SERVER;
    runtime.block_on(async {
        let size = usize::from(*cut).max(1) * 4;
        let pieces: Vec<_> = data
            .chunks(size)
            .map(|piece| Ok::<_, Status>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let body = http_body_util::StreamBody::new(Pieces(pieces.into_iter()));
        let request = http::Request::post(format!("http://fuzz/{}", METHODS[method]))
            .header("content-type", "application/grpc")
            .body(Body::new(body))
            .expect("a request");
        let Ok(response) = tonic::codegen::Service::call(&mut routes.clone(), request).await;
        let answered = response.into_body().collect().await.expect("a whole answer");
        let status = answered.trailers().cloned().expect("trailers");
        assert!(status.contains_key("grpc-status"), "{status:?}");
        let mut answers: &[u8] = &answered.to_bytes();
        while let [0, a, b, c, d, rest @ ..] = answers {
            let (message, rest) = rest.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
            if method % 2 == 0 {
                DiscoveryResponse::decode(message).expect("a response");
            } else {
                DeltaDiscoveryResponse::decode(message).expect("a response");
            }
            answers = rest;
        }
        assert!(answers.is_empty(), "an answer is cut");
    });
});

/// The pieces of a body, all of them there already.
struct Pieces(std::vec::IntoIter<Result<Frame<Bytes>, Status>>);

impl futures_core::Stream for Pieces {
    type Item = Result<Frame<Bytes>, Status>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Ready(self.0.next())
    }
}
