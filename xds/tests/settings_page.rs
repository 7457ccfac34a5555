//! The settings' schema and reference page and the page of problems under `deploy/` are those of the types.

use std::path::Path;

use pilotage::settings::{Settings, reference};

/// `PILOTAGE_BLESS=1` writes the file anew.
fn check(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    if std::env::var_os("PILOTAGE_BLESS").is_some() {
        std::fs::write(&path, expected).expect("write the file");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == expected, "deploy/{file} is not current; run this test with PILOTAGE_BLESS=1");
}

#[test]
fn schema_is_current() {
    let schema = serde_json::to_string_pretty(&Settings::schema()).expect("a schema is JSON");
    check("settings.schema.json", &(schema + "\n"));
}

#[test]
fn reference_page_is_current() {
    check("settings.md", &reference());
}

#[test]
fn page_of_problems_is_current() {
    check("problems.md", &pilotage::explain::page());
}

#[test]
fn every_setting_is_described() {
    let page = reference();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 5, "the page has rows: {page}");
    for row in rows {
        let description = row.trim_end_matches(" |").rsplit('|').next().unwrap_or_default().trim();
        assert!(!description.is_empty(), "a setting without a description: {row}");
    }
}
