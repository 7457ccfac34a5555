//! The service `pilotage.demo.Echo`, written by hand: what a code generator would make of its definition.
//!
//! ```proto
//! package pilotage.demo;
//! service Echo {
//!   rpc Call(CallRequest) returns (CallResponse);
//!   rpc Converse(stream CallRequest) returns (stream CallResponse);
//! }
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// The full name of the service.
pub(super) const SERVICE: &str = "pilotage.demo.Echo";
/// The path of the method with one answer.
pub(super) const CALL: &str = "/pilotage.demo.Echo/Call";
/// The path of the method that answers each message of a stream.
pub(super) const CONVERSE: &str = "/pilotage.demo.Echo/Converse";

/// What a client says.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CallRequest {
    #[prost(string, tag = "1")]
    pub(super) text: String,
}

/// Who answered, and what it saw.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CallResponse {
    #[prost(string, tag = "1")]
    pub(super) server_id: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    /// The request's headers as they arrived, without binary ones.
    #[prost(btree_map = "string, string", tag = "3")]
    pub(super) headers: BTreeMap<String, String>,
}

/// What answers a call, and each message of a stream.
pub(super) trait Echo: Send + Sync + 'static {
    fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status>;

    /// Whether calls are taken and never answered.
    fn is_silent(&self) -> bool;
}

/// The service as tonic's router takes it.
#[derive(Debug)]
pub(super) struct EchoServer<T>(Arc<T>);

impl<T> EchoServer<T> {
    pub(super) fn new(echo: Arc<T>) -> Self {
        Self(echo)
    }
}

impl<T> Clone for EchoServer<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> NamedService for EchoServer<T> {
    const NAME: &'static str = SERVICE;
}

impl<T: Echo> UnaryService<CallRequest> for EchoServer<T> {
    type Response = CallResponse;
    type Future = std::future::Ready<Result<Response<CallResponse>, Status>>;

    fn call(&mut self, request: Request<CallRequest>) -> Self::Future {
        std::future::ready(self.0.call(request))
    }
}

impl<T: Echo> StreamingService<CallRequest> for EchoServer<T> {
    type Response = CallResponse;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<CallResponse, Status>> + Send>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<CallRequest>>) -> Self::Future {
        let (metadata, _, messages) = request.into_parts();
        let echo = self.0.clone();
        let answers = messages.map(move |message| {
            let mut request = Request::new(message?);
            *request.metadata_mut() = metadata.clone();
            echo.call(request).map(Response::into_inner)
        });
        std::future::ready(Ok(Response::new(Box::pin(answers))))
    }
}

impl<T: Echo> Service<http::Request<Body>> for EchoServer<T> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default());
            let silent = service.0.is_silent();
            let answer = match request.uri().path() {
                CALL => grpc.unary(service, request).await,
                CONVERSE => grpc.streaming(service, request).await,
                _ => Status::unimplemented("the methods are Call and Converse").into_http(),
            };
            if silent {
                // It ends when the client gives the call up.
                std::future::pending::<()>().await;
            }
            Ok(answer)
        })
    }
}
