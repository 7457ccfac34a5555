//! The clients: each has a connection and one stream, asks as Envoy does, acknowledges, and keeps nothing but nonces
//! and versions. Messages are not decoded, only walked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node};
use pilotage_server::protocol::ResourceType;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::fixture::{Fixture, ROUTES, Transport};
use crate::identity;

/// A field that no server knows, at the end of the first request of a type: the floor answers whatever ends with it.
pub(crate) const MARKER: &[u8] = b"\xfa\x7c\x04next";

const PATIENCE: Duration = Duration::from_secs(120);

/// How far all clients are.
#[derive(Default)]
struct Progress {
    complete: AtomicUsize,
    changed: AtomicUsize,
    bytes: AtomicUsize,
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
    streams: usize,
    interested: usize,
    progress: Arc<Progress>,
    tasks: JoinSet<Result<()>>,
}

impl Fleet {
    /// Connects so many clients; only the first `interested` of them ask for what is going to change.
    pub(crate) async fn connect(
        address: SocketAddr,
        fixture: Fixture,
        streams: usize,
        interested: usize,
    ) -> Result<Self> {
        let (progress, tasks) = (Arc::default(), JoinSet::new());
        let mut fleet = Self { streams, interested, progress, tasks };
        for index in 0..streams {
            let scope = if index < interested { Scope::All } else { Scope::WithoutTheChanging };
            let client = Client { fixture, id: format!("client-{index}"), scope };
            let progress = fleet.progress.clone();
            let talk = client.open(address).await?;
            fleet.tasks.spawn(async move { client.follow(talk, &progress, (streams, interested)).await });
        }
        Ok(fleet)
    }

    /// Waits until every client has everything.
    pub(crate) async fn complete(&mut self) -> Result<()> {
        self.all_have(|progress| &progress.complete, self.streams).await
    }

    /// Waits until every client that is interested has heard of a change; returns when the last one had.
    pub(crate) async fn changed(&mut self) -> Result<Instant> {
        self.all_have(|progress| &progress.changed, self.interested).await?;
        let last = Instant::now();
        self.progress.changed.store(0, Ordering::SeqCst);
        Ok(last)
    }

    /// How many responses with changes the clients have had since this was asked last, and bytes of all responses.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        (self.progress.changed.swap(0, Ordering::SeqCst), self.progress.bytes.swap(0, Ordering::SeqCst))
    }

    async fn all_have(&mut self, counter: fn(&Progress) -> &AtomicUsize, all: usize) -> Result<()> {
        while counter(&self.progress).load(Ordering::SeqCst) < all {
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

    /// Has all clients leave.
    pub(crate) async fn leave(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// Has clients come with the versions that they have; returns how many bytes of resources they were sent.
pub(crate) async fn come_back(address: SocketAddr, fixture: Fixture, streams: usize) -> Result<usize> {
    let snapshot = fixture.snapshot();
    let client = Client { fixture, id: String::new(), scope: Scope::All };
    let requests = (0..fixture.mode.types().len()).map(|of| {
        let all = snapshot.collection(&fixture.mode.types()[of]).into_iter().flat_map(|all| all.iter());
        client.ask(of, all.map(|one| (one.name().to_string(), one.version().to_string())).collect())
    });
    let last = DeltaDiscoveryRequest {
        type_url: ResourceType::ExtensionConfig.type_url().to_owned(),
        resource_names_subscribe: vec!["last".to_owned()],
        ..Default::default()
    };
    let mut last = last.encode_to_vec();
    last.extend_from_slice(MARKER);
    let requests: Arc<[Bytes]> = requests.chain([Bytes::from(last)]).collect();
    let mut tasks = JoinSet::new();
    for index in 0..streams {
        let client = Client { fixture, id: format!("client-{index}"), scope: Scope::All };
        let talk = client.open(address).await?;
        let requests = requests.clone();
        tasks.spawn(async move { client.return_with(talk, &requests).await });
    }
    let mut received = 0;
    while let Some(ended) = tasks.join_next().await {
        received += ended??;
    }
    Ok(received)
}

/// What a client asks for of the assignments.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    WithoutTheChanging,
}

struct Client {
    fixture: Fixture,
    id: String,
    scope: Scope,
}

/// What a response says that the client has to know.
struct Heard {
    type_url: Bytes,
    version: Bytes,
    nonce: Bytes,
    resources: usize,
    resource_bytes: usize,
    bytes: usize,
}

impl Client {
    async fn open(&self, address: SocketAddr) -> Result<(SendStream<Bytes>, Inbox)> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let mut sender = match self.fixture.transport {
            Transport::Plain => handshake(socket).await?,
            Transport::Tls => {
                let connector = TlsConnector::from(identity::client()?);
                handshake(connector.connect(ServerName::try_from("localhost")?, socket).await?).await?
            }
        };
        let method = if self.fixture.mode.is_delta() { "Delta" } else { "Stream" };
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
            1 => {
                let left_out = (self.scope == Scope::WithoutTheChanging).then(|| self.fixture.changing());
                self.fixture.names().filter(|name| Some(name) != left_out.as_ref()).collect()
            }
            3 => vec![ROUTES.to_owned()],
            _ => Vec::new(),
        }
    }

    /// How many resources answer the first request of a type.
    fn expected(&self, of: usize) -> usize {
        match of {
            0 => self.fixture.clusters,
            1 => self.names(1).len(),
            4 => self.fixture.hosts,
            _ => 1,
        }
    }

    /// The node alone, as a message that any request can be appended to.
    fn node(&self) -> Vec<u8> {
        let node = Node { id: self.id.clone(), user_agent_name: "envoy".to_owned(), ..Node::default() };
        if self.fixture.mode.is_delta() {
            DeltaDiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec()
        } else {
            DiscoveryRequest { node: Some(node), ..Default::default() }.encode_to_vec()
        }
    }

    /// The first request of a type, but for the node.
    fn ask(&self, of: usize, held: HashMap<String, String>) -> Bytes {
        let (type_url, names) = (self.fixture.mode.types()[of].type_url().to_owned(), self.names(of));
        if self.fixture.mode.is_delta() {
            let (resource_names_subscribe, initial_resource_versions) = (names, held);
            let request = DeltaDiscoveryRequest {
                type_url,
                resource_names_subscribe,
                initial_resource_versions,
                ..Default::default()
            };
            request.encode_to_vec().into()
        } else {
            DiscoveryRequest { type_url, resource_names: names, ..Default::default() }.encode_to_vec().into()
        }
    }

    /// The first request of a type, whole.
    fn first(&self, of: usize) -> Bytes {
        let mut message = if of == 0 { self.node() } else { Vec::new() };
        message.extend_from_slice(&self.ask(of, HashMap::new()));
        message.extend_from_slice(MARKER);
        framed(&message)
    }

    /// Accepts a response; in SotW that repeats the names.
    fn accept(&self, of: usize, heard: &Heard) -> Bytes {
        let type_url = self.fixture.mode.types()[of].type_url().to_owned();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let response_nonce = text(&heard.nonce);
        let message = if self.fixture.mode.is_delta() {
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
        (all, interested): (usize, usize),
    ) -> Result<()> {
        let types = self.fixture.mode.types();
        send(&mut requests, self.first(0))?;
        let (mut asked, mut missing) = (1, self.expected(0));
        loop {
            let heard = inbox.next().await?;
            progress.bytes.fetch_add(heard.bytes, Ordering::SeqCst);
            let of = types.iter().position(|of| of.type_url().as_bytes() == heard.type_url);
            let of = of.context("a type that was not asked for")?;
            send(&mut requests, self.accept(of, &heard))?;
            if of + 1 != asked || missing == 0 {
                progress.count(&progress.changed, interested);
                continue;
            }
            missing = missing.saturating_sub(heard.resources);
            if missing == 0 && asked < types.len() {
                send(&mut requests, self.first(asked))?;
                (asked, missing) = (asked + 1, self.expected(asked));
            } else if missing == 0 {
                progress.count(&progress.complete, all);
            }
        }
    }

    /// Asks for everything at once with what it has, and then for a name that does not exist: when that is answered,
    /// everything else that was to be said has been.
    async fn return_with(
        &self,
        (mut stream, mut inbox): (SendStream<Bytes>, Inbox),
        requests: &[Bytes],
    ) -> Result<usize> {
        for (of, request) in requests.iter().enumerate() {
            // What all clients send is in memory once.
            let node = if of == 0 { self.node() } else { Vec::new() };
            let mut start = BytesMut::with_capacity(node.len() + 5);
            start.put_u8(0);
            start.put_u32((node.len() + request.len()) as u32);
            start.put_slice(&node);
            send(&mut stream, start.freeze())?;
            send(&mut stream, request.clone())?;
        }
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

async fn handshake<S>(socket: S) -> Result<SendRequest<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(4 << 20);
    let (sender, connection) = builder.handshake(socket).await?;
    tokio::spawn(connection);
    Ok(sender)
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len() + 5);
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    frame.freeze()
}

fn send(requests: &mut SendStream<Bytes>, frame: Bytes) -> Result<()> {
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
    let (type_url, version, nonce) = Default::default();
    let mut heard = Heard { type_url, version, nonce, resources: 0, resource_bytes: 0, bytes: message.len() };
    while message.has_remaining() {
        let tag = prost::encoding::decode_varint(&mut message)?;
        if tag & 7 != 2 {
            bail!("a response has no fields but with a length");
        }
        let len = prost::encoding::decode_varint(&mut message)? as usize;
        let field = message.split_to(len);
        match tag >> 3 {
            1 => heard.version = field,
            2 => {
                heard.resources += 1;
                heard.resource_bytes += field.len();
            }
            4 => heard.type_url = field,
            5 => heard.nonce = field,
            _ => {}
        }
    }
    Ok(heard)
}
