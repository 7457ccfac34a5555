//! Golden translations: a world, and beside it what each kind of proxy is told, readable and complete.
//!
//! `golden/<name>/world.yaml` begins with comments that name the groups ([`crate::header`]). What a group is told stands
//! beside it in `<kind>.snap`, or under its name, the resources as JSON values and the problems as lines.
//! `INSTA_UPDATE=always` writes them anew.

use std::path::Path;

use pilotage_compile::{Compiled, ENCODER_REVISION, Settings, compile};
use pilotage_protocol::ResourceType;
use pilotage_protos::json::any_to_json;
use serde_json::{Map, Value, json};

use crate::world::{Case, cases};

#[test]
fn every_world_is_translated_as_written_beside_it() {
    let mut failed = Vec::new();
    for case in cases() {
        let compiled = compile(&case.world, &case.group, &Settings::default(), &case.asked, None);
        let told = told(&compiled);
        let mut settings = insta::Settings::new();
        settings.set_snapshot_path(&case.folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        let name = case.name.clone();
        let outcome = settings.bind(|| std::panic::catch_unwind(|| insta::assert_yaml_snapshot!(name, told)));
        if outcome.is_err() {
            failed.push(format!("{}/{}", case.folder.display(), case.name));
        }
    }
    assert!(failed.is_empty(), "not as written: {failed:#?}");
}

/// What would be sent may not change while the encoder's revision stays: versions would stay too, and clients with
/// the old bytes would be told nothing.
#[test]
fn outputs_change_only_with_the_encoder_revision() {
    let mut digest = String::new();
    for Case { folder, name, world, group, asked } in cases() {
        let compiled = compile(&world, &group, &Settings::default(), &asked, None);
        for (resource_type, collection) in compiled.snapshot().iter() {
            for resource in collection.iter() {
                // JSON, since the order of a map's entries in the bytes is not fixed.
                let body = any_to_json(resource_type.type_url(), &resource.body()).unwrap();
                digest.push_str(&format!("{}/{name} {} {body}\n", label(&folder), resource.version()));
            }
        }
    }
    let digest = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(digest.as_bytes()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/digest.txt");
    let now = format!("revision {ENCODER_REVISION}\n{digest}\n");
    if std::env::var("INSTA_UPDATE").as_deref() == Ok("always") {
        std::fs::write(&path, &now).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        written, now,
        "the outputs or their versions changed: if messages differ for data that is the same, raise \
         ENCODER_REVISION; then write the digest anew with INSTA_UPDATE=always"
    );
}

fn label(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// Everything that a group is told, and what is wrong.
fn told(compiled: &Compiled) -> Value {
    let mut types = Map::new();
    for (resource_type, collection) in compiled.snapshot().iter() {
        let resources: Vec<Value> = collection
            .iter()
            .map(|resource| any_to_json(resource_type.type_url(), &resource.body()).unwrap())
            .collect();
        // Most worlds have no secrets, and need not say so.
        if *resource_type != ResourceType::Secret || !resources.is_empty() {
            types.insert(resource_type.to_string(), Value::Array(resources));
        }
    }
    let problems: Vec<String> = compiled.problems().map(ToString::to_string).collect();
    json!({ "problems": problems, "resources": types })
}
