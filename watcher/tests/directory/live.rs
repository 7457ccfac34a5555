//! Files that come, change and go while the source runs.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use pilotage_watcher::directory::{DirectorySource, Options, read_directory};
use tokio::sync::{mpsc, oneshot};

use crate::harness::{Live, service};

#[tokio::test]
async fn follows_files_that_come_change_and_go() {
    let mut live = Live::open(|root| fs::write(root.join("a.yaml"), service("a", 80)).unwrap()).await;
    assert_eq!((live.names(), live.port("a")), (vec!["a"], Some(80)));

    live.write("b.yaml", &service("b", 81));
    live.until("a new file", |live| live.names() == ["a", "b"]).await;
    live.write("a.yaml", &service("a", 8080));
    live.until("an edit", |live| live.port("a") == Some(8080)).await;
    fs::rename(live.root.join("b.yaml"), live.root.join("c.yml")).unwrap();
    live.barrier().await;
    assert_eq!(live.names(), ["a", "b"], "a renamed file keeps its objects");
    assert!(live.deleted.is_empty());
    fs::remove_file(live.root.join("c.yml")).unwrap();
    live.until("a removal", |live| live.names() == ["a"]).await;
    assert_eq!(live.codes(), Vec::<&str>::new());
}

#[tokio::test]
async fn follows_folders_within() {
    let mut live = Live::open(|_| {}).await;
    assert_eq!(live.codes(), ["empty-folder"]);
    fs::create_dir_all(live.root.join("team/shop")).unwrap();
    live.write("team/shop/a.yaml", &service("a", 80));
    live.until("a file in a new folder", |live| live.names() == ["a"]).await;
    assert_eq!(live.codes(), Vec::<&str>::new());
    live.write(
        "team/shop/b.json",
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"b"},"spec":{"ports":[{"port":81}]}}"#,
    );
    live.until("another", |live| live.names() == ["a", "b"]).await;
    fs::rename(live.root.join("team"), live.root.join("crew")).unwrap();
    live.write("crew/shop/a.yaml", &service("a", 81));
    live.until("an edit in a renamed folder", |live| live.port("a") == Some(81)).await;
    fs::remove_dir_all(live.root.join("crew")).unwrap();
    live.until("a removed folder", |live| live.names().is_empty()).await;
}

#[tokio::test]
async fn follows_a_mounted_volume_as_it_is_swapped() {
    let volume = |root: &std::path::Path, stamp: &str, port: u16| {
        let data = root.join(format!("..{stamp}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("a.yaml"), service("a", port)).unwrap();
        symlink(format!("..{stamp}"), root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    };
    let mut live = Live::open(|root| {
        volume(root, "2026_1", 80);
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
    })
    .await;
    assert_eq!((live.port("a"), live.codes()), (Some(80), vec![]), "read once, by its visible name");
    volume(&live.root, "2026_2", 81);
    fs::remove_dir_all(live.root.join("..2026_1")).unwrap();
    live.until("the swap", |live| live.port("a") == Some(81)).await;
    assert!(live.deleted.is_empty());
}

#[tokio::test]
async fn follows_a_folder_that_is_a_link() {
    let folder = tempfile::tempdir().unwrap();
    let (root, path) = (folder.path().join("current"), folder.path().to_owned());
    for (revision, port) in [("one", 80), ("two", 81)] {
        fs::create_dir(path.join(revision)).unwrap();
        fs::write(path.join(revision).join("a.yaml"), service("a", port)).unwrap();
    }
    symlink("one", &root).unwrap();
    let mut live = Live::follow(folder, root).await;
    assert_eq!(live.port("a"), Some(80));
    symlink("two", path.join("next")).unwrap();
    fs::rename(path.join("next"), &live.root).unwrap();
    live.until("the new revision", |live| live.port("a") == Some(81)).await;
    live.write("b.yaml", &service("b", 82));
    live.until("that it is followed", |live| live.names() == ["a", "b"]).await;
    assert!(live.deleted.is_empty());
}

#[tokio::test]
async fn takes_many_files_at_once() {
    let mut live = Live::open(|root| {
        for index in 0..100 {
            fs::write(root.join(format!("{index}.yaml")), service(&format!("s{index}"), 80)).unwrap();
        }
    })
    .await;
    assert_eq!((live.batches, live.names().len()), (1, 100));
    for index in 0..100 {
        live.write(&format!("{index}.yaml"), &service(&format!("s{index}"), 81));
    }
    live.until("every edit", |live| (0..100).all(|index| live.port(&format!("s{index}")) == Some(81))).await;
    for index in 0..100 {
        fs::remove_file(live.root.join(format!("{index}.yaml"))).unwrap();
    }
    live.until("every removal", |live| live.names().is_empty()).await;
}

#[tokio::test]
async fn ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let source = DirectorySource::open(Options::new(folder.path())).unwrap();
    let (sender, mut receiver) = mpsc::channel(1);
    let (shutdown, done) = oneshot::channel::<()>();
    let running = tokio::spawn(source.run(sender, async {
        let _ = done.await;
    }));
    assert!(receiver.recv().await.is_some());
    drop(shutdown);
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap().unwrap();
    assert!(receiver.recv().await.is_none());
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let error = DirectorySource::open(Options::new(&missing)).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot read the folder {}", missing.display()));
    let cause = std::error::Error::source(&error).unwrap();
    assert_eq!(cause.to_string(), "No such file or directory (os error 2)");
    assert!(read_directory(&missing).is_err());
    fs::write(&missing, "").unwrap();
    assert!(read_directory(&missing).is_err(), "a file is no folder");
}

#[tokio::test]
async fn says_when_the_folder_is_empty_and_when_it_no_longer_is() {
    let mut live = Live::open(|root| fs::write(root.join("a.yaml"), "# nothing yet\n").unwrap()).await;
    assert_eq!(live.codes(), ["empty-folder"]);
    live.write("a.yaml", &service("a", 80));
    live.until("an object", |live| live.names() == ["a"] && live.codes().is_empty()).await;
    live.write("a.yaml", "# nothing any more\n");
    live.until("none", |live| live.names().is_empty() && live.codes() == ["empty-folder"]).await;
}
