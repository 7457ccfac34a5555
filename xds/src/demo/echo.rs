//! The service `pilotage.demo.Echo`, written by hand: what a code generator would make of its definition.
//!
//! ```proto
//! package pilotage.demo;
//! service Echo { rpc Call(CallRequest) returns (CallResponse); }
//! ```

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use prost::Message;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// The full name of the service.
pub(super) const SERVICE: &str = "pilotage.demo.Echo";
/// The path of its one method.
pub(super) const CALL: &str = "/pilotage.demo.Echo/Call";

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

/// What answers a call.
pub(super) trait Echo: Send + Sync + 'static {
    fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status>;
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
            if request.uri().path() != CALL {
                return Ok(Status::unimplemented("the only method is Call").into_http());
            }
            Ok(Grpc::new(ProstCodec::default()).unary(service, request).await)
        })
    }
}
