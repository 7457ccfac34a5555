#![allow(clippy::unwrap_used)]

use super::super::read::head;
use super::*;

fn service(name: &str, version: u32, port: u32) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"shop","resourceVersion":"{version}"}},
            "spec":{{"clusterIP":"10.0.0.1","ports":[{{"port":{port}}}]}}}}"#
    )
}

fn found(json: &str) -> Head {
    head(Kind::Service, json).unwrap().0
}

fn list(table: &mut Table, objects: &[String]) -> Vec<String> {
    let mut listing = Listing::default();
    for json in objects {
        table.list(&mut listing, found(json), json);
    }
    told(table.finish(listing))
}

fn told(changes: Vec<Change>) -> Vec<String> {
    let told = changes.into_iter().map(|change| match change {
        Change::Apply(object) => format!("apply {}", object.key().name),
        Change::Delete(key) => format!("delete {}", key.name),
        Change::Problems { scope, problems } => format!("{} problems of {scope}", problems.len()),
        Change::Synced(source) => format!("synced {source}"),
    });
    told.collect()
}

#[test]
fn a_list_tells_what_is_new_what_changed_and_what_is_gone() {
    let mut table = Table::new(Kind::Service);
    assert_eq!(list(&mut table, &[service("a", 1, 80), service("b", 2, 80)]), ["apply a", "apply b"]);
    let again = [service("b", 2, 80), service("c", 3, 80)];
    assert_eq!(list(&mut table, &again), ["apply c", "delete a"]);
    assert_eq!(list(&mut table, &[service("b", 4, 81), service("c", 3, 80)]), ["apply b"]);
    assert_eq!(table.len(), 2);
    assert_eq!(list(&mut table, &[]).len(), 2);
}

#[test]
fn a_list_that_breaks_off_changes_nothing() {
    let mut table = Table::new(Kind::Service);
    list(&mut table, &[service("a", 1, 80), service("b", 1, 80)]);
    let mut broken_off = Listing::default();
    let changed = service("a", 2, 81);
    table.list(&mut broken_off, found(&changed), &changed);
    drop(broken_off);
    // The change is still news to the list that is complete, and `b` is still held.
    assert_eq!(list(&mut table, &[changed, service("b", 1, 80)]), ["apply a"]);
}

#[test]
fn a_broken_object_is_told_and_its_last_version_stays() {
    let mut table = Table::new(Kind::Service);
    let good = service("a", 1, 80);
    assert_eq!(told(table.apply(found(&good), &good)), ["apply a"]);
    let broken = service("a", 2, 700_000);
    assert_eq!(told(table.apply(found(&broken), &broken)), ["1 problems of kubernetes Service shop/a"]);
    let mended = service("a", 3, 81);
    let solved = ["apply a", "0 problems of kubernetes Service shop/a"];
    assert_eq!(told(table.apply(found(&mended), &mended)), solved);
    assert_eq!(told(table.delete(found(&mended))), ["delete a"]);
    assert_eq!(told(table.delete(found(&mended))), [""; 0]);
}

#[test]
fn the_problems_of_what_is_gone_are_gone() {
    let mut table = Table::new(Kind::Service);
    let broken = service("a", 1, 700_000);
    assert_eq!(list(&mut table, &[broken]), ["1 problems of kubernetes Service shop/a"]);
    assert_eq!(list(&mut table, &[]), ["0 problems of kubernetes Service shop/a", "delete a"]);
}
