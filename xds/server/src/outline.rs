//! What a request says at first sight: the fields of a discovery request, found by a walk that copies nothing.
//!
//! Large requests are mostly lists of names that were seen before: a SotW client repeats them in every
//! acknowledgement, and the clients of a group ask for the same. An outline finds the list as a run of bytes that can
//! be compared as a whole. Whatever is out of the ordinary has no outline, and is decoded in full.

use bytes::Buf;
use pilotage_protocol::Dialect;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Requests with less are decoded faster than they are compared.
const WORTHWHILE: usize = 512;

/// An ordinary request: a list of names, and no node, no error, and nothing given up or held.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline<'a> {
    pub(crate) type_url: &'a str,
    /// SotW: the version that the client last accepted.
    pub(crate) version: &'a str,
    pub(crate) nonce: &'a str,
    /// The encoded field of names, in one piece.
    pub(crate) names: &'a [u8],
}

/// The list of names, which has the same field number in both dialects.
const NAMES: u32 = 3;

enum Field {
    Version,
    TypeUrl,
    Nonce,
    Names,
    Rare,
    Unknown,
}

fn field(dialect: Dialect, tag: u32) -> Field {
    match (dialect, tag) {
        (_, NAMES) => Field::Names,
        (Dialect::Sotw, 1) => Field::Version,
        (Dialect::Sotw, 4) | (Dialect::Delta, 2) => Field::TypeUrl,
        (Dialect::Sotw, 5) | (Dialect::Delta, 6) => Field::Nonce,
        (Dialect::Sotw, 2 | 6) | (Dialect::Delta, 1 | 4 | 5 | 7) => Field::Rare,
        _ => Field::Unknown,
    }
}

impl<'a> Outline<'a> {
    /// The outline of a request, if it is ordinary and large enough for that to pay.
    pub(crate) fn of(dialect: Dialect, message: &'a [u8]) -> Option<Self> {
        if message.len() < WORTHWHILE {
            return None;
        }
        let mut outline = Self { type_url: "", version: "", nonce: "", names: &[] };
        let mut rest = message;
        let (mut first, mut end) = (None, 0);
        while rest.has_remaining() {
            let start = message.len() - rest.len();
            let (tag, WireType::LengthDelimited) = decode_key(&mut rest).ok()? else {
                return None;
            };
            let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let content = rest.get(..len)?;
            rest = &rest[len..];
            match field(dialect, tag) {
                Field::Names => {
                    let is_joined = *first.get_or_insert(start) == start || end == start;
                    if !is_joined {
                        return None;
                    }
                    end = message.len() - rest.len();
                }
                Field::Version => outline.version = std::str::from_utf8(content).ok()?,
                Field::TypeUrl => outline.type_url = std::str::from_utf8(content).ok()?,
                Field::Nonce => outline.nonce = std::str::from_utf8(content).ok()?,
                Field::Rare => return None,
                Field::Unknown => {}
            }
        }
        outline.names = &message[first?..end];
        Some(outline)
    }
}

#[cfg(test)]
mod tests {
    use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node, Status};
    use prost::Message;

    use super::*;

    fn names() -> Vec<String> {
        (0..50).map(|index| format!("outbound|80||service-{index}.example")).collect()
    }

    fn sotw() -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: "v".into(),
            resource_names: names(),
            type_url: "t".into(),
            response_nonce: "n".into(),
            ..DiscoveryRequest::default()
        }
    }

    #[test]
    fn an_ordinary_request_has_an_outline_in_both_dialects() {
        let encoded = sotw().encode_to_vec();
        let outline = Outline::of(Dialect::Sotw, &encoded).expect("an outline");
        assert_eq!((outline.type_url, outline.version, outline.nonce), ("t", "v", "n"));
        let only_names = DiscoveryRequest { resource_names: names(), ..DiscoveryRequest::default() };
        assert_eq!(outline.names, only_names.encode_to_vec());
        let delta = DeltaDiscoveryRequest {
            type_url: "t".into(),
            resource_names_subscribe: names(),
            ..DeltaDiscoveryRequest::default()
        };
        let delta = delta.encode_to_vec();
        let of_delta = Outline::of(Dialect::Delta, &delta).expect("an outline");
        assert_eq!((of_delta.type_url, of_delta.version, of_delta.nonce), ("t", "", ""));
        assert_eq!(of_delta.names, outline.names);
    }

    #[test]
    fn what_is_rare_small_or_broken_has_none() {
        let none = |message: &[u8]| assert_eq!(Outline::of(Dialect::Sotw, message), None);
        none(&DiscoveryRequest { node: Some(Node::default()), ..sotw() }.encode_to_vec());
        none(&DiscoveryRequest { error_detail: Some(Status::default()), ..sotw() }.encode_to_vec());
        none(&DiscoveryRequest { resource_names: vec!["a".into()], ..sotw() }.encode_to_vec());
        // Nothing but a long version.
        let version_info = "v".repeat(WORTHWHILE);
        none(&DiscoveryRequest { version_info, ..DiscoveryRequest::default() }.encode_to_vec());
        let whole = sotw().encode_to_vec();
        none(&whole[..whole.len() - 1]);
        // Names in two places cannot be compared as one.
        none(&[whole.as_slice(), &whole].concat());
        let delta = DeltaDiscoveryRequest {
            resource_names_subscribe: names(),
            resource_names_unsubscribe: vec!["a".into()],
            ..DeltaDiscoveryRequest::default()
        };
        assert_eq!(Outline::of(Dialect::Delta, &delta.encode_to_vec()), None);
    }
}
