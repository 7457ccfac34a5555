//! Takes what is confidential out of JSON: the fields that Envoy's API marks as sensitive, by their names.
//!
//! The marks themselves are options that the committed descriptors leave out. A path of a file is no secret and stays.

use serde_json::Value;

/// Fields that hold confidential data sources, of `TlsCertificate`, `TlsSessionTicketKeys` and `GenericSecret`.
const SENSITIVE: [&str; 6] = ["private_key", "pkcs12", "password", "keys", "secret", "secrets"];
/// What stands in their place, and the same in base64 where bytes are expected.
const PLACEHOLDER: &str = "[redacted]";
const PLACEHOLDER_BYTES: &str = "W3JlZGFjdGVkXQ==";

/// Replaces every inline value below a sensitive field.
pub(super) fn redact(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                if SENSITIVE.contains(&name.as_str()) {
                    conceal(value);
                } else {
                    redact(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn conceal(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "inline_bytes" => *value = PLACEHOLDER_BYTES.into(),
                    "inline_string" => *value = PLACEHOLDER.into(),
                    _ => conceal(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(conceal),
        _ => {}
    }
}
