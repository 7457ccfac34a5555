//! Header operations, checked for what a proxy would refuse; an authority that is set becomes a rewrite.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HeaderOperations, Headers};

use crate::ir::{HeaderEdit, HeaderEdits};
use crate::pattern;
use crate::report::{Place, Report};

/// The operations of a rule or destination, and the authority that they set.
pub(super) fn edits(
    written: Option<&Headers>,
    place: &Place,
    report: &mut Report,
) -> (HeaderEdits, Option<Arc<str>>) {
    let Some(written) = written else { return (HeaderEdits::default(), None) };
    let mut authority = None;
    let request = edit(written.request.as_ref(), &place.field("request"), &mut authority, report);
    let mut of_response = None;
    let response = edit(written.response.as_ref(), &place.field("response"), &mut of_response, report);
    (HeaderEdits { request, response }, authority)
}

fn edit(
    written: Option<&HeaderOperations>,
    place: &Place,
    authority: &mut Option<Arc<str>>,
    report: &mut Report,
) -> HeaderEdit {
    let Some(written) = written else { return HeaderEdit::default() };
    let set = pairs(&written.set, &place.field("set"), authority, report);
    let add = pairs(&written.add, &place.field("add"), authority, report);
    let mut remove = Vec::new();
    for (index, name) in written.remove.iter().enumerate() {
        if !pattern::is_header_name(name) || is_reserved(name) {
            report.add(
                place
                    .field("remove")
                    .index(index)
                    .problem(Code::InvalidValue, format!("header {name:?} cannot be removed")),
            );
        } else {
            remove.push(Arc::from(name.as_str()));
        }
    }
    HeaderEdit { set, add, remove }
}

fn pairs(
    written: &BTreeMap<String, String>,
    place: &Place,
    authority: &mut Option<Arc<str>>,
    report: &mut Report,
) -> Vec<(Arc<str>, Arc<str>)> {
    let mut pairs = Vec::new();
    for (name, value) in written {
        let place = place.field(&format!("[{name:?}]"));
        if !pattern::is_header_value(value) {
            report.add(
                place.problem(Code::InvalidValue, "the value holds a control character and is left out"),
            );
        } else if name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host") {
            if !value.is_empty() {
                authority.get_or_insert_with(|| value.as_str().into());
            }
        } else if !pattern::is_header_name(name) || is_reserved(name) {
            report.add(place.problem(Code::InvalidValue, format!("header {name:?} cannot be set")));
        } else {
            pairs.push((name.as_str().into(), value_of(value, &place, report)));
        }
    }
    pairs
}

fn is_reserved(name: &str) -> bool {
    name.starts_with(':') || name.eq_ignore_ascii_case("host")
}

/// A value in which every `%` is a command that proxies know, or doubled.
fn value_of(value: &str, place: &Place, report: &mut Report) -> Arc<str> {
    if commands_are_known(value) {
        return value.into();
    }
    report.add(
        place
            .problem(
                Code::InvalidValue,
                format!("{value:?} holds a % that begins no command: every % is sent as it stands"),
            )
            .hint("write %% for a percent sign, or a command such as %REQ(x-request-id)%"),
    );
    value.replace('%', "%%").into()
}

/// Commands without arguments that are there for every request.
const PLAIN: &[&str] = &[
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_PORT",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_CLUSTER",
    "HOSTNAME",
    "PROTOCOL",
    "RESPONSE_CODE",
    "RESPONSE_FLAGS",
    "REQUESTED_SERVER_NAME",
    "ROUTE_NAME",
    "START_TIME",
];

/// Commands that take a header's name.
const OF_HEADER: &[&str] = &["REQ", "RESP"];

fn commands_are_known(value: &str) -> bool {
    let mut rest = value;
    while let Some(start) = rest.find('%') {
        let Some(length) = rest[start + 1..].find('%') else { return false };
        let command = &rest[start + 1..start + 1 + length];
        rest = &rest[start + length + 2..];
        let known = match command.split_once('(') {
            None => command.is_empty() || PLAIN.contains(&command),
            Some((name, argument)) => {
                let argument = argument.strip_suffix(')');
                OF_HEADER.contains(&name) && argument.is_some_and(pattern::is_header_name)
            }
        };
        if !known {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::commands_are_known;

    #[test]
    fn a_percent_sign_is_a_known_command_or_doubled() {
        for good in ["", "v1", "100%%", "%REQ(x-id)%", "a %PROTOCOL% b %%"] {
            assert!(commands_are_known(good), "{good}");
        }
        for bad in ["%", "50%", "%NO_SUCH%", "%REQ(%", "%REQ()%", "%REQ(a b)%", "%%%"] {
            assert!(!commands_are_known(bad), "{bad}");
        }
    }
}
