//! JSON ⇄ protobuf through the descriptor pool, typed `Any`s included.
//!
//! Field names are those of Envoy's documentation (`snake_case`); the canonical `camelCase` is read as well. An `Any`
//! of a type that the pool does not know is written as `{"@type": …, "value": base64}` and read back the same, so
//! that no Envoy feature is out of reach. JSON is for people to look at: what is confidential is never in it.

mod foreign;
mod pool;
mod redaction;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::Value;

pub use pool::pool;

/// Why a message could not be turned into JSON or back.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The type URL names no message of the pool.
    #[error("{0} is not a message that Envoy's published API has")]
    UnknownType(String),
    /// The bytes are no message of the type.
    #[error("the bytes are not a {type_name}: {source}")]
    Decode {
        /// The full name of the message.
        type_name: String,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// The JSON is no message of the type.
    #[error("not a {type_name}: {source}{}", at(.path))]
    Json {
        /// The full name of the message.
        type_name: String,
        /// The field that the reader stopped at, such as `filters[0].name`; empty where that is the message itself.
        path: String,
        /// What the reader says.
        source: serde_json::Error,
    },
}

/// The JSON of the message with this type URL and these bytes; object keys are sorted, so equal messages read equal.
/// Private keys and other inline secrets read `[redacted]`, as in Envoy's own dumps.
///
/// # Errors
/// [`JsonError::UnknownType`] for a type outside the pool, [`JsonError::Decode`] for bytes that are not of the type.
pub fn any_to_json(type_url: &str, body: &[u8]) -> Result<Value, JsonError> {
    let descriptor = descriptor(type_url)?;
    let type_name = descriptor.full_name().to_owned();
    let mut message = DynamicMessage::decode(descriptor, body)
        .map_err(|source| JsonError::Decode { type_name: type_name.clone(), source })?;
    foreign::wrap(&mut message);
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(true);
    let mut json = message
        .serialize_with_options(serde_json::value::Serializer, &options)
        .map_err(|source| JsonError::Json { type_name, path: String::new(), source })?;
    foreign::unwrap_json(&mut json);
    redaction::redact(&mut json);
    Ok(json)
}

/// The encoded message that this JSON describes; what [`any_to_json`] writes is read back to an equal
/// message, but for what was redacted.
///
/// # Errors
/// [`JsonError::UnknownType`] for a type outside the pool; [`JsonError::Json`] for a field that the type does not
/// have, or a value that the field does not take.
pub fn any_from_json(type_url: &str, json: &Value) -> Result<Bytes, JsonError> {
    let descriptor = descriptor(type_url)?;
    let type_name = descriptor.full_name().to_owned();
    let mut json = json.clone();
    foreign::wrap_json(&mut json);
    let mut track = serde_path_to_error::Track::new();
    let reader = serde_path_to_error::Deserializer::new(json, &mut track);
    let read = DynamicMessage::deserialize_with_options(descriptor, reader, &DeserializeOptions::new());
    let mut message = read.map_err(|source| {
        let path = track.path().to_string();
        // The message itself, or a place that nobody could name.
        let path = if path == "." || path.contains('?') { String::new() } else { path };
        JsonError::Json { type_name, path, source }
    })?;
    foreign::unwrap(&mut message);
    Ok(message.encode_to_vec().into())
}

fn at(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" at {path}") }
}

fn descriptor(type_url: &str) -> Result<MessageDescriptor, JsonError> {
    let name = type_url.rsplit('/').next().unwrap_or(type_url);
    pool().get_message_by_name(name).ok_or_else(|| JsonError::UnknownType(type_url.to_owned()))
}
