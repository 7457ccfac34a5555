//! Tells followers when a CustomResourceDefinition has come, changed or gone, so that a kind that was absent is picked
//! up at once. It only ever says "look again": what is served is for each follower to find out.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Connection;
use super::kind::WATCHED;
use super::request::{WATCH_FOR, watch_definitions};
use super::trouble::Trouble;

/// A client that may not watch definitions is not going to be allowed every second.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Before a watch that ended is begun again.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Event {
    object: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

/// Counts `changed` up with every event of a definition of ours, for ever.
pub(super) async fn watch(connection: Connection, changed: watch::Sender<u64>) {
    let names: Vec<_> =
        WATCHED.iter().filter(|watched| watched.custom).map(|watched| watched.qualified()).collect();
    loop {
        let pause = match follow(&connection, &names, &changed).await {
            Err(Trouble::Forbidden(_)) => REFUSED_FOR,
            // Followers see for themselves that the server is away, and say so.
            Ok(()) | Err(_) => PAUSE,
        };
        sleep(pause).await;
    }
}

async fn follow(
    connection: &Connection,
    names: &[String],
    changed: &watch::Sender<u64>,
) -> Result<(), Trouble> {
    // Every watch begins with the definitions that are there, so that nothing is missed between two of them.
    let mut lines = watch_definitions(connection).await?;
    while let Ok(Some(line)) = timeout(WATCH_FOR * 2, lines.next()).await.unwrap_or(Ok(None)) {
        let event: Event = match serde_json::from_slice(&line) {
            Ok(event) => event,
            Err(_) => return Ok(()),
        };
        if names.contains(&event.object.metadata.name) {
            changed.send_modify(|count| *count += 1);
        }
    }
    Ok(())
}
