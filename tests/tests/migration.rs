//! The page for those who come from MeshConfig names settings that there are.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

fn read(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What a schema, or what it refers to, says.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let inner = schema["allOf"].get(0).or_else(|| schema["anyOf"].get(0)).unwrap_or(schema);
    match inner["$ref"].as_str().and_then(|path| root.pointer(path.trim_start_matches('#'))) {
        Some(found) => found,
        None => inner,
    }
}

fn has(root: &Value, path: &str) -> bool {
    let found = path.split('.').try_fold(root, |schema, key| resolved(root, schema)["properties"].get(key));
    found.is_some()
}

#[test]
fn every_setting_that_is_named_is_in_the_schema() -> Result<()> {
    let schema: Value = serde_json::from_str(&read("settings.schema.json")?)?;
    let page = read("migration.md")?;
    let first = |path: &str| path.split('.').next().is_some_and(|key| has(&schema, key));
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for row in rows {
        let cell = row.split('|').nth(2).context("a row has a second cell")?;
        for name in cell.split('`').skip(1).step_by(2).filter(|name| first(name)) {
            ensure!(has(&schema, name), "{name} is not a setting: {row}");
            named += 1;
        }
    }
    ensure!(named >= 10, "the page names {named} settings");
    ensure!(!has(&schema, "translation.nothing") && !has(&schema, "nothing"), "the check can fail");
    Ok(())
}
