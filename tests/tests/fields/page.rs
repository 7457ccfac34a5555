//! The page that lists what is read and not served.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use pilotage_watcher::Problem;

use crate::probe::Effect;
use crate::schema::Path;

/// The text of `deploy/fields.md`.
pub(crate) fn page(
    effects: &BTreeMap<Path, Effect>,
    choices: &[(Path, String, Problem)],
    for_people: &[(&str, &str, &str)],
) -> String {
    let mut page = String::from(
        "# Fields\n\n\
        What Pilotage makes of each field of the published schemas: of the routing kinds those of `istio.io/api` v1.31.1, of\n\
        Services and EndpointSlices those of a Kubernetes API server. A field is translated if taking it away changes what\n\
        some proxy is told; every other one has a problem that says so, with its place, whenever it is written, but for a few\n\
        that mean nothing to a proxy. This page is written by a test that takes each field out of a world that has it;\n\
        `pilotage explain CODE` says more of a problem. Of a Pod only the labels, the addresses, the node and the phase are\n\
        read.\n\n",
    );
    let kinds: BTreeSet<&str> = effects.keys().map(|field| field.kind.as_str()).collect();
    page.push_str(
        "| kind | fields | translated | told of by a problem | nothing to a proxy |\n|---|---|---|---|---|\n",
    );
    for kind in &kinds {
        let of_kind = || effects.iter().filter(|(field, _)| field.kind == **kind);
        let count = |wanted: fn(&Effect) -> bool| of_kind().filter(|(_, effect)| wanted(effect)).count();
        let _ = writeln!(
            page,
            "| {kind} | {} | {} | {} | {} |",
            of_kind().count(),
            count(|effect| *effect == Effect::Translated),
            count(|effect| matches!(effect, Effect::Told(..))),
            count(|effect| matches!(effect, Effect::Absent | Effect::Silent)),
        );
    }
    page.push_str(
        "\n## Fields that are not served\n\n| kind | field | problem | what it says |\n|---|---|---|---|\n",
    );
    // What is told of as a whole is listed as a whole.
    let mut rows: Vec<(&str, String, &str, &str)> = Vec::new();
    for (field, effect) in effects {
        let Effect::Told(code, words) = effect else { continue };
        match rows.last_mut() {
            Some((kind, path, _, last)) if *kind == field.kind && *last == words => {
                *path = shared(path, &field.path).unwrap_or_else(|| format!("{path}`, `{}", field.path));
            }
            _ => rows.push((&field.kind, field.path.clone(), code.name(), words)),
        }
    }
    for (kind, path, code, words) in rows {
        let _ = writeln!(page, "| {kind} | `{path}` | {code} | {} |", cell(words));
    }
    page.push_str(
        "\n## Values that are not served\n\n| kind | field | value | what is said |\n|---|---|---|---|\n",
    );
    for (field, choice, problem) in choices {
        let _ =
            writeln!(page, "| {} | `{}` | `{choice}` | {} |", field.kind, field.path, cell(&problem.message));
    }
    if !for_people.is_empty() {
        page.push_str(
            "\n## Fields that mean nothing to a proxy\n\n| kind | field | why it changes nothing |\n|---|---|---|\n",
        );
        for (kind, path, why) in for_people {
            let _ = writeln!(page, "| {kind} | `{path}` | {why} |");
        }
    }
    page
}

/// The field that two are parts of, below the root; none for one field in two places.
fn shared(one: &str, other: &str) -> Option<String> {
    if one.rsplit('.').next() == other.rsplit('.').next() {
        return None;
    }
    let one = one.strip_suffix(".…").unwrap_or(one);
    let parts = one.split('.').zip(other.split('.')).take_while(|(one, other)| one == other);
    let parts: Vec<&str> = parts.map(|(part, _)| part).collect();
    (!parts.is_empty()).then(|| format!("{}.…", parts.join(".")))
}

fn cell(words: &str) -> String {
    words.replace('|', "\\|").replace('*', "\\*")
}
