//! A gRPC client with exactly one connection, which is the case that balancing by connection gets wrong.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Uri;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codegen::{Body as HttpBody, StdError};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use tower::service_fn;

use super::echo::{CALL, CONVERSE, CallRequest, CallResponse};

/// A call that takes longer has failed. It is kept by the client alone and not sent as `grpc-timeout`, so that it
/// changes nothing of what a proxy does.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of `pilotage.demo.Echo`. Clones share its channel, which is one connection unless it is a channel that does
/// its own balancing ([`Client::over`]).
#[derive(Clone, Debug)]
pub struct Client<C = Channel> {
    grpc: Grpc<C>,
    connections: Arc<AtomicU64>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The server that answered.
    pub server_id: String,
    /// Its version.
    pub version: String,
    /// The request's headers as the server saw them.
    pub seen: BTreeMap<String, String>,
    /// The answer's headers, a proxy's included.
    pub headers: MetadataMap,
}

/// Why a client cannot be made.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The authority is none.
    #[error("`{authority}` is not an authority such as `echo.demo.svc.cluster.local:80`")]
    Authority {
        /// What was given.
        authority: String,
        /// Why.
        source: http::uri::InvalidUri,
    },
    /// Nothing that speaks HTTP/2 listens there.
    #[error("cannot connect to {target}")]
    Connect {
        /// Where.
        target: SocketAddr,
        /// Why.
        source: tonic::transport::Error,
    },
}

impl Client {
    /// Connects to `target`, and calls what is known there as `authority` (a host, with a port or without).
    pub async fn connect(target: SocketAddr, authority: &str) -> Result<Self, ConnectError> {
        Self::connect_with(target, authority, move || async move {
            let socket = TcpStream::connect(target).await?;
            socket.set_nodelay(true)?;
            Ok(socket)
        })
        .await
    }

    /// Connects to `target` by what `open` gives, such as a connection of TLS.
    pub async fn connect_with<S, F>(
        target: SocketAddr,
        authority: &str,
        open: impl Fn() -> F + Clone + Send + Sync + 'static,
    ) -> Result<Self, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = std::io::Result<S>> + Send,
    {
        let origin: Uri = format!("http://{authority}")
            .parse()
            .map_err(|source| ConnectError::Authority { authority: authority.into(), source })?;
        let connections = Arc::new(AtomicU64::new(0));
        let counter = connections.clone();
        let connector = service_fn(move |_: Uri| {
            let (counter, open) = (counter.clone(), open.clone());
            async move {
                let stream = open().await?;
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        // The connector above knows the way; what the endpoint is made of becomes `:authority`.
        let channel = Endpoint::from(origin)
            .timeout(CALL_TIMEOUT)
            .connect_with_connector(connector)
            .await
            .map_err(|source| ConnectError::Connect { target, source })?;
        Ok(Self { grpc: Grpc::new(channel), connections })
    }

    /// The connections that were opened since the start: one, unless one was lost.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl<C> Client<C>
where
    C: GrpcService<Body, ResponseBody: HttpBody<Error: Into<StdError>> + Send + 'static>,
    C::Error: Into<StdError>,
    <C::ResponseBody as HttpBody>::Data: Send,
{
    /// A client of a channel that knows by itself where calls go and how long they may take.
    pub fn over(channel: C) -> Self {
        Self { grpc: Grpc::new(channel), connections: Arc::default() }
    }

    /// Makes one call with `headers`, whose names and values must be valid ones.
    pub async fn call(&mut self, headers: &[(&str, &str)]) -> Result<Reply, Status> {
        match self.call_once(headers).await {
            Err(status) if was_not_sent(&status) => self.call_once(headers).await,
            answered => answered,
        }
    }

    async fn call_once(&mut self, headers: &[(&str, &str)]) -> Result<Reply, Status> {
        let mut request = Request::new(CallRequest { text: "hello".into() });
        for (name, value) in headers {
            let invalid = || Status::invalid_argument(format!("`{name}: {value}` is not a header"));
            let key: MetadataKey<Ascii> = name.parse().map_err(|_| invalid())?;
            let value: MetadataValue<Ascii> = value.parse().map_err(|_| invalid())?;
            request.metadata_mut().append(key, value);
        }
        self.grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::<CallRequest, CallResponse>::default();
        let path = PathAndQuery::from_static(CALL);
        let (headers, CallResponse { server_id, version, headers: seen }, _) =
            self.grpc.unary(request, path, codec).await?.into_parts();
        Ok(Reply { server_id, version, seen, headers })
    }

    /// Sends so many messages on one stream, with a pause between them, and waits for the answer to each.
    ///
    /// # Errors
    /// As the stream ended, or `DATA_LOSS` if it ended well before every message was answered.
    pub async fn converse(&mut self, messages: usize, pause: Duration) -> Result<(), Status> {
        match self.converse_once(messages, pause).await {
            Err(status) if was_not_sent(&status) => self.converse_once(messages, pause).await,
            answered => answered,
        }
    }

    async fn converse_once(&mut self, messages: usize, pause: Duration) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let said = IntervalStream::new(interval(pause)).take(messages);
        let request = Request::new(said.map(|_| CallRequest { text: "hello".into() }));
        let codec = ProstCodec::<CallRequest, CallResponse>::default();
        let path = PathAndQuery::from_static(CONVERSE);
        let mut answers = self.grpc.streaming(request, path, codec).await?.into_inner();
        let mut count = 0;
        let late = |_| Status::deadline_exceeded("a message of the stream is not answered");
        while timeout(pause + CALL_TIMEOUT, answers.message()).await.map_err(late)??.is_some() {
            count += 1;
        }
        if count < messages {
            return Err(Status::data_loss(format!("{count} of {messages} messages were answered")));
        }
        Ok(())
    }
}

/// Whether a call was still waiting for its turn when the connection it was meant for came to its end.
///
/// Such a call never left the client, and gRPC libraries send it on another connection without a word (A6, "transparent
/// retries"); tonic leaves that to its user.
fn was_not_sent(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled) {
            return true;
        }
        cause = error.source();
    }
    false
}
