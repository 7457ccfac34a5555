//! The descriptor pool: what every Envoy configuration message looks like, loaded when first asked for.
//!
//! The committed set is the one of `envoy-types` without source comments and custom options, which are four fifths of
//! it; `tests/descriptors.rs` checks it against the locked crate and writes it anew with `PILOTAGE_BLESS=1`.

use std::sync::OnceLock;

use prost_reflect::DescriptorPool;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto as field,
};

/// The type that stands in for an `Any` whose type the pool does not know; see [`super`].
pub(super) const FOREIGN: &str = "pilotage.json.Foreign";

static DESCRIPTORS: &[u8] = include_bytes!("../../descriptors/envoy.bin");

/// The pool.
pub fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut pool =
            DescriptorPool::decode(DESCRIPTORS).expect("the committed descriptor set is checked by a test");
        pool.add_file_descriptor_proto(foreign()).expect("the stand-in refers to nothing");
        pool
    })
}

fn foreign() -> FileDescriptorProto {
    let field = |name: &str, number, kind: field::Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(field::Label::Optional.into()),
        r#type: Some(kind.into()),
        ..Default::default()
    };
    FileDescriptorProto {
        name: Some("pilotage/json/foreign.proto".to_owned()),
        package: Some("pilotage.json".to_owned()),
        syntax: Some("proto3".to_owned()),
        message_type: vec![DescriptorProto {
            name: Some("Foreign".to_owned()),
            field: vec![field("type_url", 1, field::Type::String), field("value", 2, field::Type::Bytes)],
            ..Default::default()
        }],
        ..Default::default()
    }
}
