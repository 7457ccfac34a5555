//! Files that are broken, half written, emptied or in conflict: what was good stays.

use std::fs;
use std::time::Duration;

use pilotage_watcher::directory::Options;
use pilotage_watcher::{Kind, ObjectKey};

use crate::harness::{Live, PATIENCE, service};

#[tokio::test]
async fn a_broken_file_keeps_its_objects_and_hurts_no_other() {
    let two = format!("{}---\n{}", service("a", 80), service("b", 81));
    let mut live = Live::open(|root| fs::write(root.join("ab.yaml"), &two).unwrap()).await;

    live.write("ab.yaml", &two[..two.len() - 30]);
    live.until("half a file", |live| live.codes().contains(&"kept-last-good")).await;
    assert_eq!((live.port("a"), live.port("b")), (Some(80), Some(81)));

    live.write("ab.yaml", &two.replace("port: 81", "port: eighty").replace("port: 80", "port: 8080"));
    live.until("the good document of a bad file", |live| live.port("a") == Some(8080)).await;
    assert_eq!(live.port("b"), Some(81), "the bad document keeps its object");
    assert_eq!(live.codes(), ["kept-last-good", "wrong-type"]);

    live.write("ab.yaml", "");
    live.until("an emptied file", |live| live.codes().contains(&"empty-file")).await;
    live.write("c.yaml", &service("c", 82));
    live.until("another file", |live| live.names() == ["a", "b", "c"]).await;

    live.write("ab.yaml", "\tx: [");
    live.until("no YAML", |live| live.codes().contains(&"tab-indent")).await;
    fs::write(live.root.join("ab.yaml"), [0xff, 0xfe, 0x61]).unwrap();
    live.until("no text", |live| live.codes().contains(&"syntax")).await;
    assert_eq!(live.names(), ["a", "b", "c"]);

    live.write("ab.yaml", &service("b", 83));
    live.until("a repaired file", |live| live.port("b") == Some(83)).await;
    assert_eq!(live.names(), ["b", "c"], "what a good file no longer has is gone");
    assert_eq!(live.codes(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_document_that_says_nothing_of_itself_deletes_nothing() {
    let two = format!("{}---\n{}", service("a", 80), service("b", 81));
    let mut live = Live::open(|root| fs::write(root.join("ab.yaml"), &two).unwrap()).await;
    live.write("ab.yaml", &format!("{}---\n{{ kind: [\n", service("a", 8080)));
    live.until("an edit beside rubbish", |live| live.port("a") == Some(8080)).await;
    assert_eq!(live.port("b"), Some(81));
    // A comment in its place is a decision.
    live.write("ab.yaml", &format!("{}---\n# b: retired\n", service("a", 8080)));
    live.until("a document removed", |live| live.names() == ["a"]).await;
}

#[tokio::test]
async fn of_two_files_with_one_object_the_first_is_served() {
    let mut live = Live::open(|root| {
        fs::write(root.join("b.yaml"), format!("# second\n{}", service("shop", 81))).unwrap();
    })
    .await;
    assert_eq!(live.port("shop"), Some(81));
    live.write("a.yaml", &service("shop", 80));
    live.until("the first by path", |live| live.port("shop") == Some(80)).await;
    let second = live.root.join("b.yaml").display().to_string();
    let problem = &live.problems[&second][0];
    assert_eq!(problem.code.name(), "duplicate-object");
    assert_eq!(problem.position.as_ref().unwrap().to_string(), format!("{second}:5:9"));
    assert!(problem.message.contains("a.yaml:4:9"), "{problem}");

    fs::remove_file(live.root.join("a.yaml")).unwrap();
    live.until("the other takes over", |live| live.port("shop") == Some(81)).await;
    assert!(live.deleted.is_empty(), "a takeover is no deletion");
    assert_eq!(live.codes(), Vec::<&str>::new());
}

#[tokio::test]
async fn positions_follow_the_text_and_objects_do_not() {
    let mut live = Live::open(|root| fs::write(root.join("a.yaml"), service("a", 80)).unwrap()).await;
    let key = ObjectKey::new(Kind::Service, "default", "a");
    let file = live.root.join("a.yaml").display().to_string();
    let place = |live: &Live, path: &str| live.positions.locate(&key, path).unwrap().to_string();
    assert_eq!(place(&live, "spec.ports[0].port"), format!("{file}:8:11"));
    assert_eq!(place(&live, "spec.ports[0].targetPort"), format!("{file}:7:5"), "the nearest ancestor");
    assert_eq!(place(&live, ""), format!("{file}:1:1"));

    let batches = live.batches;
    live.write("a.yaml", &format!("# one\n# two\n{}", service("a", 80)));
    live.barrier().await;
    assert_eq!(place(&live, "spec.ports[0].port"), format!("{file}:10:11"));
    assert_eq!(live.batches, batches + 2, "a comment is no change; the barrier is two");
}

#[tokio::test]
async fn a_folder_that_vanishes_keeps_everything() {
    let mut live = Live::open(|root| fs::write(root.join("a.yaml"), service("a", 80)).unwrap()).await;
    let aside = live.root.with_file_name("aside");
    fs::rename(&live.root, &aside).unwrap();
    live.until("a vanished folder", |live| live.codes() == ["unreadable"]).await;
    assert_eq!(live.names(), ["a"]);
    fs::write(aside.join("b.yaml"), service("b", 81)).unwrap();
    fs::rename(&aside, &live.root).unwrap();
    live.until("its return", |live| live.names() == ["a", "b"]).await;
    assert_eq!(live.codes(), Vec::<&str>::new());
    live.write("a.yaml", &service("a", 82));
    live.until("that it is followed again", |live| live.port("a") == Some(82)).await;
}

#[tokio::test]
async fn a_link_that_leads_back_is_told_and_not_followed() {
    let live = Live::open(|root| {
        fs::write(root.join("a.yaml"), service("a", 80)).unwrap();
        std::os::unix::fs::symlink(root, root.join("loop")).unwrap();
    })
    .await;
    assert_eq!((live.names(), live.codes()), (vec!["a"], vec!["unreadable"]));
}

#[tokio::test]
async fn a_link_to_a_file_elsewhere_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (root, elsewhere) = (folder.path().join("manifests"), folder.path().join("elsewhere"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("a.yaml"), service("a", 80)).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("a.yaml"), root.join("a.yaml")).unwrap();
    let mut live = Live::follow(folder, root).await;
    assert_eq!(live.port("a"), Some(80));
    fs::write(elsewhere.join("a.yaml"), service("a", 81)).unwrap();
    live.until("an edit of the target", |live| live.port("a") == Some(81)).await;
}

#[tokio::test]
async fn an_editor_that_moves_the_old_file_away_first_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), service("a", 80)).unwrap();
    // However slow this test's own thread is.
    let options = Options { absence: PATIENCE, ..Options::new(folder.path()) };
    let mut live = Live::with(folder, options).await;
    fs::rename(live.root.join("a.yaml"), live.root.join("a.yaml~")).unwrap();
    live.says_nothing_for(Duration::from_millis(100)).await;
    fs::rename(live.root.join("a.yaml~"), live.root.join("a.yaml")).unwrap();
    for port in 81..90 {
        fs::rename(live.root.join("a.yaml"), live.root.join("a.yaml~")).unwrap();
        live.write("a.yaml", &service("a", port));
        fs::remove_file(live.root.join("a.yaml~")).unwrap();
        live.until("a save", |live| live.port("a") == Some(port)).await;
        live.write(".a.yaml.tmp", &service("a", port + 100));
        fs::rename(live.root.join(".a.yaml.tmp"), live.root.join("a.yaml")).unwrap();
        live.until("a save by renaming", |live| live.port("a") == Some(port + 100)).await;
    }
    assert!(live.deleted.is_empty());
}

#[tokio::test]
async fn a_link_to_nowhere_keeps_its_objects() {
    let mut live = Live::open(|root| {
        fs::write(root.join("target.txt"), service("a", 80)).unwrap();
        std::os::unix::fs::symlink("target.txt", root.join("a.yaml")).unwrap();
    })
    .await;
    fs::rename(live.root.join("target.txt"), live.root.join("aside.txt")).unwrap();
    live.until("a dangling link", |live| live.codes() == ["unreadable"]).await;
    assert_eq!(live.names(), ["a"]);
    fs::write(live.root.join("target.txt"), service("a", 81)).unwrap();
    fs::remove_file(live.root.join("aside.txt")).unwrap();
    live.until("its repair", |live| live.port("a") == Some(81)).await;
    assert_eq!(live.codes(), Vec::<&str>::new());
}

/// Descriptors are bytes: of a file that is none what was known stays, as of any other.
#[tokio::test]
async fn descriptors_that_cannot_be_read_leave_the_last_good_ones() {
    // One service `S` with the method `M`, which is idempotent.
    let good = b"\x0a\x0f\x32\x0d\x0a\x01\x53\x12\x08\x0a\x01\x4d\x22\x03\x90\x02\x02";
    let mut live = Live::open(|root| fs::write(root.join("s.binpb"), good).unwrap()).await;
    let key = ObjectKey::new(Kind::Descriptors, "", "s");
    let known = |live: &Live| live.world.descriptors().any(|found| found.spec.services.contains_key("S"));
    assert!(known(&live));

    fs::write(live.root.join("s.binpb"), b"apiVersion: v1").unwrap();
    live.until("no descriptors", |live| live.codes() == ["invalid-descriptors", "kept-last-good"]).await;
    assert!(known(&live));

    fs::remove_file(live.root.join("s.binpb")).unwrap();
    live.until("a file that is gone", |live| !known(live)).await;
    assert_eq!(key.to_string(), "Descriptors s");
}
