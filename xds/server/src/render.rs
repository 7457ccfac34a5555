//! Turns a response of the session into the bytes of a discovery response.
//!
//! Bodies are copied once, into a slab that all streams share which are told the same ([`crate::slabs`]); no message is
//! built in between. The nonce has a fixed length and comes last, so that everything before it is equal for equal
//! responses, the gRPC header included.

use bytes::{BufMut, Bytes, BytesMut};
use pilotage_protocol::{Dialect, Resource, Response};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

/// Field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`, where they agree.
const VERSION: u32 = 1;
const RESOURCES: u32 = 2;
const TYPE_URL: u32 = 4;
const NONCE: u32 = 5;

/// Where they do not.
const SOTW_CONTROL_PLANE: u32 = 6;
const DELTA_REMOVED: u32 = 6;
const DELTA_CONTROL_PLANE: u32 = 7;

/// The length of the nonce's field: a key, a length and 16 digits.
const NONCE_LEN: usize = 18;

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
    Writer(&mut out).field(NONCE, response.nonce.to_string().as_bytes());
    out.freeze()
}

/// A flag for compression, and the length.
const GRPC_HEADER: usize = 5;

fn write(response: &Response, dialect: Dialect, identifier: &str, sink: &mut impl Sink) {
    let type_url = response.resource_type.type_url();
    sink.field(VERSION, response.version.to_string().as_bytes());
    for resource in response.resources.iter() {
        match dialect {
            Dialect::Sotw => write_any(RESOURCES, type_url, resource, sink),
            Dialect::Delta => {
                sink.open(RESOURCES, delta_resource_len(type_url, resource));
                sink.field(delta_resource::VERSION, resource.version().to_string().as_bytes());
                write_any(delta_resource::BODY, type_url, resource, sink);
                sink.field(delta_resource::NAME, resource.name().as_bytes());
            }
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
}

/// Field numbers of the delta `Resource`.
mod delta_resource {
    pub(super) const VERSION: u32 = 1;
    pub(super) const BODY: u32 = 2;
    pub(super) const NAME: u32 = 3;
}

/// A version is always 16 digits.
const VERSION_LEN: usize = 16;

fn delta_resource_len(type_url: &str, resource: &Resource) -> usize {
    field_len(delta_resource::VERSION, VERSION_LEN)
        + field_len(delta_resource::BODY, any_len(type_url, resource))
        + field_len(delta_resource::NAME, resource.name().len())
}

fn any_len(type_url: &str, resource: &Resource) -> usize {
    field_len(1, type_url.len()) + field_len(2, resource.body().len())
}

fn write_any(tag: u32, type_url: &str, resource: &Resource, sink: &mut impl Sink) {
    sink.open(tag, any_len(type_url, resource));
    sink.field(1, type_url.as_bytes());
    sink.field(2, resource.body());
}

fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(len as u64) + len
}

/// Where the fields go: into a buffer, or only into a sum.
trait Sink {
    /// Starts a field of `len` bytes, which the caller then writes.
    fn open(&mut self, tag: u32, len: usize);

    /// Writes a whole field.
    fn field(&mut self, tag: u32, content: &[u8]);
}

struct Counter(usize);

impl Sink for Counter {
    fn open(&mut self, tag: u32, len: usize) {
        self.0 += key_len(tag) + encoded_len_varint(len as u64);
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

    fn field(&mut self, tag: u32, content: &[u8]) {
        self.open(tag, content.len());
        self.0.put_slice(content);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use pilotage_protocol::{
        ClientProfile, Collection, Names, Request, ResourceType, Revision, Session, SessionConfig, Snapshot,
    };
    use pilotage_protos::discovery::{DeltaDiscoveryResponse, DiscoveryResponse};

    use prost::Message;

    use super::*;

    fn response(dialect: Dialect) -> Response {
        let collection: Collection = [
            Resource::new("a", vec![1; 300]).with_ttl(Duration::from_millis(1500)),
            Resource::new("b", Vec::new()),
        ]
        .into_iter()
        .collect();
        let snapshot = Snapshot::new(Revision(1)).with(ResourceType::Endpoint, Arc::new(collection));
        let now = Instant::now();
        let mut session = Session::new(dialect, ClientProfile::Unknown, SessionConfig::default(), now);
        session.handle_snapshot(now, &snapshot);
        let asked = ["a", "b", "missing"].map(str::to_owned).to_vec();
        let names = match dialect {
            Dialect::Sotw => Names::Exactly { names: asked, version: String::new() },
            Dialect::Delta => Names::Change {
                subscribe: asked,
                unsubscribe: Vec::new(),
                initial_versions: std::collections::HashMap::new(),
            },
        };
        let request =
            Request { resource_type: ResourceType::Endpoint, nonce: String::new(), error: None, names };
        session.handle_request(now, request).expect("a request within the limits");
        session.poll_response().expect("a response")
    }

    fn rendered(dialect: Dialect) -> (Response, Vec<u8>) {
        let response = response(dialect);
        let mut frame = shared(&response, dialect, "control plane").to_vec();
        let nonce = own(&response);
        assert_eq!(nonce.len(), NONCE_LEN);
        frame.extend_from_slice(&nonce);
        let message = frame.split_off(GRPC_HEADER);
        let mut header = vec![0];
        header.extend_from_slice(&(message.len() as u32).to_be_bytes());
        assert_eq!(frame, header);
        (response, message)
    }

    #[test]
    fn prost_reads_what_is_rendered_for_sotw() {
        let (response, bytes) = rendered(Dialect::Sotw);
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
        let (response, bytes) = rendered(Dialect::Delta);
        let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).expect("a valid message");
        assert_eq!(message.nonce, response.nonce.to_string());
        assert_eq!(message.removed_resources, ["missing"]);
        assert_eq!(message.control_plane.expect("a control plane").identifier, "control plane");
        let first = &message.resources[0];
        assert_eq!(first.name, "a");
        assert_eq!(first.version.len(), VERSION_LEN);
        // Nobody sends heartbeats yet, and without them a time to live would delete what is still there.
        assert_eq!(first.ttl, None);
        assert_eq!(first.resource.as_ref().expect("a body").value, vec![1; 300]);
        assert!(message.resources[1].resource.as_ref().expect("a body").value.is_empty());
    }
}
