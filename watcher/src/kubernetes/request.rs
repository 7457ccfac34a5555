//! The exchanges with the API server that a follower needs: lists by pages, watches, and what is served.

use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, Response, StatusCode};
use kube::client::Body;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::Connection;
use super::kind::{Extent, Watched};
use super::lines::Lines;
use super::trouble::Trouble;

/// How long the head of an answer, or a page of a list, may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// After how long the server is asked to end a watch, so that no watch is for ever and watches spread over servers.
pub(super) const WATCH_FOR: Duration = Duration::from_secs(290);

const JSON: &str = "application/json";

/// Objects as their metadata alone, one by one.
const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

/// A list of objects as their metadata alone.
const METADATA_LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// How a watch begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum From<'a> {
    /// With everything that is there, and a bookmark after it.
    Everything,
    /// After this version of the kind's list.
    Version(&'a str),
}

/// A page of a list; its objects are not looked into.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(default)]
    pub(super) metadata: PageMetadata,
    #[serde(borrow, default)]
    pub(super) items: Option<Vec<&'a RawValue>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PageMetadata {
    pub(super) resource_version: String,
    pub(super) r#continue: String,
}

/// The bytes of a page of a list, to be read as [`Page`]; `subject` is a path with its query begun, as
/// [`Subject::locator`](super::subject::Subject::locator) has it.
pub(super) async fn page(
    connection: &Connection,
    (subject, extent): (&str, Extent),
    limit: u32,
    next: &str,
) -> Result<Bytes, Trouble> {
    let accept = match extent {
        Extent::Whole => JSON,
        Extent::Metadata => METADATA_LIST,
    };
    let query = if next.is_empty() { String::new() } else { format!("&continue={}", encoded(next)) };
    get(connection, &format!("{subject}limit={limit}{query}"), accept).await
}

/// Begins a watch.
pub(super) async fn watch(
    connection: &Connection,
    (subject, extent): (&str, Extent),
    from: From<'_>,
) -> Result<Lines, Trouble> {
    let accept = match extent {
        Extent::Whole => JSON,
        Extent::Metadata => METADATA_ONLY,
    };
    let seconds = WATCH_FOR.as_secs();
    let query = match from {
        From::Everything => "sendInitialEvents=true&resourceVersionMatch=NotOlderThan".to_owned(),
        From::Version(version) => format!("resourceVersion={}", encoded(version)),
    };
    let uri = format!("{subject}watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&{query}");
    let answer = ask(connection, &uri, accept).await?;
    Ok(Lines::new(answer.into_body()))
}

/// Begins a watch of all CustomResourceDefinitions, as metadata, with those that are there.
pub(super) async fn watch_definitions(connection: &Connection) -> Result<Lines, Trouble> {
    let seconds = WATCH_FOR.as_secs();
    let uri = format!("{DEFINITIONS}?watch=true&timeoutSeconds={seconds}");
    let answer = ask(connection, &uri, METADATA_ONLY).await?;
    Ok(Lines::new(answer.into_body()))
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The first of the versions that are read in which the kind is served.
pub(super) async fn negotiate(connection: &Connection, watched: &Watched) -> Result<&'static str, Trouble> {
    #[derive(Deserialize)]
    struct Resources {
        #[serde(default)]
        resources: Vec<Resource>,
    }
    #[derive(Deserialize)]
    struct Resource {
        name: String,
    }

    if !watched.custom {
        return Ok(watched.versions[0]);
    }
    for version in watched.versions {
        let body = match get(connection, &watched.group_path(version), JSON).await {
            Ok(body) => body,
            Err(Trouble::Absent) => continue,
            Err(trouble) => return Err(trouble),
        };
        let served: Resources = parse(&body)?;
        if served.resources.iter().any(|resource| resource.name == watched.plural) {
            return Ok(version);
        }
    }
    Err(if is_defined(connection, watched).await? { Trouble::Unserved } else { Trouble::Absent })
}

/// Whether the kind's definition is there, by the definition itself: what is served is told by caches, which know
/// nothing yet when the server has just started. A client that may not ask has to believe the caches.
async fn is_defined(connection: &Connection, watched: &Watched) -> Result<bool, Trouble> {
    match get(connection, &format!("{DEFINITIONS}/{}", watched.qualified()), METADATA_ONLY).await {
        Ok(_) => Ok(true),
        Err(Trouble::Absent | Trouble::Forbidden(_)) => Ok(false),
        Err(trouble) => Err(trouble),
    }
}

/// An answer that is JSON, as a value.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Trouble> {
    serde_json::from_slice(body)
        .map_err(|error| Trouble::Away(format!("the API server's answer is not what it should be: {error}")))
}

async fn get(connection: &Connection, uri: &str, accept: &'static str) -> Result<Bytes, Trouble> {
    let answer = ask(connection, uri, accept).await?;
    collect(answer.into_body()).await
}

async fn ask(connection: &Connection, uri: &str, accept: &'static str) -> Result<Response<Body>, Trouble> {
    let request = Request::get(uri).header(ACCEPT, accept).body(Body::empty()).map_err(Trouble::broken)?;
    let answer = timeout(ANSWER_WITHIN, connection.send(request)).await.map_err(|_| late())?;
    let answer = answer.map_err(|error| match error {
        kube::Error::Service(error) => Trouble::broken(error),
        error => Trouble::broken(error),
    })?;
    if answer.status() == StatusCode::OK {
        return Ok(answer);
    }
    let status = answer.status();
    let body = collect(answer.into_body()).await?;
    Err(Trouble::of_answer(status, &body))
}

async fn collect(body: Body) -> Result<Bytes, Trouble> {
    timeout(ANSWER_WITHIN, body.collect_bytes()).await.map_err(|_| late())?.map_err(Trouble::broken)
}

fn late() -> Trouble {
    Trouble::Away(format!("no answer from the API server within {ANSWER_WITHIN:?}"))
}

/// A value for a query; versions and tokens are opaque, and may hold anything.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn opaque_values_survive_a_query() {
        assert_eq!(encoded("12345"), "12345");
        assert_eq!(encoded("eyJ2=+/&"), "eyJ2%3D%2B%2F%26");
    }

    #[test]
    fn a_page_is_read_without_looking_into_its_objects() {
        let text =
            r#"{"kind":"List","metadata":{"resourceVersion":"7","continue":"x"},"items":[{"a": 1},[]]}"#;
        let page: Page<'_> = parse(text.as_bytes()).unwrap();
        assert_eq!((&*page.metadata.resource_version, &*page.metadata.r#continue), ("7", "x"));
        let items: Vec<_> = page.items.unwrap().into_iter().map(RawValue::get).collect();
        assert_eq!(items, [r#"{"a": 1}"#, "[]"]);
        // Go writes an empty list as null.
        assert!(parse::<Page<'_>>(br#"{"items":null}"#).unwrap().items.is_none());
    }
}
