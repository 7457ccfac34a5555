//! Manifests that lost their indentation, as text copied from a web page often has.
//!
//! Some are no YAML any more and some parse into something else, so this looks at the lines. It serves nothing: it
//! says where the indentation went and whatever else can be seen to be wrong, so that one round of repair is enough.

use super::group::{self, Recognized};
use super::node::Mark;
use crate::{Code, Problem};

/// Keys that rightly stand at the left edge.
const TOP: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    "status",
    "data",
    "items",
    "subsets",
    "ports",
    "endpoints",
    "addressType",
];

/// A `key: value` line, read without regard to structure.
struct Line<'a> {
    indent: usize,
    dash: bool,
    key: &'a str,
    key_mark: Mark,
    value: &'a str,
    value_mark: Mark,
}

/// What can be read from a manifest without indentation.
pub(super) struct Flat<'a> {
    lines: Vec<Line<'a>>,
    /// The first line that should have been indented.
    start: usize,
}

impl<'a> Flat<'a> {
    /// Looks for a `metadata:` or `spec:` with its content at the left edge beside it.
    pub(super) fn detect(text: &'a str) -> Option<Self> {
        let lines: Vec<_> = text.lines().zip(1..).filter_map(|(line, number)| read(line, number)).collect();
        if !lines.iter().any(|line| matches!(line.key, "apiVersion" | "kind")) {
            return None;
        }
        let start = lines.windows(2).position(|pair| {
            let [parent, child] = pair else { return false };
            let opens =
                matches!(parent.key, "metadata" | "spec") && parent.value.is_empty() && parent.indent == 0;
            opens && !parent.dash && child.indent == 0 && !child.dash && !TOP.contains(&child.key)
        })?;
        Some(Self { lines, start: start + 1 })
    }

    /// The value of the first line with this key.
    pub(super) fn value(&self, key: &str) -> Option<&'a str> {
        self.line(key).map(|line| line.value).filter(|value| !value.is_empty())
    }

    /// Everything that can be seen to be wrong.
    pub(super) fn problems(&self) -> Vec<(Mark, Problem)> {
        let parent = self.lines[self.start - 1].key;
        let child = &self.lines[self.start];
        let message = format!(
            "the indentation was lost: `{}` stands beside `{parent}:`, which is left empty, and not under it",
            child.key
        );
        let lost = Problem::new(Code::LostIndentation, message).hint(format!(
            "indent the fields of `{parent}:` by two spaces, and the fields of each mapping below it by two more"
        ));
        let mut problems = vec![(child.key_mark, lost)];
        let kind = self.value("kind").unwrap_or_default();
        if let Some(version) = self.line("apiVersion")
            && let Recognized::Mistaken(field, problem) = group::recognize(version.value, kind)
        {
            let mark = self.line(field).map_or(version.value_mark, |line| line.value_mark);
            problems.push((mark, problem));
        }
        let rest = &self.lines[self.start..];
        problems.extend(rest.iter().filter_map(|line| line_problem(line, kind)));
        problems.extend(retries(rest));
        problems.extend(plaintext_with_tls(rest, kind));
        problems
    }

    fn line(&self, key: &str) -> Option<&Line<'a>> {
        self.lines.iter().find(|line| line.key == key)
    }
}

fn read(text: &str, number: u32) -> Option<Line<'_>> {
    let indent = text.len() - text.trim_start().len();
    let dash = text[indent..].starts_with("- ");
    let start = if dash { text.len() - text[indent + 1..].trim_start().len() } else { indent };
    let content = &text[start..];
    if content.is_empty() || content.starts_with('#') || content.starts_with("---") {
        return None;
    }
    let (key, value) = match content.split_once(':') {
        Some((key, value)) if value.is_empty() || value.starts_with(char::is_whitespace) => (key, value),
        // An element of a list of scalars; it still takes part in the order of lines.
        _ => ("", content),
    };
    let value_start = text.len() - value.trim_start().len();
    let value = value.split(" #").next().unwrap_or(value).trim().trim_matches(['"', '\'']);
    let mark = |offset: usize| Mark { line: number, column: text[..offset].chars().count() as u32 + 1 };
    Some(Line {
        indent,
        dash,
        key,
        key_mark: mark(start),
        value,
        value_mark: mark(if value.is_empty() { start } else { value_start }),
    })
}

fn line_problem(line: &Line<'_>, kind: &str) -> Option<(Mark, Problem)> {
    let problem = if line.value.contains(".svc.cluster.cluster.") {
        let meant = line.value.replace(".cluster.cluster.", ".cluster.");
        Problem::new(
            Code::UnknownHost,
            format!("no Service has the host {:?}: `cluster` stands twice", line.value),
        )
        .hint(format!("did you mean {meant}?"))
    } else if line.key == "appProtocol" && matches!(line.value, "h2" | "ws" | "wss") {
        let meant = if line.value == "h2" { "kubernetes.io/h2c" } else { "http" };
        Problem::new(
            Code::ProtocolAlias,
            format!("appProtocol {:?} is understood here, not by Istio", line.value),
        )
        .hint(format!("write `{meant}` to be understood by both"))
    } else if line.key == "protocol" && kind == "Service" && !matches!(line.value, "TCP" | "UDP" | "SCTP") {
        Problem::new(Code::InvalidValue, format!("{:?} is not a transport protocol", line.value))
            .hint("say the application protocol by the port's name or by `appProtocol`")
    } else {
        return None;
    };
    Some((line.value_mark, problem))
}

/// A timeout of each try only leads to another try under a condition that covers resets.
fn retries(lines: &[Line<'_>]) -> Option<(Mark, Problem)> {
    lines.iter().find(|line| line.key == "perTryTimeout")?;
    let on = lines.iter().find(|line| line.key == "retryOn")?;
    let covers = |token: &str| matches!(token.trim(), "reset" | "5xx" | "gateway-error");
    if on.value.split(',').any(covers) {
        return None;
    }
    let message = format!("a try that `perTryTimeout` ends is not repeated under {:?}", on.value);
    let problem = Problem::new(Code::RetryNeverFires, message);
    Some((on.value_mark, problem.hint("add `reset` if a slow try should be repeated")))
}

fn plaintext_with_tls(lines: &[Line<'_>], kind: &str) -> Option<(Mark, Problem)> {
    if kind != "Gateway" {
        return None;
    }
    let protocol = lines.iter().find(|line| {
        line.key == "protocol"
            && ["GRPC", "HTTP2", "HTTP"].iter().any(|name| line.value.eq_ignore_ascii_case(name))
    })?;
    lines.iter().find(|line| line.key == "tls")?;
    let message = format!("protocol {} is plaintext, and `tls` stands beside it", protocol.value);
    let problem = Problem::new(Code::TlsOnPlaintext, message);
    Some((protocol.value_mark, problem.hint("write `protocol: HTTPS`; gRPC over TLS is HTTPS here")))
}
