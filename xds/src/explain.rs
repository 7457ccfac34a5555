//! What each problem code means: its cause, an example, and the way out. The page `deploy/problems.md` and the command
//! `pilotage explain` are printed from the same text, which has a section for every code.

use std::fmt::Write as _;

use pilotage_watcher::Code;

/// A section a code, in the order of [`Code::ALL`].
const SECTIONS: &str = include_str!("explain/codes.md");

/// What a code means, as Markdown: a heading, the usual severity, cause, example and way out. None for a code without
/// a section, which a test rules out.
pub fn explain(code: Code) -> Option<String> {
    let heading = format!("## {}\n", code.name());
    let start = SECTIONS.find(&heading)? + heading.len();
    let body = SECTIONS.get(start..)?;
    let body = body.split("\n## ").next().unwrap_or(body).trim();
    let istio = code.istio().map(|number| format!(", as {number} of istioctl analyze")).unwrap_or_default();
    Some(format!("{heading}\nUsually: {}{istio}.\n\n{body}\n", code.severity()))
}

/// The page of all codes.
pub fn page() -> String {
    let mut page = "\
# Problems

Every problem that Pilotage tells of has a code, whose name does not change. `pilotage check` prints them for a folder,
`pilotage explain CODE` prints a section of this page, and the page is printed by `pilotage explain`.

| code | usually | istioctl analyze |
|---|---|---|
"
    .to_owned();
    for code in Code::ALL {
        let istio = code.istio().unwrap_or("");
        // Writing to a string does not fail.
        let _ = writeln!(page, "| [{code}](#{code}) | {} | {istio} |", code.severity());
    }
    for section in Code::ALL.iter().filter_map(|code| explain(*code)) {
        let _ = write!(page, "\n{section}");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_cause_an_example_and_a_way_out() {
        for code in Code::ALL {
            let section = explain(*code).unwrap_or_default();
            let parts: Vec<&str> = section.split("\n\n").collect();
            assert!(parts.len() >= 5 && section.matches("```").count() == 2, "{code}: {section}");
        }
        let headings = SECTIONS.lines().filter(|line| line.starts_with("## ")).count();
        assert_eq!(headings, Code::ALL.len(), "a section is of no code, or stands twice");
    }
}
