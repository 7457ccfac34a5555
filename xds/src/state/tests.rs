#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use pilotage_watcher::resources::{Service, WithMeta};

use super::*;

fn service(name: &str, edition: i64) -> Object {
    let mut service = WithMeta::<Service>::default();
    service.meta.name = name.into();
    service.meta.generation = Some(edition);
    Object::Service(service.into())
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Service, "", name)
}

fn broken(scope: &str, object: Option<&str>) -> Change {
    let mut problem = Problem::new(Code::Syntax, "broken");
    problem.object = object.map(key);
    Change::Problems { scope: scope.into(), problems: vec![problem] }
}

fn solved(scope: &str) -> Change {
    Change::Problems { scope: scope.into(), problems: Vec::new() }
}

fn synced() -> Change {
    Change::Synced("source".into())
}

/// A process's life: what it was told in each batch, and what it passed on of each; it ends with what is written.
fn life(folder: &Path, batches: Vec<Vec<Change>>) -> Vec<Vec<String>> {
    let mut state =
        LastGood::open(folder, "source".into(), Positions::default(), Endpoints::Fleeting).unwrap();
    let mut passed = Vec::new();
    for changes in batches {
        let mut batch = Batch { seen: Instant::now(), changes };
        state.take(&mut batch);
        let told = batch.changes.iter().map(|change| match change {
            Change::Apply(object) => format!("+{}{}", object.meta().name, object.meta().generation.unwrap()),
            Change::Delete(key) => format!("-{}", key.name),
            Change::Problems { problems, .. } if problems.is_empty() => "solved".to_owned(),
            Change::Problems { problems, .. } => problems[0].code.to_string(),
            Change::Synced(_) => "synced".to_owned(),
        });
        passed.push(told.collect());
    }
    if state.before.is_empty() {
        save(&state.file, &state.good).unwrap();
    }
    passed
}

/// Two Services that are good, written down.
fn written() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let first = vec![Change::Apply(service("a", 1)), Change::Apply(service("b", 1)), synced()];
    assert_eq!(life(folder.path(), vec![first]), [["+a1", "+b1", "synced"]]);
    folder
}

#[test]
fn what_is_broken_at_a_restart_is_as_it_was_and_what_is_gone_is_gone() {
    let folder = written();
    let start = || vec![broken("s", Some("a")), synced()];
    assert_eq!(life(folder.path(), vec![start()]), [["syntax", "kept-last-good", "+a1", "synced"]]);
    // It stays what it was over another restart, and `b` is not remembered any more.
    let again = vec![broken("s", Some("a")), broken("t", Some("b")), synced()];
    assert_eq!(life(folder.path(), vec![again]), [["syntax", "syntax", "kept-last-good", "+a1", "synced"]]);
}

#[test]
fn a_kind_that_cannot_be_read_is_as_it_was() {
    let folder = written();
    let scope = kind_scope(Kind::Service).unwrap();
    let start = vec![broken(&scope, None), synced()];
    assert_eq!(
        life(folder.path(), vec![start]),
        [["syntax", "kept-last-good", "+a1", "kept-last-good", "+b1", "synced"]]
    );
}

#[test]
fn what_was_restored_and_is_corrected_is_what_the_source_says() {
    let folder = written();
    let start = vec![broken("s", Some("a")), synced()];
    let corrected = vec![Change::Apply(service("a", 2)), solved("s")];
    let passed = life(folder.path(), vec![start, corrected]);
    assert_eq!(passed[1], ["+a2", "solved", "solved"]);
}

#[test]
fn what_was_restored_and_is_neither_broken_nor_there_any_more_is_gone() {
    let folder = written();
    let start = vec![broken("s", Some("a")), synced()];
    let passed = life(folder.path(), vec![start, vec![solved("s")], vec![solved("s")]]);
    assert_eq!(passed[1], ["solved", "solved", "-a"]);
    assert_eq!(passed[2], ["solved"]);
}

#[test]
fn a_start_that_does_not_get_far_costs_nothing() {
    let folder = written();
    life(folder.path(), vec![vec![Change::Apply(service("a", 2))]]);
    let start = vec![broken("s", Some("b")), synced()];
    assert_eq!(life(folder.path(), vec![start]), [["syntax", "kept-last-good", "+b1", "synced"]]);
}

#[test]
fn a_file_that_is_not_ours_is_left_out() {
    let folder = written();
    let file = folder.path().join("kubernetes.json");
    for text in ["{", r#"{"format": 2, "objects": []}"#] {
        std::fs::write(&file, text).unwrap();
        assert!(load(&file).is_err(), "{text}");
        assert_eq!(life(folder.path(), vec![vec![synced()]]), [["synced"]]);
    }
    std::fs::write(&file, r#"{"format": 1, "objects": [{"scope": "", "object": {"Unheard": {}}}]}"#).unwrap();
    assert!(load(&file).unwrap().is_empty());
}

#[tokio::test]
async fn what_passes_is_written_when_the_source_ends() {
    let folder = tempfile::tempdir().unwrap();
    let state =
        LastGood::open(folder.path(), "source".into(), Positions::default(), Endpoints::Fleeting).unwrap();
    let file = state.file.clone();
    let ((from, source), (to, mut pipeline)) = (mpsc::channel(1), mpsc::channel(8));
    let passing = tokio::spawn(state.pass_on(source, to));
    let batch = Batch { seen: Instant::now(), changes: vec![Change::Apply(service("a", 7)), synced()] };
    from.send(batch).await.unwrap();
    assert_eq!(pipeline.recv().await.unwrap().changes.len(), 2);
    drop(from);
    passing.await.unwrap();
    assert_eq!(load(&file).unwrap()[&key("a")].object, service("a", 7));
}
