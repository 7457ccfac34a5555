//! Checks of text that a proxy would refuse, and with it the whole resource it stands in.
//!
//! A virtual host shares its RouteConfiguration with all others: one expression that does not compile must not take
//! them down.

use regex_syntax::hir::{Class, Hir, HirKind};

/// Envoy refuses an expression whose compiled program is larger than this, unless it is told of another limit.
const DEFAULT_PROGRAM_SIZE: u64 = 100;

/// The limit that it is told where an expression needs one; larger expressions are not sent.
pub(crate) const MAX_PROGRAM_SIZE: u32 = 32_768;

/// RE2 writes no part of an expression out more often than this.
const MAX_REPEAT: u64 = 1000;

/// Why an RE2 expression cannot be sent, if it cannot.
///
/// The check is by a grammar that RE2 shares but for corners; what RE2 lacks of it is refused here.
pub(crate) fn regex_error(expression: &str) -> Option<String> {
    if expression.is_empty() {
        return Some("it is empty".to_owned());
    }
    if expression.len() > 1024 {
        return Some("it is longer than 1024 characters".to_owned());
    }
    match parse(expression) {
        Err(error) => Some(error),
        Ok(parsed) if repeats(&parsed) > MAX_REPEAT => {
            Some(format!("RE2 repeats a part at most {MAX_REPEAT} times, nested repetitions multiplied"))
        }
        Ok(parsed) if program_size(&parsed) > u64::from(MAX_PROGRAM_SIZE) => {
            Some("it is too large once its repetitions are written out".to_owned())
        }
        Ok(_) => None,
    }
}

/// How often the part that is repeated most is written out, nested repetitions multiplied as RE2 counts them.
fn repeats(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Repetition(repetition) => {
            let times = u64::from(repetition.max.unwrap_or(repetition.min).max(1));
            repeats(&repetition.sub).saturating_mul(times)
        }
        HirKind::Capture(capture) => repeats(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(repeats).max().unwrap_or(1),
        HirKind::Empty | HirKind::Look(_) | HirKind::Literal(_) | HirKind::Class(_) => 1,
    }
}

/// Whether an expression may be past Envoy's default limit, so that a limit has to be sent with it.
pub(crate) fn needs_limit(expression: &str) -> bool {
    // The estimate is on the high side, and by less than a factor of two on the low side.
    parse(expression).is_ok_and(|parsed| program_size(&parsed) > DEFAULT_PROGRAM_SIZE / 2)
}

/// About how many instructions RE2 makes of an expression.
fn program_size(expression: &Hir) -> u64 {
    match expression.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(literal) => u64::try_from(literal.0.len()).unwrap_or(u64::MAX),
        // A range of characters is a few ranges of up to four bytes.
        HirKind::Class(Class::Unicode(class)) if !class.is_ascii() => 8 * class.ranges().len() as u64,
        HirKind::Class(Class::Unicode(class)) => class.ranges().len() as u64,
        HirKind::Class(Class::Bytes(class)) => class.ranges().len() as u64,
        HirKind::Repetition(repetition) => {
            let times = repetition.max.unwrap_or(repetition.min.saturating_add(1)).max(1);
            program_size(&repetition.sub).saturating_add(1).saturating_mul(u64::from(times))
        }
        HirKind::Capture(capture) => program_size(&capture.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(|part| program_size(part).saturating_add(1)).fold(0, u64::saturating_add)
        }
    }
}

/// Why a substitution does not fit its expression, if it does not: `\0` to `\9` name groups, `\\` is a backslash.
pub(crate) fn substitution_error(expression: &str, substitution: &str) -> Option<String> {
    let groups = match parse(expression) {
        Ok(parsed) => parsed.properties().explicit_captures_len(),
        Err(error) => return Some(error),
    };
    let mut chars = substitution.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            continue;
        }
        match chars.next() {
            Some('\\') => {}
            Some(digit @ '0'..='9') if digit as usize - '0' as usize <= groups => {}
            Some(digit @ '0'..='9') => return Some(format!("there is no group {digit} in the expression")),
            _ => return Some("a backslash must be followed by a digit or a backslash".to_owned()),
        }
    }
    (!is_header_value(substitution)).then(|| "it holds a control character".to_owned())
}

fn parse(expression: &str) -> Result<Hir, String> {
    // Class set operations, the x flag and \u escapes are not in RE2.
    let beyond_re2 = ["&&", "--", "~~", "(?x", "\\u", "\\U", "\\<", "\\>", "\\b{"];
    if let Some(beyond) = beyond_re2.iter().find(|beyond| expression.contains(**beyond)) {
        // Outside a class these are plain text, which has no need of them in a path or a header.
        let in_class = expression.contains('[') || beyond.starts_with(['\\', '(']);
        if in_class {
            return Err(format!("RE2 has no {beyond}"));
        }
    }
    regex_syntax::parse(expression)
        .map_err(|error| error.to_string().lines().last().unwrap_or("it does not parse").to_owned())
}

/// Whether this is a header's name: a token, or a pseudo-header.
pub(crate) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = name.strip_prefix(':').unwrap_or(name);
    !name.is_empty() && name.len() <= 1024 && name.bytes().all(token)
}

/// Whether this can be a header's value.
pub(crate) fn is_header_value(value: &str) -> bool {
    value.len() <= 16_384 && !value.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_that_would_sink_a_route_configuration_are_found() {
        assert_eq!(regex_error("/v[0-9]+/.*"), None);
        assert!(regex_error("(").is_some() && regex_error("").is_some());
        assert!(regex_error("a{2,1}").is_some());
        assert!(regex_error("(?=x)").is_some());
        assert!(regex_error("[a-z&&[^b]]").is_some());
        assert!(regex_error(&"a".repeat(1025)).is_some());
        assert!(regex_error("((a{100}){100}){100}").is_some());
        assert!(regex_error("a{1001}").is_some() && regex_error("a{1001,}").is_some());
        assert!(regex_error("(a{100}){11}").is_some() && regex_error("a{1000}").is_none());
    }

    #[test]
    fn only_large_expressions_are_sent_with_a_limit() {
        assert!(!needs_limit("/v[0-9]+/.*") && !needs_limit("yes|true"));
        assert!(needs_limit("[a-z]{99}") && needs_limit(&"a".repeat(99)));
    }

    #[test]
    fn substitutions_name_groups_that_exist() {
        assert_eq!(substitution_error("/a/(.*)", "/b/\\1"), None);
        assert!(substitution_error("/a/(.*)", "/b/\\2").is_some());
        assert!(substitution_error("/a/(.*)", "/b/\\").is_some());
        assert!(substitution_error("/a/(.*)", "/b/\n").is_some());
    }

    #[test]
    fn header_names_are_tokens() {
        assert!(is_header_name("x-api-key") && is_header_name(":method"));
        assert!(!is_header_name("") && !is_header_name("a b") && !is_header_name("a\n"));
    }
}
