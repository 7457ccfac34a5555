//! The clients: each has a connection and one stream, asks as Envoy does, acknowledges, and keeps nothing but nonces
//! and versions. Messages are not decoded, only walked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use pilotage_server::protocol::ResourceType;
use prost::Message;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fixture::{Fixture, Mode, ROUTES};

/// A field that no server knows, at the end of the first request of a type: the floor answers whatever ends with it.
pub(crate) const MARKER: &[u8] = b"\xfa\x7c\x04next";

const PATIENCE: Duration = Duration::from_secs(120);

/// The order in which a client asks.
const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];

/// How far all clients are.
#[derive(Default)]
struct Progress {
    complete: AtomicUsize,
    changed: AtomicUsize,
    moved: Notify,
}

impl Progress {
    fn count(&self, counter: &AtomicUsize, all: usize) {
        if counter.fetch_add(1, Ordering::SeqCst) + 1 == all {
            self.moved.notify_one();
        }
    }
}

/// All clients.
pub(crate) struct Fleet {
    address: SocketAddr,
    fixture: Fixture,
    mode: Mode,
    streams: usize,
    progress: Arc<Progress>,
    tasks: JoinSet<Result<()>>,
}

impl Fleet {
    pub(crate) async fn connect(
        address: SocketAddr,
        fixture: Fixture,
        mode: Mode,
        streams: usize,
    ) -> Result<Self> {
        let (progress, tasks) = (Arc::default(), JoinSet::new());
        let mut fleet = Self { address, fixture, mode, streams, progress, tasks };
        for index in 0..streams {
            let client = Client { fixture, mode, id: format!("client-{index}") };
            let progress = fleet.progress.clone();
            let talk = client.open(address).await?;
            fleet.tasks.spawn(async move { client.follow(talk, &progress, streams).await });
        }
        Ok(fleet)
    }

    /// Waits until every client has everything.
    pub(crate) async fn complete(&mut self) -> Result<()> {
        self.all_have(|progress| &progress.complete).await
    }

    /// Waits until every client has heard of a change; returns when the last one had.
    pub(crate) async fn changed(&mut self) -> Result<Instant> {
        self.all_have(|progress| &progress.changed).await?;
        let last = Instant::now();
        self.progress.changed.store(0, Ordering::SeqCst);
        Ok(last)
    }

    async fn all_have(&mut self, counter: fn(&Progress) -> &AtomicUsize) -> Result<()> {
        while counter(&self.progress).load(Ordering::SeqCst) < self.streams {
            tokio::select! {
                () = self.progress.moved.notified() => {}
                ended = self.tasks.join_next() => {
                    ended.context("there is no client")??.context("a client")?;
                    bail!("a client has ended");
                }
                () = tokio::time::sleep(PATIENCE) => bail!("the clients are not told everything in time"),
            }
        }
        Ok(())
    }

    /// Has all clients leave and return with the versions that they have; returns how many bytes of resources they were
    /// sent then.
    pub(crate) async fn reconnect(&mut self) -> Result<usize> {
        self.tasks.shutdown().await;
        let snapshot = self.fixture.snapshot();
        let held: [HashMap<String, String>; 4] = TYPES.map(|of| {
            let all = snapshot.collection(&of).into_iter().flat_map(|all| all.iter());
            all.map(|one| (one.name().to_string(), one.version().to_string())).collect()
        });
        let (held, mut tasks) = (Arc::new(held), JoinSet::new());
        for index in 0..self.streams {
            let client = Client { fixture: self.fixture, mode: self.mode, id: format!("client-{index}") };
            let held = held.clone();
            let talk = client.open(self.address).await?;
            tasks.spawn(async move { client.return_with(talk, &held).await });
        }
        let mut received = 0;
        while let Some(ended) = tasks.join_next().await {
            received += ended??;
        }
        Ok(received)
    }
}

struct Client {
    fixture: Fixture,
    mode: Mode,
    id: String,
}

/// What a response says that the client has to know.
struct Heard {
    type_url: Bytes,
    version: Bytes,
    nonce: Bytes,
    resource_bytes: usize,
}

impl Client {
    async fn open(&self, address: SocketAddr) -> Result<(SendStream<Bytes>, Inbox)> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
        let (mut sender, connection) = builder.handshake(socket).await?;
        tokio::spawn(connection);
        let method = if self.mode.is_delta() { "Delta" } else { "Stream" };
        let uri = format!(
            "http://{address}/envoy.service.discovery.v3.AggregatedDiscoveryService/{method}AggregatedResources"
        );
        let request = http::Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        futures_util::future::poll_fn(|context| sender.poll_ready(context)).await?;
        let (response, requests) = sender.send_request(request, false)?;
        Ok((requests, Inbox { response: Some(response), body: None, buffer: BytesMut::new() }))
    }

    fn names(&self, of: usize) -> Vec<String> {
        match of {
            1 => self.fixture.names().collect(),
            3 => vec![ROUTES.to_owned()],
            _ => Vec::new(),
        }
    }

    fn first(&self, of: usize, held: HashMap<String, String>) -> Bytes {
        let node = (of == 0).then(|| Node {
            id: self.id.clone(),
            user_agent_name: "envoy".to_owned(),
            ..Node::default()
        });
        let (type_url, names) = (TYPES[of].type_url().to_owned(), self.names(of));
        let mut message = if self.mode.is_delta() {
            let resource_names_subscribe = names;
            DeltaDiscoveryRequest {
                node,
                type_url,
                resource_names_subscribe,
                initial_resource_versions: held,
                ..Default::default()
            }
            .encode_to_vec()
        } else {
            DiscoveryRequest { node, type_url, resource_names: names, ..Default::default() }.encode_to_vec()
        };
        message.extend_from_slice(MARKER);
        framed(&message)
    }

    /// Accepts a response; in SotW that repeats the names.
    fn accept(&self, of: usize, heard: &Heard) -> Bytes {
        let type_url = TYPES[of].type_url().to_owned();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let response_nonce = text(&heard.nonce);
        let message = if self.mode.is_delta() {
            DeltaDiscoveryRequest { type_url, response_nonce, ..Default::default() }.encode_to_vec()
        } else {
            let (version_info, resource_names) = (text(&heard.version), self.names(of));
            DiscoveryRequest { type_url, version_info, response_nonce, resource_names, ..Default::default() }
                .encode_to_vec()
        };
        framed(&message)
    }

    async fn follow(
        &self,
        (mut requests, mut inbox): (SendStream<Bytes>, Inbox),
        progress: &Progress,
        all: usize,
    ) -> Result<()> {
        let mut asked = 1;
        send(&mut requests, self.first(0, HashMap::new())).await?;
        loop {
            let heard = inbox.next().await?;
            let of = TYPES.iter().position(|of| of.type_url().as_bytes() == heard.type_url);
            let of = of.context("a type that was not asked for")?;
            send(&mut requests, self.accept(of, &heard)).await?;
            if of + 1 == asked && asked < TYPES.len() {
                send(&mut requests, self.first(asked, HashMap::new())).await?;
                asked += 1;
            } else if of + 1 == asked {
                asked += 1;
                progress.count(&progress.complete, all);
            } else {
                progress.count(&progress.changed, all);
            }
        }
    }

    /// Asks for everything at once with what it has, and then for a name that does not exist: when that is answered,
    /// everything else that was to be said has been.
    async fn return_with(
        &self,
        (mut requests, mut inbox): (SendStream<Bytes>, Inbox),
        held: &[HashMap<String, String>; 4],
    ) -> Result<usize> {
        for (of, held) in held.iter().enumerate() {
            send(&mut requests, self.first(of, held.clone())).await?;
        }
        let last = DeltaDiscoveryRequest {
            type_url: ResourceType::ExtensionConfig.type_url().to_owned(),
            resource_names_subscribe: vec!["last".to_owned()],
            ..Default::default()
        };
        send(&mut requests, framed(&last.encode_to_vec())).await?;
        let mut received = 0;
        loop {
            let heard = timeout(PATIENCE, inbox.next()).await.context("no answer in time")??;
            received += heard.resource_bytes;
            if heard.type_url == ResourceType::ExtensionConfig.type_url().as_bytes() {
                return Ok(received);
            }
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

async fn send(requests: &mut SendStream<Bytes>, frame: Bytes) -> Result<()> {
    requests.send_data(frame, false)?;
    Ok(())
}

/// Responses as they come in.
struct Inbox {
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
    buffer: BytesMut,
}

impl Inbox {
    async fn next(&mut self) -> Result<Heard> {
        if let Some(response) = self.response.take() {
            self.body = Some(response.await?.into_body());
        }
        let body = self.body.as_mut().context("a stream")?;
        loop {
            if self.buffer.len() >= 5 {
                let len = (&self.buffer[1..5]).get_u32() as usize;
                if self.buffer.len() >= len + 5 {
                    let mut message = self.buffer.split_to(len + 5).freeze();
                    message.advance(5);
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new();
                    }
                    return walk(message);
                }
            }
            let data = body.data().await.context("the server has ended the stream")??;
            body.flow_control().release_capacity(data.len())?;
            self.buffer.extend_from_slice(&data);
        }
    }
}

/// Reads the fields that matter of a response of either dialect: 1 is the version, 2 a resource, 4 the type, 5 the nonce.
fn walk(mut message: Bytes) -> Result<Heard> {
    let mut heard =
        Heard { type_url: Bytes::new(), version: Bytes::new(), nonce: Bytes::new(), resource_bytes: 0 };
    while message.has_remaining() {
        let tag = prost::encoding::decode_varint(&mut message)?;
        if tag & 7 != 2 {
            bail!("a response has no fields but with a length");
        }
        let len = prost::encoding::decode_varint(&mut message)? as usize;
        let field = message.split_to(len);
        match tag >> 3 {
            1 => heard.version = field,
            2 => heard.resource_bytes += field.len(),
            4 => heard.type_url = field,
            5 => heard.nonce = field,
            _ => {}
        }
    }
    Ok(heard)
}
