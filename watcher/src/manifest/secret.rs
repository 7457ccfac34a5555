//! The values of a Secret's manifest. They are taken out of the tree by hand: what serde says of a value that it does
//! not take is the value itself, and no message may have that.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::node::{Node, Value};
use crate::resources::convert::Entries;
use crate::{Code, Problem};

/// All of a Secret but its values.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    pub(super) metadata: ObjectMeta,
    #[serde(rename = "type")]
    _type: IgnoredAny,
    #[serde(rename = "immutable")]
    _immutable: IgnoredAny,
    #[serde(rename = "data")]
    _data: IgnoredAny,
    #[serde(rename = "stringData")]
    _string_data: IgnoredAny,
}

/// The decoded values by key, those of `stringData` before those of `data`; and what is wrong with the form.
pub(super) fn entries(node: &Node) -> (Entries, Vec<Problem>) {
    let mut found = Entries::new();
    let mut problems = Vec::new();
    for (field, is_encoded) in [("data", true), ("stringData", false)] {
        let Some(values) = node.get(field).filter(|values| values.value != Value::Null) else { continue };
        let Value::Mapping(values) = &values.value else {
            problems.push(wrong(field.to_owned(), "expected a mapping of strings"));
            continue;
        };
        for (key, value) in values {
            let Some(text) = value.as_str() else {
                if value.value != Value::Null {
                    problems.push(wrong(format!("{field}[{:?}]", key.text), "expected a string"));
                }
                continue;
            };
            let decoded = match is_encoded {
                false => Ok(text.as_bytes().to_vec()),
                true => {
                    // Tools wrap base64 at 64 or 76 columns, and YAML folds the lines into blanks.
                    let text: String = text.split_ascii_whitespace().collect();
                    STANDARD.decode(text).map_err(|_| "is not base64".to_owned())
                }
            };
            found.insert(key.text.clone(), decoded);
        }
    }
    (found, problems)
}

fn wrong(path: String, message: &str) -> Problem {
    let problem = Problem::new(Code::WrongType, message).hint("put values in quotes, or use `|` blocks");
    Problem { path, ..problem }
}
