//! Every problem code is shown: by a golden world, or by a test of what a golden world cannot have.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use pilotage_tests::golden;
use pilotage_watcher::Code;

/// Codes of what is wrong with files, documents, sources and clients, each with the test that shows it.
const ELSEWHERE: &[(Code, &str)] = &[
    (Code::Unreadable, "watcher/tests/directory/faults.rs"),
    (Code::Forbidden, "tests/tests/kubernetes/secrets.rs"),
    (Code::EmptyFile, "watcher/tests/directory/faults.rs"),
    (Code::EmptyFolder, "watcher/tests/directory/live.rs"),
    (Code::TooLarge, "watcher/tests/manifests/errors.rs"),
    (Code::Syntax, "watcher/tests/manifests/errors.rs"),
    (Code::TabIndent, "watcher/tests/manifests/errors.rs"),
    (Code::DuplicateKey, "watcher/tests/manifests/errors.rs"),
    (Code::AnchorBomb, "watcher/tests/manifests/errors.rs"),
    (Code::LostIndentation, "watcher/tests/manifests/pasted.rs"),
    (Code::NotAnObject, "watcher/tests/manifests/errors.rs"),
    (Code::UnknownGroup, "watcher/tests/manifests/pasted.rs"),
    (Code::UnknownVersion, "tests/tests/kubernetes/definitions.rs"),
    (Code::UnknownKind, "watcher/tests/manifests/errors.rs"),
    (Code::UnknownField, "watcher/tests/manifests/errors.rs"),
    (Code::WrongType, "watcher/tests/manifests/errors.rs"),
    (Code::DuplicateObject, "watcher/tests/directory/faults.rs"),
    (Code::KeptLastGood, "watcher/tests/directory/faults.rs"),
    (Code::InvalidDescriptors, "watcher/tests/directory/faults.rs"),
    (Code::RejectedByClient, "tests/tests/gateway.rs"),
    (Code::SharedCertificate, "xds/compile/tests/translation/advice.rs"),
    (Code::BypassedRules, "xds/compile/tests/translation/advice.rs"),
    (Code::UnmatchedSelector, "xds/compile/tests/translation/advice.rs"),
];

fn snapshots() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in golden::folders()? {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            found.extend(path.extension().is_some_and(|extension| extension == "snap").then_some(path));
        }
    }
    Ok(found)
}

#[test]
fn every_code_is_shown() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let texts = snapshots()?.iter().map(std::fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let mut unseen = Vec::new();
    for code in Code::ALL {
        let in_golden = texts.iter().any(|text| text.contains(&format!("[{code}]: ")));
        let elsewhere = ELSEWHERE.iter().find(|(known, _)| known == code);
        let in_test = match elsewhere {
            Some((_, path)) => {
                let text = std::fs::read_to_string(root.join(path)).with_context(|| format!("no {path}"))?;
                text.contains(code.name())
            }
            None => false,
        };
        if in_golden == in_test {
            unseen.push(format!(
                "{code}: {}",
                if in_golden { "a golden world has it" } else { "nothing shows it" }
            ));
        }
    }
    ensure!(unseen.is_empty(), "{}", unseen.join("\n"));
    Ok(())
}
