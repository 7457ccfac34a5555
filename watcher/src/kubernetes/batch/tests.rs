#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use super::*;
use crate::Object;
use crate::resources::{Service, WithMeta};

fn apply(name: &str, generation: i64) -> Change {
    let mut service = WithMeta::<Service>::default();
    service.meta.name = name.into();
    service.meta.generation = Some(generation);
    Change::Apply(Object::Service(service.into()))
}

fn delete(name: &str) -> Change {
    Change::Delete(ObjectKey::new(Kind::Service, "", name))
}

fn told(changes: &[Change]) -> Vec<String> {
    let told = changes.iter().map(|change| match change {
        Change::Apply(object) => format!("+{}{}", object.meta().name, object.meta().generation.unwrap()),
        Change::Delete(key) => format!("-{}", key.name),
        Change::Problems { scope, .. } => scope.to_string(),
        Change::Synced(name) => name.to_string(),
    });
    told.collect()
}

#[test]
fn the_last_word_on_an_object_stays_and_what_is_gone_goes_last() {
    let changes = vec![delete("a"), apply("b", 1), delete("c"), apply("c", 1), apply("b", 2), delete("d")];
    assert_eq!(told(&in_order(changes)), ["+c1", "+b2", "-a", "-d"]);
    assert_eq!(told(&in_order(vec![apply("a", 1), delete("a")])), ["-a"]);
}

#[tokio::test]
async fn synced_is_said_once_after_the_last_kind() {
    let (signals, receiver) = mpsc::channel(64);
    let (batches, mut received) = mpsc::channel(64);
    let forwarding = tokio::spawn(Joined::new("kubernetes:test".into(), receiver).forward(batches));
    let seen = Instant::now();
    let (last, others) = WATCHED.split_last().unwrap();
    for watched in others {
        let batch = Batch { seen, changes: vec![apply(watched.plural, 1)] };
        signals.send(Signal::Changes(batch)).await.unwrap();
        signals.send(Signal::Settled(watched.kind)).await.unwrap();
    }
    let mut before = 0;
    while before < others.len() {
        let batch = received.recv().await.unwrap();
        assert!(!batch.changes.iter().any(|change| matches!(change, Change::Synced(_))));
        before += batch.changes.len();
    }
    // The last kind may have nothing at all.
    signals.send(Signal::Settled(last.kind)).await.unwrap();
    assert_eq!(told(&received.recv().await.unwrap().changes), ["kubernetes:test"]);
    signals.send(Signal::Settled(last.kind)).await.unwrap();
    let later = Batch { seen: seen + Duration::from_secs(1), changes: vec![delete("x")] };
    signals.send(Signal::Changes(later)).await.unwrap();
    assert_eq!(told(&received.recv().await.unwrap().changes), ["-x"]);
    drop(signals);
    forwarding.await.unwrap();
}
