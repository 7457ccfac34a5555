//! Holds the table in `RULES.md` complete and true: every rule and case has a row, and every proof exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const RULES: u32 = 71;
const CASES: u32 = 70;

/// How many rows still wait for their proof; this number only falls.
const OPEN: usize = 12;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Whether the text has the number as a word of its own, or within a range such as `H35-H38`.
fn mentions(text: &str, number: &str) -> bool {
    let (letter, wanted) = number.split_at(1);
    let Ok(wanted) = wanted.parse::<u32>() else { return false };
    let parse = |word: &str| word.strip_prefix(letter)?.parse::<u32>().ok();
    text.split(|c: char| !(c.is_alphanumeric() || c == '-' || c == '–')).any(|word| {
        let mut ends = word.split(['-', '–']);
        let first = ends.next().and_then(parse);
        let last = ends.next().and_then(parse).or(first);
        first.zip(last).is_some_and(|(first, last)| (first..=last).contains(&wanted))
    })
}

fn check(number: &str, proof: &str) -> Result<(), String> {
    if proof == "open" {
        return Ok(());
    }
    if let Some(reason) = proof.strip_prefix("none:") {
        return if reason.trim().is_empty() { Err("no reason is given".into()) } else { Ok(()) };
    }
    if let Some(name) = proof.strip_prefix("scenario ") {
        let path = workspace().join(format!("xds/protocol/tests/scenarios/{name}.txt"));
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let mut comments = text.lines().filter(|line| line.starts_with('#'));
        return if comments.any(|line| mentions(line, number)) {
            Ok(())
        } else {
            Err(format!("the scenario {name} does not mention it"))
        };
    }
    let (file, function) = proof.split_once("::").ok_or_else(|| format!("{proof:?} is no proof"))?;
    let path = workspace().join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let declaration = format!("fn {function}(");
    let position = text.find(&declaration).ok_or_else(|| format!("{file} has no function {function}"))?;
    // The attribute stands right above the function, or above its doc comment.
    let is_test = text[..position].lines().rev().take(8).any(|line| {
        let line = line.trim();
        line.starts_with("#[test]") || line.starts_with("#[tokio::test")
    });
    if is_test { Ok(()) } else { Err(format!("{file}: {function} is not a test")) }
}

#[test]
fn every_rule_and_case_has_a_proof() {
    let table = include_str!("../RULES.md");
    let mut rows = BTreeMap::new();
    let mut faults = Vec::new();
    for line in table.lines().filter(|line| line.starts_with("| R") || line.starts_with("| H")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, proofs] = cells[..] else {
            faults.push(format!("{line}: three cells are expected"));
            continue;
        };
        if rows.insert(number, proofs).is_some() {
            faults.push(format!("{number} is there twice"));
        }
    }
    for number in (1..=RULES).map(|n| format!("R{n}")).chain((1..=CASES).map(|n| format!("H{n}"))) {
        let Some(proofs) = rows.remove(number.as_str()) else {
            faults.push(format!("{number} is missing"));
            continue;
        };
        let proofs = if proofs.starts_with("none:") { vec![proofs] } else { proofs.split(", ").collect() };
        for proof in proofs {
            if let Err(fault) = check(&number, proof) {
                faults.push(format!("{number}: {fault}"));
            }
        }
    }
    let open = table.lines().filter(|line| line.ends_with("| open |")).count();
    assert!(open <= OPEN, "{open} rows are open, and {OPEN} were");
    faults.extend(rows.keys().map(|number| format!("{number} is no rule")));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_check_can_fail() {
    assert!(check("R1", "scenario R02-unrelated-snapshot").is_err(), "another number's scenario");
    assert!(check("R2", "scenario R02-no-such-conversation").is_err());
    assert!(check("R2", "xds/protocol/tests/rules.rs::no_such_test").is_err());
    assert!(check("R2", "xds/protocol/tests/rules.rs::workspace").is_err(), "a function that is no test");
    assert!(check("R2", "none: ").is_err());
    assert!(check("R2", "scenario R02-unrelated-snapshot").is_ok());
    assert!(mentions("# R1, H35-H38: words", "H37") && !mentions("# R16", "R1"));
}
