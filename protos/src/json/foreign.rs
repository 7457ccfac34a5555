//! `Any`s of types outside the pool.
//!
//! The JSON mapper refuses them, so on the way out each is swapped for a message of our own that holds its URL and
//! bytes, and on the way in it is swapped back.

use prost::Message;
use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value as Field};
use serde_json::{Value, json};

use super::pool::{FOREIGN, pool};

const ANY: &str = "google.protobuf.Any";

/// Swaps every `Any` of an unknown type inside `message` for the stand-in.
pub(super) fn wrap(message: &mut DynamicMessage) {
    each_any(message, &mut |url, value| {
        if is_known(url) {
            // Known types are opened, for there may be unknown ones inside.
            let mut inner = DynamicMessage::decode(pool().get_message_by_name(name_of(url))?, value).ok()?;
            wrap(&mut inner);
            return Some((url.to_owned(), inner.encode_to_vec()));
        }
        let descriptor = pool().get_message_by_name(FOREIGN)?;
        let mut foreign = DynamicMessage::new(descriptor);
        foreign.set_field_by_name("type_url", Field::String(url.to_owned()));
        foreign.set_field_by_name("value", Field::Bytes(value.to_vec().into()));
        Some((foreign_url(), foreign.encode_to_vec()))
    });
}

/// Swaps every stand-in inside `message` back.
pub(super) fn unwrap(message: &mut DynamicMessage) {
    each_any(message, &mut |url, value| {
        let mut inner = DynamicMessage::decode(pool().get_message_by_name(name_of(url))?, value).ok()?;
        if url != foreign_url() {
            unwrap(&mut inner);
            return Some((url.to_owned(), inner.encode_to_vec()));
        }
        let url = inner.get_field_by_name("type_url")?.as_str()?.to_owned();
        let value = inner.get_field_by_name("value")?.as_bytes()?.to_vec();
        Some((url, value))
    });
}

/// Writes stand-ins in JSON as `{"@type", "value"}`.
pub(super) fn unwrap_json(json: &mut Value) {
    each_object(json, &|object| {
        if object.get("@type").and_then(Value::as_str) == Some(&foreign_url()) {
            let url = object.get("type_url").cloned().unwrap_or_default();
            let value = object.get("value").cloned().unwrap_or_else(|| json!(""));
            *object = serde_json::Map::from_iter([("@type".to_owned(), url), ("value".to_owned(), value)]);
        }
    });
}

/// Reads `{"@type", "value"}` of an unknown type as a stand-in.
pub(super) fn wrap_json(json: &mut Value) {
    each_object(json, &|object| {
        let Some(url) = object.get("@type").and_then(Value::as_str).filter(|url| !is_known(url)) else {
            return;
        };
        let value = object.get("value").cloned();
        // Anything but bytes under an unknown type is left for the mapper to refuse by its name.
        if object.len() == 2 && value.as_ref().is_some_and(Value::is_string) {
            let url = json!(url);
            *object = serde_json::Map::from_iter([
                ("@type".to_owned(), json!(foreign_url())),
                ("type_url".to_owned(), url),
                ("value".to_owned(), value.unwrap_or_default()),
            ]);
        }
    });
}

fn foreign_url() -> String {
    format!("type.googleapis.com/{FOREIGN}")
}

fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn is_known(url: &str) -> bool {
    pool().get_message_by_name(name_of(url)).is_some()
}

/// From the URL and bytes of an `Any` to those that take their place.
type Swap<'a> = &'a mut dyn FnMut(&str, &[u8]) -> Option<(String, Vec<u8>)>;

/// Calls `swap` with the URL and bytes of every `Any` in `message`, and puts what it returns in their place.
fn each_any(message: &mut DynamicMessage, swap: Swap<'_>) {
    if message.descriptor().full_name() == ANY {
        let url = message.get_field_by_name("type_url").and_then(|url| url.as_str().map(str::to_owned));
        let value = message.get_field_by_name("value").and_then(|value| value.as_bytes().cloned());
        if let Some((url, value)) = url.filter(|url| !url.is_empty()).zip(value)
            && let Some((url, value)) = swap(&url, &value)
        {
            message.set_field_by_name("type_url", Field::String(url));
            message.set_field_by_name("value", Field::Bytes(value.into()));
        }
        return;
    }
    for (_, field) in message.fields_mut() {
        match field {
            Field::Message(inner) => each_any(inner, swap),
            Field::List(items) => {
                for item in items {
                    if let Field::Message(inner) = item {
                        each_any(inner, swap);
                    }
                }
            }
            Field::Map(entries) => {
                let entries: &mut std::collections::HashMap<MapKey, Field> = entries;
                for item in entries.values_mut() {
                    if let Field::Message(inner) = item {
                        each_any(inner, swap);
                    }
                }
            }
            _ => {}
        }
    }
}

fn each_object(json: &mut Value, change: &dyn Fn(&mut serde_json::Map<String, Value>)) {
    match json {
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|inner| each_object(inner, change));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| each_object(inner, change)),
        _ => {}
    }
}
