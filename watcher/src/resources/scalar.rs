//! Scalars of the routing kinds: durations, percentages, string matches.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration written as protobuf JSON or Go write it, such as `2s`, `1.5s`, `250ms`, `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// Text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration; write a number with a unit, such as \"2s\" or \"250ms\"")]
pub struct SpanError(String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || SpanError(text.to_owned());
        let mut rest = text;
        let mut nanos = 0f64;
        if rest == "0" {
            return Ok(Self(Duration::ZERO));
        }
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
            let number: f64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
            nanos += number
                * match &rest[..unit] {
                    "h" => 3.6e12,
                    "m" => 6e10,
                    "s" => 1e9,
                    "ms" => 1e6,
                    "us" | "µs" => 1e3,
                    "ns" => 1.0,
                    _ => return Err(error()),
                };
            rest = &rest[unit..];
        }
        // A protobuf duration reaches 10,000 years; longer than that is a slip of the pen.
        if !(0.0..3.2e20).contains(&nanos) {
            return Err(error());
        }
        Duration::try_from_secs_f64(nanos / 1e9).map(Self).map_err(|_| error())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0.as_secs_f64()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            // The longest that is of use is far shorter, and a bound makes rules about it cheap to check.
            "maxLength": 32,
            "pattern": r"^(0|(\d+(\.\d*)?|\.\d+)(h|m|s|ms|us|µs|ns)((\d+(\.\d*)?|\.\d+)(h|m|s|ms|us|µs|ns))*)$",
        })
    }
}

/// `percentage: {value: 12.5}`, from 0 to 100.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// The percentage.
    pub value: f64,
}

/// How a string is matched; exactly one field should be set, none means "is present".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// The whole string.
    pub exact: Option<String>,
    /// How the string begins.
    pub prefix: Option<String>,
    /// An RE2 regular expression that matches the whole string.
    pub regex: Option<String>,
}

/// String matches by key.
pub type StringMatches = BTreeMap<String, StringMatch>;

/// `port: {number: 80}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// The port number.
    pub number: u32,
}
