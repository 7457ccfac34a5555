//! Turns a response of the session into the bytes of a discovery response.
//!
//! Bodies are copied once, into a slab that all streams share which are told the same ([`crate::slabs`]); no message is
//! built in between. The nonce has a fixed length and comes last, so that everything before it is equal for equal
//! responses, the gRPC header included.

use bytes::{BufMut, Bytes, BytesMut};
use pilotage_protocol::{Dialect, Lifetimes, Resource, Response};
use pilotage_protos::discovery::Duration;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`, where they agree.
const VERSION: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;

/// Where they do not.
const SOTW_CONTROL_PLANE: u32 = 6;
const SOTW_ERRORS: u32 = 7;
const DELTA_REMOVED: u32 = 6;
const DELTA_CONTROL_PLANE: u32 = 7;

/// The length of the nonce's field: a key, a length and 16 digits.
pub(crate) const NONCE_LEN: usize = 18;

/// A gRPC message up to its nonce, header included: what equal responses have in common.
pub(crate) fn shared(response: &Response, dialect: Dialect, identifier: &str) -> Bytes {
    let mut counter = Counter(0);
    write(response, dialect, identifier, &mut counter);
    let len = counter.0 + NONCE_LEN;
    // One allocation instead of a growing buffer, which would copy what is already in it.
    let mut out = BytesMut::with_capacity(GRPC_HEADER + counter.0);
    out.put_u8(0);
    // Snapshots are held in memory; one of 4 GiB is not expected, and a client could not take it.
    out.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    write(response, dialect, identifier, &mut Writer(&mut out));
    out.freeze()
}

/// The rest of the message: the nonce.
pub(crate) fn own(response: &Response) -> Bytes {
    let mut out = BytesMut::with_capacity(NONCE_LEN);
    write_own(response, &mut out);
    out.freeze()
}

/// Writes the nonce behind what is shared.
pub(crate) fn write_own(response: &Response, out: &mut BytesMut) {
    Writer(out).field(NONCE, &response.nonce.digits());
}

/// A flag for compression, and the length.
const GRPC_HEADER: usize = 5;

fn write(response: &Response, dialect: Dialect, identifier: &str, sink: &mut impl Sink) {
    let type_url = response.resource_type.type_url();
    let lifetimes = response.lifetimes;
    sink.field(VERSION, response.version.to_string().as_bytes());
    for resource in response.resources.iter() {
        let ttl = ttl(resource, lifetimes);
        match (dialect, &ttl) {
            (Dialect::Sotw, None) => write_any(RESOURCES, type_url, resource, sink),
            (Dialect::Sotw, Some(_)) => write_wrapped(type_url, resource, Body::Present, &ttl, sink),
            (Dialect::Delta, _) => write_resource(RESOURCES, type_url, resource, Body::Present, &ttl, sink),
        }
    }
    for resource in response.heartbeats.iter() {
        let ttl = ttl(resource, lifetimes);
        match dialect {
            Dialect::Sotw => write_wrapped(type_url, resource, Body::Absent, &ttl, sink),
            Dialect::Delta => write_resource(RESOURCES, type_url, resource, Body::Absent, &ttl, sink),
        }
    }
    if dialect == Dialect::Delta {
        // Whoever asked for a name that does not exist finds it among the aliases (R68).
        for name in response.missing.iter() {
            sink.open(
                RESOURCES,
                field_len(delta_resource::NAME, name.len()) + field_len(delta_resource::ALIASES, name.len()),
            );
            sink.field(delta_resource::NAME, name.as_bytes());
            sink.field(delta_resource::ALIASES, name.as_bytes());
        }
    }
    sink.field(TYPE_URL, type_url.as_bytes());
    let control_plane = match dialect {
        Dialect::Sotw => SOTW_CONTROL_PLANE,
        Dialect::Delta => DELTA_CONTROL_PLANE,
    };
    for name in response.removed.iter() {
        sink.field(DELTA_REMOVED, name.as_bytes());
    }
    sink.open(control_plane, field_len(1, identifier.len()));
    sink.field(1, identifier.as_bytes());
    if dialect == Dialect::Sotw {
        for name in response.missing.iter() {
            write_error(name, sink);
        }
    }
}

/// A resource error: a name, and the status `NOT_FOUND` (R63).
fn write_error(name: &str, sink: &mut impl Sink) {
    const NOT_FOUND: u64 = 5;
    const WORDS: &str = "no such resource";
    let status_len = key_len(1) + encoded_len_varint(NOT_FOUND) + field_len(2, WORDS.len());
    let name_len = field_len(1, name.len());
    sink.open(SOTW_ERRORS, field_len(1, name_len) + field_len(2, status_len));
    sink.open(1, name_len);
    sink.field(1, name.as_bytes());
    sink.open(2, status_len);
    sink.number(1, NOT_FOUND);
    sink.field(2, WORDS.as_bytes());
}

/// Field numbers of the wrapper `Resource`.
mod delta_resource {
    pub(super) const VERSION: u32 = 1;
    pub(super) const BODY: u32 = 2;
    pub(super) const NAME: u32 = 3;
    pub(super) const ALIASES: u32 = 4;
    pub(super) const TTL: u32 = 6;
}

/// The type URL of the wrapper, where SotW puts one into an `Any`.
const WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// A version is always 16 digits.
const VERSION_LEN: usize = 16;

/// Whether a wrapper has its resource, or is a heartbeat.
#[derive(Clone, Copy)]
enum Body {
    Present,
    Absent,
}

/// The encoded time to live of a resource, where the client is to be told.
fn ttl(resource: &Resource, lifetimes: Lifetimes) -> Option<Vec<u8>> {
    let ttl = resource.ttl().filter(|_| lifetimes == Lifetimes::Said)?;
    let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    Some(Duration { seconds, nanos: ttl.subsec_nanos() as i32 }.encode_to_vec())
}

fn resource_len(type_url: &str, resource: &Resource, body: Body, ttl: &Option<Vec<u8>>) -> usize {
    field_len(delta_resource::VERSION, VERSION_LEN)
        + match body {
            Body::Present => field_len(delta_resource::BODY, any_len(type_url, resource)),
            Body::Absent => 0,
        }
        + field_len(delta_resource::NAME, resource.name().len())
        + ttl.as_ref().map_or(0, |ttl| field_len(delta_resource::TTL, ttl.len()))
}

fn write_resource(
    tag: u32,
    type_url: &str,
    resource: &Resource,
    body: Body,
    ttl: &Option<Vec<u8>>,
    sink: &mut impl Sink,
) {
    sink.open(tag, resource_len(type_url, resource, body, ttl));
    sink.field(delta_resource::VERSION, resource.version().to_string().as_bytes());
    if let Body::Present = body {
        write_any(delta_resource::BODY, type_url, resource, sink);
    }
    sink.field(delta_resource::NAME, resource.name().as_bytes());
    if let Some(ttl) = ttl {
        sink.field(delta_resource::TTL, ttl);
    }
}

/// SotW has no place for a time to live but a wrapper in the place of the resource (R61).
fn write_wrapped(
    type_url: &str,
    resource: &Resource,
    body: Body,
    ttl: &Option<Vec<u8>>,
    sink: &mut impl Sink,
) {
    let wrapped_len = resource_len(type_url, resource, body, ttl);
    sink.open(RESOURCES, field_len(1, WRAPPER.len()) + field_len(2, wrapped_len));
    sink.field(1, WRAPPER.as_bytes());
    write_resource(2, type_url, resource, body, ttl, sink);
}

fn any_len(type_url: &str, resource: &Resource) -> usize {
    field_len(1, type_url.len()) + field_len(2, resource.body_len())
}

fn write_any(tag: u32, type_url: &str, resource: &Resource, sink: &mut impl Sink) {
    sink.open(tag, any_len(type_url, resource));
    sink.field(1, type_url.as_bytes());
    sink.open(2, resource.body_len());
    resource.body_pieces().iter().for_each(|piece| sink.raw(piece));
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// Where the fields go: into a buffer, or only into a sum.
trait Sink {
    /// Starts a field of `len` bytes, which the caller then writes.
    fn open(&mut self, tag: u32, len: usize);

    /// Writes a number.
    fn number(&mut self, tag: u32, number: u64);

    /// Writes some of the bytes of a field that was started.
    fn raw(&mut self, content: &[u8]);

    /// Writes a whole field.
    fn field(&mut self, tag: u32, content: &[u8]);
}

struct Counter(usize);

impl Sink for Counter {
    fn open(&mut self, tag: u32, len: usize) {
        self.0 += key_len(tag) + encoded_len_varint(len as u64);
    }

    fn number(&mut self, tag: u32, number: u64) {
        self.0 += key_len(tag) + encoded_len_varint(number);
    }

    fn raw(&mut self, content: &[u8]) {
        self.0 += content.len();
    }

    fn field(&mut self, tag: u32, content: &[u8]) {
        self.0 += field_len(tag, content.len());
    }
}

struct Writer<'a, B>(&'a mut B);

impl<B: BufMut> Sink for Writer<'_, B> {
    fn open(&mut self, tag: u32, len: usize) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(len as u64, self.0);
    }

    fn number(&mut self, tag: u32, number: u64) {
        encode_key(tag, WireType::Varint, self.0);
        encode_varint(number, self.0);
    }

    fn raw(&mut self, content: &[u8]) {
        self.0.put_slice(content);
    }

    fn field(&mut self, tag: u32, content: &[u8]) {
        self.open(tag, content.len());
        self.raw(content);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use pilotage_protocol::{
        ClientFeatures, ClientProfile, Collection, Names, Request, ResourceType, Revision, Session,
        SessionConfig, Snapshot,
    };
    use pilotage_protos::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};

    use super::*;

    /// A client of one dialect and profile that says what it can.
    struct Client {
        session: Session,
        dialect: Dialect,
        now: Instant,
    }

    impl Client {
        fn new(dialect: Dialect, profile: ClientProfile, features: ClientFeatures) -> Self {
            let collection: Collection = [
                Resource::new("a", vec![1; 300]).with_ttl(std::time::Duration::from_millis(1500)),
                Resource::new("b", Vec::new()),
            ]
            .into_iter()
            .collect();
            let snapshot = Snapshot::new(Revision(1)).with(ResourceType::Endpoint, Arc::new(collection));
            let now = Instant::now();
            let session = Session::new(dialect, profile, SessionConfig::default(), now);
            let mut client = Self { session: session.with_features(features), dialect, now };
            client.session.handle_snapshot(now, &snapshot);
            client.say(String::new());
            client
        }

        fn say(&mut self, nonce: String) {
            let asked = ["a", "b", "missing"].map(str::to_owned).to_vec();
            let names = match self.dialect {
                Dialect::Sotw => Names::Exactly { names: asked, version: String::new() },
                Dialect::Delta => Names::Change {
                    subscribe: if nonce.is_empty() { asked } else { Vec::new() },
                    unsubscribe: Vec::new(),
                    initial_versions: std::collections::HashMap::new(),
                },
            };
            let request = Request { resource_type: ResourceType::Endpoint, nonce, error: None, names };
            self.session.handle_request(self.now, request).expect("a request within the limits");
        }

        fn hear(&mut self) -> (Response, Vec<u8>) {
            let response = self.session.poll_response().expect("a response");
            let bytes = rendered(&response, self.dialect);
            (response, bytes)
        }

        /// Accepts a response, and waits until a heartbeat is due.
        fn wait(&mut self, response: &Response) {
            self.say(response.nonce.to_string());
            self.now = self.session.poll_timeout().expect("a timer");
            self.session.handle_timeout(self.now);
        }
    }

    fn rendered(response: &Response, dialect: Dialect) -> Vec<u8> {
        let mut frame = shared(response, dialect, "control plane").to_vec();
        let nonce = own(response);
        assert_eq!(nonce.len(), NONCE_LEN);
        frame.extend_from_slice(&nonce);
        let message = frame.split_off(GRPC_HEADER);
        let mut header = vec![0];
        header.extend_from_slice(&(message.len() as u32).to_be_bytes());
        assert_eq!(frame, header);
        message
    }

    const EVERYTHING: ClientFeatures = ClientFeatures { ttl: true, wrapped_in_sotw: true };

    /// The wrapper that a time to live needs in SotW.
    fn unwrapped(any: &pilotage_protos::discovery::Any) -> pilotage_protos::discovery::Resource {
        assert_eq!(any.type_url, WRAPPER);
        Message::decode(any.value.clone()).expect("a wrapper")
    }

    #[test]
    fn prost_reads_what_is_rendered_for_sotw() {
        let (response, bytes) =
            Client::new(Dialect::Sotw, ClientProfile::Unknown, ClientFeatures::default()).hear();
        let message = DiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        assert_eq!(message.version_info, response.version.to_string());
        assert_eq!(message.nonce, response.nonce.to_string());
        assert_eq!(message.type_url, ResourceType::Endpoint.type_url());
        assert_eq!(message.control_plane.expect("a control plane").identifier, "control plane");
        let bodies: Vec<_> = message.resources.iter().map(|any| any.value.to_vec()).collect();
        assert_eq!(bodies, [vec![1; 300], Vec::new()]);
        // R4: every body has the type of the response.
        assert!(message.resources.iter().all(|any| any.type_url == message.type_url));
    }

    #[test]
    fn prost_reads_what_is_rendered_for_delta() {
        let (response, bytes) =
            Client::new(Dialect::Delta, ClientProfile::Unknown, ClientFeatures::default()).hear();
        let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        assert_eq!(message.nonce, response.nonce.to_string());
        assert_eq!(message.removed_resources, ["missing"]);
        assert_eq!(message.control_plane.expect("a control plane").identifier, "control plane");
        let first = &message.resources[0];
        assert_eq!(first.name, "a");
        assert_eq!(first.version.len(), VERSION_LEN);
        // A client that gets no heartbeats would delete what is still there.
        assert_eq!(first.ttl, None);
        assert_eq!(first.resource.as_ref().expect("a body").value, vec![1; 300]);
        assert!(message.resources[1].resource.as_ref().expect("a body").value.is_empty());
    }

    #[test]
    fn a_time_to_live_is_said_to_who_understands_it_and_renewed() {
        let half = |ttl: Option<Duration>| assert_eq!(ttl, Some(Duration { seconds: 1, nanos: 500_000_000 }));
        let mut client = Client::new(Dialect::Delta, ClientProfile::Envoy, EVERYTHING);
        let (response, bytes) = client.hear();
        let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        half(message.resources[0].ttl);
        assert_eq!(message.resources[1].ttl, None);
        client.wait(&response);
        let message = DeltaDiscoveryResponse::decode(client.hear().1.as_slice()).expect("a valid message");
        let [beat] = &message.resources[..] else { panic!("one heartbeat") };
        half(beat.ttl);
        assert_eq!((beat.name.as_str(), beat.resource.is_none()), ("a", true));

        let mut client = Client::new(Dialect::Sotw, ClientProfile::Envoy, EVERYTHING);
        let (response, bytes) = client.hear();
        let message = DiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        let first = unwrapped(&message.resources[0]);
        half(first.ttl);
        assert_eq!(first.resource.expect("a body").value, vec![1; 300]);
        assert_eq!(message.resources[1].type_url, ResourceType::Endpoint.type_url());
        client.wait(&response);
        let message = DiscoveryResponse::decode(client.hear().1.as_slice()).expect("a valid message");
        let beat = unwrapped(&message.resources[0]);
        half(beat.ttl);
        assert_eq!((beat.name.as_str(), beat.resource.is_none()), ("a", true));
    }

    /// The part of a SotW response that speaks of single resources.
    #[derive(Clone, PartialEq, Message)]
    struct Errors {
        #[prost(message, repeated, tag = "7")]
        errors: Vec<ResourceError>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ResourceError {
        #[prost(message, optional, tag = "1")]
        resource_name: Option<ResourceName>,
        #[prost(message, optional, tag = "2")]
        detail: Option<pilotage_protos::discovery::Status>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ResourceName {
        #[prost(string, tag = "1")]
        name: String,
    }

    #[test]
    fn a_missing_name_is_an_error_to_grpc() {
        let bytes = Client::new(Dialect::Sotw, ClientProfile::Grpc, EVERYTHING).hear().1;
        let mut errors = Errors::decode(bytes.as_slice()).expect("a valid message").errors;
        let error = errors.pop().expect("an error");
        assert!(errors.is_empty());
        assert_eq!(error.resource_name.expect("a name").name, "missing");
        assert_eq!(error.detail.expect("a status").code, 5);
        // What does not know the field reads the rest.
        let message = DiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        assert_eq!(message.resources.len(), 2);
        assert_eq!(message.control_plane.expect("a control plane").identifier, "control plane");
    }
}
