//! A client of the management server with nothing in between: what it is told, or how it is refused.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use hyper_util::rt::TokioIo;
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};
use pilotage_protos::envoy::protobuf::value::Kind;
use pilotage_protos::envoy::{Struct, Value};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::{PATIENCE, TlsClient};

const DELTA: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";
const CLUSTERS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// A stream that was opened: what it was told first, and what follows.
pub struct Told {
    /// The first response.
    pub first: DeltaDiscoveryResponse,
    /// Those after it.
    pub next: Streaming<DeltaDiscoveryResponse>,
    /// For what the client has to say further; dropping it ends the stream.
    pub requests: mpsc::Sender<DeltaDiscoveryRequest>,
}

/// Who asks, and how.
#[derive(Clone, Default)]
pub struct Asker {
    /// The node's id.
    pub id: String,
    /// The namespace that it claims.
    pub namespace: String,
    /// `sidecar`, `gateway` or `grpc`.
    pub kind: String,
    /// How it speaks TLS; none for plaintext.
    pub tls: Option<TlsClient>,
    /// Its token.
    pub token: Option<String>,
    /// The labels that it says it has.
    pub labels: Vec<(String, String)>,
}

impl Asker {
    /// A sidecar.
    pub fn sidecar(id: &str, namespace: &str) -> Self {
        Self { id: id.into(), namespace: namespace.into(), kind: "sidecar".into(), ..Self::default() }
    }

    /// The same over TLS.
    pub fn over(mut self, tls: &TlsClient) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// The same with a token.
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// The same with labels.
    pub fn labelled(mut self, labels: &[(&str, &str)]) -> Self {
        self.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self
    }

    /// Asks `server` for all listeners, and gives the names of those that it is told of.
    ///
    /// # Errors
    /// As of [`Asker::ask`].
    pub async fn listeners(&self, server: SocketAddr) -> Result<Vec<String>, Status> {
        let told = self.ask_for(LISTENERS, server).await?;
        Ok(told.first.resources.into_iter().map(|resource| resource.name).collect())
    }

    /// Asks `server` for all clusters, and waits for the first response.
    ///
    /// # Errors
    /// The server refuses it, or does not answer in time. A connection that cannot be made is `UNAVAILABLE`.
    pub async fn ask(&self, server: SocketAddr) -> Result<Told, Status> {
        self.ask_for(CLUSTERS, server).await
    }

    async fn ask_for(&self, type_url: &str, server: SocketAddr) -> Result<Told, Status> {
        let asked = async {
            let mut grpc = Grpc::new(
                self.channel(server).await.map_err(|error| Status::unavailable(format!("{error:#}")))?,
            )
            // What there is may be more than the 4 MiB that a client takes by itself.
            .max_decoding_message_size(64 << 20);
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let first = DeltaDiscoveryRequest {
                node: Some(self.node()),
                type_url: type_url.to_owned(),
                ..DeltaDiscoveryRequest::default()
            };
            let (requests, said) = mpsc::channel(16);
            requests.send(first).await.map_err(|_| Status::internal("nobody listens"))?;
            let mut request = Request::new(ReceiverStream::new(said));
            if let Some(token) = &self.token {
                let value = format!("Bearer {token}").parse();
                request
                    .metadata_mut()
                    .insert("authorization", value.map_err(|_| Status::internal("no header"))?);
            }
            let codec = ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
            let answer = grpc.streaming(request, PathAndQuery::from_static(DELTA), codec).await?;
            let mut next = answer.into_inner();
            let first = next.message().await?.ok_or_else(|| Status::internal("it ends without a word"))?;
            Ok(Told { first, next, requests })
        };
        timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")))
    }

    async fn channel(&self, server: SocketAddr) -> Result<Channel> {
        let origin = format!("http://{server}").parse::<Uri>()?;
        let endpoint = Endpoint::from(origin).connect_timeout(Duration::from_secs(5));
        let channel = match self.tls.clone() {
            None => endpoint.connect_with_connector(service_fn(move |_| async move {
                TcpStream::connect(server).await.map(TokioIo::new)
            })),
            Some(tls) => {
                let connector = service_fn(move |_| {
                    let tls = tls.clone();
                    async move { tls.open(server, &server.ip().to_string()).await.map(TokioIo::new) }
                });
                return endpoint.connect_with_connector(connector).await.context("no connection over TLS");
            }
        };
        channel.await.context("no connection")
    }

    fn node(&self) -> Node {
        let value = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = [("PILOTAGE_KIND", &self.kind), ("NAMESPACE", &self.namespace)];
        let mut fields: HashMap<_, _> = fields.map(|(key, text)| (key.to_owned(), value(text))).into();
        if !self.labels.is_empty() {
            let labels = self.labels.iter().map(|(key, text)| (key.clone(), value(text))).collect();
            fields
                .insert("LABELS".into(), Value { kind: Some(Kind::StructValue(Struct { fields: labels })) });
        }
        Node { id: self.id.clone(), metadata: Some(Struct { fields }), ..Node::default() }
    }
}
