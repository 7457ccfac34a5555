//! A JSON schema to the structural form that the API server asks for: one type for each value, nothing optional by a
//! union with null, no references, no defaults.

use serde_json::{Map, Value, json};

/// Makes a schema structural.
pub(super) fn structure(schema: &mut Value) {
    if *schema == Value::Bool(true) {
        *schema = json!({});
    }
    let Some(object) = schema.as_object_mut() else { return };
    // Defaults of ours would be written into everyone's objects.
    for key in ["default", "title", "$schema"] {
        object.remove(key);
    }
    without_null(object);
    integer(object);
    // A value of which nothing is said is an object that someone else describes.
    if !object.contains_key("type") {
        object.insert("type".to_owned(), json!("object"));
        object.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(structure);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            structure(inner);
        }
    }
}

/// A field that may be left out is one that is not required; that it may be null is not said.
fn without_null(object: &mut Map<String, Value>) {
    if let Some(types) = object.get("type").and_then(Value::as_array)
        && let Some(only) = types.iter().find(|name| *name != "null").cloned()
    {
        object.insert("type".to_owned(), only);
    }
    if let Some(Value::Array(choices)) = object.remove("anyOf")
        && let Some(Value::Object(only)) = choices.into_iter().find(|choice| choice["type"] != "null")
    {
        for (key, value) in only {
            // The field's own description says more than its type's.
            object.entry(key).or_insert(value);
        }
    }
}

/// Bounds in place of Rust's integer formats, of which the API server knows two.
fn integer(object: &mut Map<String, Value>) {
    let bounds = match object.get("format").and_then(Value::as_str) {
        Some("uint8") => Some((0, u64::from(u8::MAX))),
        Some("uint16") => Some((0, u64::from(u16::MAX))),
        Some("uint32") => Some((0, u64::from(u32::MAX))),
        // Numbers above this are not exact in JSON.
        Some("uint64") => Some((0, (1 << 53) - 1)),
        _ => None,
    };
    if let Some((least, most)) = bounds {
        object.insert("format".to_owned(), json!("int64"));
        object.insert("minimum".to_owned(), json!(least));
        object.insert("maximum".to_owned(), json!(most));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unions_with_null_become_what_they_are_without_it() {
        let mut schema = json!({
            "title": "T", "type": "object", "default": {},
            "properties": {
                "count": {"type": ["integer", "null"], "format": "uint32", "minimum": 0, "default": null},
                "inner": {
                    "description": "Ours.",
                    "anyOf": [{"type": "object", "description": "Its.", "properties": {}}, {"type": "null"}],
                },
                "list": {"type": "array", "items": {"type": ["string", "null"]}},
                "map": {"type": "object", "additionalProperties": {"type": "number", "format": "double"}},
                "any": {"type": "array", "items": true},
            },
        });
        structure(&mut schema);
        let expected = json!({
            "type": "object",
            "properties": {
                "count": {"type": "integer", "format": "int64", "minimum": 0, "maximum": 4_294_967_295_u32},
                "inner": {"description": "Ours.", "type": "object", "properties": {}},
                "list": {"type": "array", "items": {"type": "string"}},
                "map": {"type": "object", "additionalProperties": {"type": "number", "format": "double"}},
                "any": {
                    "type": "array",
                    "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                },
            },
        });
        assert_eq!(schema, expected);
    }
}
