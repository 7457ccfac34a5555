//! What is written to the API server: a status, an event, a lease.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{Method, Request};
use kube::client::Body;
use serde_json::Value;
use tokio::time::timeout;

use super::Connection;
use super::kind::WATCHED;
use super::request::encoded;
use super::trouble::Trouble;
use crate::{Kind, ObjectKey};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no such object.
    #[error("it is not there")]
    Absent,
    /// Somebody else was faster: the object is there already, or is another one than it was.
    #[error("somebody else was faster")]
    Conflict,
    /// We may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// Anything else: the API server is away, or does not take what it was given.
    #[error("{0}")]
    Refused(String),
}

/// One exchange of JSON with the API server; a patch is one of server-side apply, whatever the fields were before.
///
/// # Errors
/// The server does not do it, for the reason that is told.
pub async fn call(
    connection: &Connection,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Value, CallError> {
    let content = match method {
        Method::PATCH => "application/apply-patch+yaml",
        _ => "application/json",
    };
    let refused = |error: &dyn std::error::Error| CallError::Refused(error.to_string());
    let bytes = match body {
        Some(body) => serde_json::to_vec(body).map_err(|error| refused(&error))?,
        None => Vec::new(),
    };
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content);
    let request = request.body(Body::from(bytes)).map_err(|error| refused(&error))?;
    let exchange = async {
        let answer = connection.send(request).await.map_err(Trouble::broken)?;
        let status = answer.status();
        Ok::<_, Trouble>((status, answer.into_body().collect_bytes().await.map_err(Trouble::broken)?))
    };
    let late = |_| CallError::Refused(format!("no answer from the API server within {ANSWER_WITHIN:?}"));
    let (status, body) = timeout(ANSWER_WITHIN, exchange).await.map_err(late)?.map_err(of_trouble)?;
    match status.as_u16() {
        200..=299 => serde_json::from_slice(&body).map_err(|error| refused(&error)),
        409 => Err(CallError::Conflict),
        _ => Err(of_trouble(Trouble::of_answer(status, &body))),
    }
}

fn of_trouble(trouble: Trouble) -> CallError {
    match trouble {
        Trouble::Absent | Trouble::Unserved => CallError::Absent,
        Trouble::Forbidden(reason) => CallError::Forbidden(reason),
        Trouble::Away(reason) => CallError::Refused(reason),
        Trouble::Expired | Trouble::NoStreaming => {
            CallError::Refused("the API server asks to begin anew".to_owned())
        }
    }
}

/// Whether a kind is one whose objects have a status that says what became of them.
pub fn has_conditions(kind: Kind) -> bool {
    WATCHED.iter().any(|watched| watched.custom && watched.kind == kind)
}

/// The path of all objects of a kind with conditions, in `api_version`, such as `networking.istio.io/v1`.
pub fn kind_path(kind: Kind, api_version: &str) -> Option<String> {
    let watched = WATCHED.iter().find(|watched| watched.custom && watched.kind == kind)?;
    Some(format!("/apis/{api_version}/{}", watched.plural))
}

/// The path of the status of an object of such a kind.
pub fn status_path(key: &ObjectKey, api_version: &str) -> Option<String> {
    let watched = WATCHED.iter().find(|watched| watched.custom && watched.kind == key.kind)?;
    let (namespace, name) = (encoded(&key.namespace), encoded(&key.name));
    Some(format!("/apis/{api_version}/namespaces/{namespace}/{}/{name}/status", watched.plural))
}
