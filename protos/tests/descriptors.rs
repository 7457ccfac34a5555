//! The committed descriptor set is the one of the locked `envoy-types`, pruned.

use std::path::{Path, PathBuf};
use std::process::Command;

use prost::Message;
use prost_reflect::prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// Packages that describe no configuration which a proxy is sent.
const LEFT_OUT: [&str; 3] = ["opentelemetry.", "envoy.service.ext_proc", "envoy.service.ratelimit"];

#[test]
fn committed_set_is_current() {
    let expected = pruned(&envoy_types_source().join("src/generated/types.bin"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors/envoy.bin");
    if std::env::var_os("PILOTAGE_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("write the descriptor set");
    }
    let committed = std::fs::read(&path).expect("read the descriptor set");
    assert!(
        committed == expected,
        "descriptors/envoy.bin is not what the locked envoy-types has; run this test with PILOTAGE_BLESS=1"
    );
}

fn envoy_types_source() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("run cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let package = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|package| package["name"] == "envoy-types"))
        .expect("envoy-types is a dependency");
    let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
    Path::new(manifest).parent().expect("a manifest has a folder").to_owned()
}

fn pruned(types: &Path) -> Vec<u8> {
    let bytes = std::fs::read(types).expect("envoy-types carries its descriptors");
    let mut set = FileDescriptorSet::decode(bytes.as_slice()).expect("a descriptor set");
    let keep = reachable(&set);
    set.file.retain(|file| keep.contains(file.name()));
    for file in &mut set.file {
        file.source_code_info = None;
        file.options = None;
        file.service.clear();
        file.extension.clear();
        file.message_type.iter_mut().for_each(strip_message);
        file.enum_type.iter_mut().for_each(strip_enum);
        let kept = |name: &String| keep.contains(name.as_str());
        assert!(file.dependency.iter().all(kept), "{} lost a dependency", file.name());
    }
    set.encode_to_vec()
}

fn reachable(set: &FileDescriptorSet) -> std::collections::BTreeSet<String> {
    let mut keep = std::collections::BTreeSet::new();
    let is_root = |file: &prost_reflect::prost_types::FileDescriptorProto| {
        file.package().starts_with("envoy.")
            && !LEFT_OUT.iter().any(|package| file.package().starts_with(package))
    };
    let mut todo: Vec<String> =
        set.file.iter().filter(|file| is_root(file)).map(|file| file.name().to_owned()).collect();
    while let Some(name) = todo.pop() {
        if keep.insert(name.clone()) {
            let file = set.file.iter().find(|file| file.name() == name);
            todo.extend(file.expect("a dependency is in the set").dependency.iter().cloned());
        }
    }
    keep
}

fn strip_message(message: &mut DescriptorProto) {
    // `map_entry` is the one option that changes how a message reads.
    if let Some(options) = &mut message.options {
        let map_entry = options.map_entry;
        *options = Default::default();
        options.map_entry = map_entry;
    }
    message.extension.clear();
    for field in &mut message.field {
        if let Some(options) = &mut field.options {
            let packed = options.packed;
            *options = Default::default();
            options.packed = packed;
        }
    }
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.enum_type.iter_mut().for_each(strip_enum);
    message.nested_type.iter_mut().for_each(strip_message);
}

fn strip_enum(of: &mut EnumDescriptorProto) {
    of.options.iter_mut().for_each(|options| {
        let allow_alias = options.allow_alias;
        *options = Default::default();
        options.allow_alias = allow_alias;
    });
    of.value.iter_mut().for_each(|value| value.options = None);
}
