//! Runs the conversations in `tests/scenarios`: each file is one session, read from top to bottom.
//!
//! ```text
//! session sotw envoy                        which dialect, which client (envoy, grpc or unknown); then features: ttl,
//!                                           wrapped; and bytes=9, the size of a response
//! snapshot 1 Cluster{a=1 b=1->Endpoint/b}   a new, unrelated snapshot; a resource is name=content->references
//! change 2 Cluster{a=2 -b}                  a successor of the snapshot
//! > Cluster [a *] ack                       SotW request: names (default: as before); ack, nack "words", or neither
//! > Cluster +a -b {c=1} ack                 delta request: subscribe, unsubscribe, initial versions
//! > Cluster nonce=bogus version=last        other nonces: none, bogus, old; other versions: last, none
//! > Cluster nonce=old error="words"         an error with that nonce
//! < Cluster a=2 -b ?c ~d                    the next response, in full: sent, removed, missing, heartbeat
//! spared Cluster/a=2 Cluster/b=2          contents that the client is not to be tried with
//! silence                                   there is no further response
//! ! acked Cluster 2                         an event since the last request
//! tick 5s                                   time passes
//! idle                                      no timer is running
//! settled 2 / unsettled                     whether the client is known to have a revision
//! reconnect                                 a new session; the client remembers versions
//! reconnect remembered                      and the server, what the client had
//! ```

#[path = "scenarios/script.rs"]
mod script;

use std::fs;
use std::path::Path;

#[test]
fn every_conversation_goes_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of scenarios")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    assert!(!paths.is_empty(), "no scenario in {}", folder.display());
    let mut failures = Vec::new();
    for path in &paths {
        let text = fs::read_to_string(path).expect("a readable scenario");
        if let Err(failure) = script::run(&text) {
            failures.push(format!("{}:{failure}", path.file_name().expect("a file name").display()));
        }
    }
    assert!(failures.is_empty(), "{} of {} failed:\n{}", failures.len(), paths.len(), failures.join("\n"));
}
