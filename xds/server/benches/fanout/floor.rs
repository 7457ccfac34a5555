//! The floor: what the machine allows. Recorded responses are replayed through the same HTTP/2 stack, by a server that
//! remembers nothing, compares nothing and checks nothing.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Result;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pilotage_protos::discovery::{Any, DeltaDiscoveryResponse, DiscoveryResponse, Resource as DeltaResource};
use pilotage_server::protocol::{Resource, ResourceType};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::fixture::{Fixture, Mode, Transport};
use crate::host::Order;
use crate::identity;

fn recorded<'a>(mode: Mode, of: &ResourceType, resources: impl Iterator<Item = &'a Resource>) -> Bytes {
    let type_url = of.type_url().to_owned();
    let any = |one: &Resource| Any { type_url: of.type_url().to_owned(), value: one.body() };
    let (version, nonce) = ("0".repeat(16), "0".repeat(16));
    let message = if mode.is_delta() {
        let resources = resources.map(|one| DeltaResource {
            version: one.version().to_string(),
            resource: Some(any(one)),
            name: one.name().to_string(),
            ..DeltaResource::default()
        });
        let resources = resources.collect();
        DeltaDiscoveryResponse {
            system_version_info: version,
            resources,
            type_url,
            nonce,
            ..Default::default()
        }
        .encode_to_vec()
    } else {
        let resources = resources.map(any).collect();
        DiscoveryResponse { version_info: version, resources, type_url, nonce, ..Default::default() }
            .encode_to_vec()
    };
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(&message);
    frame.freeze()
}

/// What a client that asks for something that does not exist is told.
fn nothing() -> Bytes {
    recorded(Mode::FloorSilent, &ResourceType::ExtensionConfig, [].into_iter())
}

/// Serves until the channel closes.
pub(crate) async fn serve(
    listener: TcpListener,
    fixture: Fixture,
    mut orders: mpsc::UnboundedReceiver<Order>,
) -> Result<()> {
    let mode = fixture.mode;
    let mut snapshot = fixture.snapshot();
    let all = |of: &ResourceType| {
        recorded(mode, of, snapshot.collection(of).into_iter().flat_map(|all| all.iter()))
    };
    let responses: Arc<[Bytes]> =
        if mode == Mode::FloorSilent { [nothing()].into() } else { mode.types().iter().map(all).collect() };
    let (changes, _) = broadcast::channel::<Bytes>(16);
    let changing = changes.clone();
    let tls =
        (fixture.transport == Transport::Tls).then(identity::server).transpose()?.map(TlsAcceptor::from);
    tokio::spawn(async move {
        loop {
            let Ok((socket, _)) = listener.accept().await else {
                return;
            };
            let _ = socket.set_nodelay(true);
            let (responses, changes) = (responses.clone(), changes.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (responses, changes) = (responses.clone(), changes.subscribe());
                async move { Ok::<_, Infallible>(replay(request, responses, changes)) }
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            match tls.clone() {
                None => drop(tokio::spawn(builder.serve_connection(TokioIo::new(socket), service))),
                Some(tls) => drop(tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(socket).await {
                        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                    }
                })),
            }
        }
    });
    while orders.recv().await.is_some() {
        let (next, of, changed) = fixture.changed(&snapshot);
        snapshot = next;
        let _ = changing.send(recorded(mode, &of, [&changed].into_iter()));
    }
    Ok(())
}

/// Answers the first request of each type, in the order in which they come, and then sends changes.
fn replay(
    request: Request<Incoming>,
    responses: Arc<[Bytes]>,
    mut changes: broadcast::Receiver<Bytes>,
) -> Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut body = request.into_body();
        // The client sends the requests as it is answered: a request for a type follows the answer to the one before.
        let mut next = 0;
        let mut bytes_of_request = 0;
        loop {
            tokio::select! {
                frame = body.frame() => match frame {
                    Some(Ok(frame)) => {
                        let data = frame.into_data().unwrap_or_default();
                        bytes_of_request += data.len();
                        // The marker at the end of each first request.
                        if data.ends_with(crate::client::MARKER) && next < responses.len() && bytes_of_request > 0 {
                            let _ = sender.send(Ok(Frame::data(responses[next].clone())));
                            next += 1;
                        }
                    }
                    _ => return,
                },
                change = changes.recv() => match change {
                    Ok(change) => drop(sender.send(Ok(Frame::data(change)))),
                    Err(_) => return,
                },
            }
        }
    });
    let mut response = Response::new(StreamBody::new(UnboundedReceiverStream::new(receiver)));
    response
        .headers_mut()
        .insert("content-type", hyper::header::HeaderValue::from_static("application/grpc"));
    response
}
