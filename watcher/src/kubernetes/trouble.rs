//! Why an exchange with the API server came to nothing, by what has to be done about it.

use std::error::Error;

use http::StatusCode;
use serde::Deserialize;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The server does not serve the kind in a version that is read.
    Absent,
    /// The server does serve the kind's definition, and none of the versions that are read, or none yet.
    Unserved,
    /// The client may not do this (403), in the server's words.
    Forbidden(String),
    /// The server no longer knows the version that a watch was to go on from (410).
    Expired,
    /// The server cannot stream a list.
    NoStreaming,
    /// Everything that passes by itself, as far as one can know: no connection, overload, wrong credentials.
    Away(String),
}

/// The API server's answer to what it does not do, and what a watch ends with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    code: u16,
    message: String,
}

impl Trouble {
    /// The trouble behind an answer that is not 200.
    pub(super) fn of_answer(status: StatusCode, body: &[u8]) -> Self {
        let refusal: Refusal = serde_json::from_slice(body).unwrap_or_default();
        Self::of(status.as_u16(), refusal.message)
    }

    /// The trouble behind a watch's error event.
    pub(super) fn of_event(object: &str) -> Self {
        let refusal: Refusal = serde_json::from_str(object).unwrap_or_default();
        Self::of(refusal.code, refusal.message)
    }

    fn of(code: u16, message: String) -> Self {
        match code {
            404 => Self::Absent,
            403 => Self::Forbidden(message),
            410 => Self::Expired,
            // Servers without the feature refuse the parameter as invalid or unknown.
            400 | 422 if message.contains("sendInitialEvents") => Self::NoStreaming,
            401 => Self::Away(format!("the API server does not accept the credentials (401): {message}")),
            _ => Self::Away(format!("the API server answers {code}: {message}")),
        }
    }

    /// A connection that cannot be made, or breaks.
    pub(super) fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut text = error.to_string();
        let mut cause = error.source();
        // What is of use is mostly the innermost reason.
        while let Some(error) = cause {
            let reason = error.to_string();
            if !text.contains(&reason) {
                text = format!("{text}: {reason}");
            }
            cause = error.source();
        }
        Self::Away(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_is_to_be_done() {
        let of = |code, message: &str| {
            let body = format!(r#"{{"kind":"Status","code":{code},"message":"{message}"}}"#);
            Trouble::of_answer(StatusCode::from_u16(code).unwrap_or_default(), body.as_bytes())
        };
        assert_eq!(of(404, "not found"), Trouble::Absent);
        assert_eq!(of(403, "no"), Trouble::Forbidden("no".to_owned()));
        assert_eq!(of(410, "too old"), Trouble::Expired);
        let message = "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch unless the WatchList \
                       feature gate is enabled";
        assert_eq!(of(422, message), Trouble::NoStreaming);
        assert!(matches!(of(422, "something else"), Trouble::Away(_)));
        assert!(matches!(of(401, "Unauthorized"), Trouble::Away(text) if text.contains("credentials")));
        assert!(matches!(of(503, "starting"), Trouble::Away(text) if text.contains("starting")));
        assert!(matches!(Trouble::of_answer(StatusCode::BAD_GATEWAY, b"<html>"), Trouble::Away(_)));
        assert_eq!(Trouble::of_event(r#"{"code":410,"reason":"Expired"}"#), Trouble::Expired);
    }
}
