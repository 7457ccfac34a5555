//! What a request says at first sight: the fields of a discovery request, found by a walk that copies nothing.
//!
//! Large requests are mostly lists of names that were seen before: a SotW client repeats them in every
//! acknowledgement, and the clients of a group ask for the same. An outline finds the list as a run of bytes that can
//! be compared as a whole. Whatever is out of the ordinary has no outline, and is decoded in full.

use bytes::Buf;
use pilotage_protocol::{Dialect, Inventory};
use prost::encoding::{WireType, decode_key, decode_varint};

/// Requests with less are decoded faster than they are compared.
const WORTHWHILE: usize = 512;

/// An ordinary request: a list of names, no error, and nothing given up.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline<'a> {
    pub(crate) type_url: &'a str,
    /// SotW: the version that the client last accepted.
    pub(crate) version: &'a str,
    pub(crate) nonce: &'a str,
    /// The encoded field of names, in one piece.
    pub(crate) names: &'a [u8],
    /// The encoded node.
    pub(crate) node: Option<&'a [u8]>,
    /// Delta: what the client says that it has.
    pub(crate) held: Inventory,
}

/// The list of names, which has the same field number in both dialects.
const NAMES: u32 = 3;

enum Field {
    Version,
    TypeUrl,
    Nonce,
    Names,
    Node,
    Held,
    Rare,
    Unknown,
}

fn field(dialect: Dialect, tag: u32) -> Field {
    match (dialect, tag) {
        (_, NAMES) => Field::Names,
        (Dialect::Sotw, 1) => Field::Version,
        (Dialect::Sotw, 4) | (Dialect::Delta, 2) => Field::TypeUrl,
        (Dialect::Sotw, 5) | (Dialect::Delta, 6) => Field::Nonce,
        (Dialect::Sotw, 2) | (Dialect::Delta, 1) => Field::Node,
        (Dialect::Delta, 5) => Field::Held,
        (Dialect::Sotw, 6) | (Dialect::Delta, 4 | 7) => Field::Rare,
        _ => Field::Unknown,
    }
}

impl<'a> Outline<'a> {
    /// The outline of a request, if it is ordinary and large enough for that to pay.
    pub(crate) fn of(dialect: Dialect, message: &'a [u8]) -> Option<Self> {
        if message.len() < WORTHWHILE {
            return None;
        }
        let held = Inventory::default();
        let mut outline = Self { type_url: "", version: "", nonce: "", names: &[], node: None, held };
        let mut rest = message;
        let (mut first, mut end) = (None, 0);
        while rest.has_remaining() {
            let start = message.len() - rest.len();
            let (tag, content) = next_field(&mut rest)?;
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
                // Two of them would be merged.
                Field::Node if outline.node.is_none() => outline.node = Some(content),
                Field::Held => {
                    let (name, version) = entry(content)?;
                    outline.held.add(name, version);
                }
                Field::Node | Field::Rare => return None,
                Field::Unknown => {}
            }
        }
        match first {
            Some(first) => outline.names = &message[first..end],
            None if outline.held.is_empty() && outline.node.is_none() => return None,
            None => {}
        }
        Some(outline)
    }
}

/// The next field, if it is one of bytes.
#[inline]
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u32, &'a [u8])> {
    // A large request has thousands of fields, nearly all of them as short as this.
    let (tag, len) = if let &[key @ 0..0x80, len @ 0..0x80, ref after @ ..] = *rest {
        if key & 7 != WireType::LengthDelimited as u8 || key >> 3 == 0 {
            return None;
        }
        *rest = after;
        (u32::from(key >> 3), usize::from(len))
    } else {
        let (tag, WireType::LengthDelimited) = decode_key(rest).ok()? else {
            return None;
        };
        (tag, usize::try_from(decode_varint(rest).ok()?).ok()?)
    };
    let content = rest.get(..len)?;
    *rest = &rest[len..];
    Some((tag, content))
}

/// The name and the version of an entry of a map, of which it is not known yet whether they are text.
fn entry(mut content: &[u8]) -> Option<(&[u8], &[u8])> {
    let ((1, name), (2, version)) = (next_field(&mut content)?, next_field(&mut content)?) else {
        return None;
    };
    content.is_empty().then_some((name, version))
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
    fn a_node_is_found_and_what_a_client_holds_is_summed_up() {
        let node = Node { id: "n".into(), ..Node::default() };
        let held: Vec<(String, String)> =
            names().into_iter().enumerate().map(|(index, name)| (name, format!("{index:016x}"))).collect();
        let request = DeltaDiscoveryRequest {
            node: Some(node.clone()),
            initial_resource_versions: held.iter().cloned().collect(),
            ..DeltaDiscoveryRequest::default()
        };
        let request = request.encode_to_vec();
        let outline = Outline::of(Dialect::Delta, &request).expect("an outline");
        assert_eq!(outline.node, Some(node.encode_to_vec().as_slice()));
        assert!(outline.names.is_empty());
        let mut inventory = Inventory::default();
        held.iter().for_each(|(name, version)| inventory.add(name, version));
        assert_eq!(outline.held, inventory);
    }

    #[test]
    fn what_is_rare_small_or_broken_has_none() {
        let none = |message: &[u8]| assert_eq!(Outline::of(Dialect::Sotw, message), None);
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
