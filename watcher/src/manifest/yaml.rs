//! YAML text to a [`Node`], and what the parser refuses in words that say what to do.

use serde_saphyr::{Error, Spanned};

use super::Refusal;
use super::node::{Mark, Node, Value};
use crate::{Code, Problem};

/// What a document may expand to beyond what its own text can hold, by aliases.
const SPARE_NODES: usize = 250_000;

/// Parses one document. The error carries a place within the document.
pub(super) fn parse(text: &str) -> Result<Node, Refusal> {
    let nodes = SPARE_NODES + text.len();
    let options = serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_nodes: nodes,
            max_events: 4 * nodes,
            max_total_scalar_bytes: 64 * 1024 * 1024 + text.len(),
        },
    };
    serde_saphyr::from_str_with_options::<Spanned<Value>>(text, options)
        .map(Node::from)
        .map_err(|error| Box::new(refusal(text, &error)))
}

fn refusal(text: &str, error: &Error) -> (Mark, Problem) {
    let mut error = error.without_snippet();
    let mark = error.location().map_or(Mark::START, Mark::from);
    // What happens inside of an alias is told with the place of the alias.
    while let Error::AliasError { error: cause, .. } = error {
        error = cause.without_snippet();
    }
    if let Some(tab) = tab_indent(text, mark.line) {
        let problem = Problem::new(Code::TabIndent, "a tab in the indentation; YAML takes spaces only")
            .hint("replace each tab at the start of a line with two spaces");
        return (tab, problem);
    }
    let problem = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("this key");
            Problem::new(Code::DuplicateKey, format!("`{key}` stands twice in one mapping"))
                .hint("remove one, or indent it under the field that it belongs to")
        }
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => {
            if text.contains('*') && text.contains('&') {
                let message = "the document expands to more than it may: its aliases stand for too much";
                Problem::new(Code::AnchorBomb, message)
                    .hint("write the values out instead of aliases of aliases")
            } else {
                let message = format!("the document is larger or deeper than what is read: {error}");
                Problem::new(Code::TooLarge, message).hint("split the document into several")
            }
        }
        _ => Problem::new(Code::Syntax, format!("not YAML: {}", first_sentence(&error.to_string())))
            .hint("compare the indentation with the lines above"),
    };
    (mark, problem)
}

/// The first tab before the content of a line, up to the line at which the parser gave up.
fn tab_indent(text: &str, last: u32) -> Option<Mark> {
    for (line, number) in text.lines().zip(1..=last.saturating_add(1)) {
        let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        if let Some(column) = indent.find('\t')
            && indent.len() < line.len()
        {
            return Some(Mark { line: number, column: column as u32 + 1 });
        }
    }
    None
}

/// Without the parser's own note of the place, which is relative to the document.
fn first_sentence(message: &str) -> &str {
    let line = message.lines().next().unwrap_or_default();
    line.split(" at line ").next().unwrap_or(line)
}
