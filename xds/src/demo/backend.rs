//! A gRPC server that says who it is, counts its calls, and can be made to refuse them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::KeyAndValueRef;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};

use super::echo::{CallRequest, CallResponse, Echo, EchoServer};

/// A running server of `pilotage.demo.Echo`; it stops accepting, and ends its connections gracefully, when dropped.
#[derive(Debug)]
pub struct Backend {
    state: Arc<State>,
    address: SocketAddr,
    /// Dropping it is the signal to shut down.
    _running: oneshot::Sender<()>,
    task: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// How a server answers calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// With its id.
    Answer,
    /// With `UNAVAILABLE` in the first and only headers of the answer, the one form in which Envoy sees a gRPC status
    /// early enough to retry.
    Unavailable,
    /// With this status, in the same form.
    Fail(Code),
    /// Not at all: the call is taken and nothing comes back.
    Silent,
}

#[derive(Debug)]
struct State {
    id: String,
    version: String,
    behaviour: RwLock<Behaviour>,
    answered: AtomicU64,
    refused: AtomicU64,
}

impl Backend {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start(id: &str, version: &str) -> io::Result<Self> {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), id, version).await
    }

    /// Starts a server on `address`.
    pub async fn start_on(address: SocketAddr, id: &str, version: &str) -> io::Result<Self> {
        let incoming = TcpIncoming::bind(address)?.with_nodelay(Some(true));
        let address = incoming.local_addr()?;
        let state = Arc::new(State {
            id: id.into(),
            version: version.into(),
            behaviour: RwLock::new(Behaviour::Answer),
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let (running, stop) = oneshot::channel::<()>();
        let served = Server::builder().add_service(EchoServer::new(state.clone()));
        let task = tokio::spawn(served.serve_with_incoming_shutdown(incoming, async {
            // Both a signal and a dropped sender mean the end.
            let _ = stop.await;
        }));
        Ok(Self { state, address, _running: running, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.state.id
    }

    /// Its version, such as `v1`.
    pub fn version(&self) -> &str {
        &self.state.version
    }

    /// How it answers from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.write().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    /// The calls, and messages of streams, that it answered with its id.
    pub fn answered(&self) -> u64 {
        self.state.answered.load(Ordering::Relaxed)
    }

    /// The calls that it failed, or left without an answer.
    pub fn refused(&self) -> u64 {
        self.state.refused.load(Ordering::Relaxed)
    }

    /// Ends when the server has ended, which by itself it does only if accepting connections fails.
    pub async fn wait(&mut self) -> io::Result<()> {
        match (&mut self.task).await {
            Ok(ended) => ended.map_err(io::Error::other),
            Err(panicked) => Err(io::Error::other(panicked)),
        }
    }
}

impl State {
    fn behaviour(&self) -> Behaviour {
        *self.behaviour.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Echo for State {
    fn is_silent(&self) -> bool {
        self.behaviour() == Behaviour::Silent
    }

    fn call(&self, request: Request<CallRequest>) -> Result<Response<CallResponse>, Status> {
        let failure = match self.behaviour() {
            Behaviour::Answer => None,
            Behaviour::Unavailable => Some(Code::Unavailable),
            Behaviour::Fail(code) => Some(code),
            Behaviour::Silent => Some(Code::Cancelled),
        };
        if let Some(code) = failure {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Status::new(code, format!("{} refuses calls for now", self.id)));
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        let headers = request.metadata().iter().filter_map(|header| match header {
            KeyAndValueRef::Ascii(key, value) => Some((key.to_string(), value.to_str().ok()?.into())),
            KeyAndValueRef::Binary(..) => None,
        });
        Ok(Response::new(CallResponse {
            server_id: self.id.clone(),
            version: self.version.clone(),
            headers: headers.collect(),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::demo::Client;

    #[tokio::test]
    async fn a_client_learns_who_answered_and_what_it_saw() {
        let backend = Backend::start("one", "v1").await.unwrap();
        let mut client = Client::connect(backend.address(), "echo.demo:80").await.unwrap();
        let reply = client.call(&[("x-client", "test")]).await.unwrap();
        assert_eq!((reply.server_id.as_str(), reply.version.as_str()), ("one", "v1"));
        assert_eq!(reply.seen.get("x-client").map(String::as_str), Some("test"));
        assert_eq!((backend.answered(), backend.refused()), (1, 0));
    }

    #[tokio::test]
    async fn each_message_of_a_stream_is_answered_until_one_is_refused() {
        let backend = Backend::start("one", "v1").await.unwrap();
        let mut client = Client::connect(backend.address(), "echo.demo").await.unwrap();
        client.converse(5, Duration::from_millis(1)).await.unwrap();
        assert_eq!(backend.answered(), 5);
        backend.behave(Behaviour::Unavailable);
        let refused = client.converse(5, Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(backend.refused(), 1);
    }

    #[tokio::test]
    async fn refused_calls_are_counted_and_end_when_told() {
        let backend = Backend::start("one", "v1").await.unwrap();
        let mut client = Client::connect(backend.address(), "echo.demo").await.unwrap();
        backend.behave(Behaviour::Unavailable);
        for _ in 0..3 {
            assert_eq!(client.call(&[]).await.unwrap_err().code(), Code::Unavailable);
        }
        backend.behave(Behaviour::Answer);
        client.call(&[]).await.unwrap();
        assert_eq!((backend.answered(), backend.refused()), (1, 3));
        assert_eq!(client.connections(), 1);
    }
}
