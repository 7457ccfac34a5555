//! What a request must look like: one match of a rule, after what is decided by who the client is.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpMatch, StringMatch};

use super::rule::Via;
use super::{MESH, Scope, gateway_name};
use crate::ProxyKind;
use crate::ir::{Condition, HeaderMatch, PathMatch, TextMatch};
use crate::pattern;
use crate::report::{Place, Report};

/// Whether a match can hold at all for this proxy on this port: what does not depend on the request.
pub(super) fn applies(condition: &HttpMatch, namespace: &str, via: &Via<'_>, scope: &Scope<'_>) -> bool {
    if condition.port.is_some_and(|port| port != u32::from(via.port)) {
        return false;
    }
    if condition.gateways.is_empty() {
        let source = condition.source_namespace.as_deref().filter(|source| !source.is_empty());
        return scope.group.has_labels(&condition.source_labels)
            && source.is_none_or(|source| source == &*scope.group.namespace);
    }
    let named = condition.gateways.iter().map(|name| gateway_name(name, namespace));
    match via.gateway {
        Some(gateway) => named.into_iter().any(|name| name == gateway),
        None => named.into_iter().any(|name| name == MESH),
    }
}

/// The condition of a match; none where it can never hold or cannot be sent, which is a problem.
pub(super) fn condition(
    written: &HttpMatch,
    place: &Place,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Option<Condition> {
    let mut condition = Condition { ignore_path_case: written.ignore_uri_case, ..Condition::default() };
    if let Some(uri) = &written.uri {
        condition.path = match text(uri, &place.field("uri"), report)? {
            TextMatch::Present => PathMatch::Any,
            TextMatch::Exact(path) if path.is_empty() => {
                let message = "no path is empty, so the match never holds and is left out";
                report.add(place.field("uri.exact").problem(Code::InvalidValue, message));
                return None;
            }
            TextMatch::Exact(path) => PathMatch::Exact(path),
            TextMatch::Prefix(prefix) => PathMatch::Prefix(prefix),
            TextMatch::Regex(regex) => PathMatch::Regex(regex),
        };
    }
    let pseudo = [
        (":scheme", "scheme", &written.scheme),
        (":method", "method", &written.method),
        (":authority", "authority", &written.authority),
    ];
    for (name, field, value) in pseudo {
        if let Some(value) = value {
            let value = text(value, &place.field(field), report)?;
            condition.headers.push(HeaderMatch { name: name.into(), value, inverted: false });
        }
    }
    headers(&mut condition, &written.headers, false, &place.field("headers"), report)?;
    headers(&mut condition, &written.without_headers, true, &place.field("withoutHeaders"), report)?;
    for (name, value) in &written.query_params {
        let place = place.field("queryParams").field(&format!("[{name:?}]"));
        if name.is_empty() || name.len() > 1024 {
            report.add(place.problem(Code::InvalidValue, "a query parameter needs a name up to 1024 bytes"));
            return None;
        }
        condition.query.push((name.as_str().into(), text(value, &place, report)?));
    }
    if scope.group.kind == ProxyKind::Grpc && !condition.query.is_empty() {
        report.add(
            place.field("queryParams").problem(
                Code::NotForGrpcClients,
                "gRPC calls have no query parameters: the match is left out",
            ),
        );
        return None;
    }
    if scope.group.kind == ProxyKind::Grpc
        && condition.headers.iter().any(|header| &*header.name == ":scheme")
    {
        report.add(place.field("scheme").problem(
            Code::NotForGrpcClients,
            "gRPC clients do not match on the scheme: the match is left out",
        ));
        return None;
    }
    Some(condition)
}

fn headers(
    condition: &mut Condition,
    written: &BTreeMap<String, StringMatch>,
    inverted: bool,
    place: &Place,
    report: &mut Report,
) -> Option<()> {
    for (name, value) in written {
        let place = place.field(&format!("[{name:?}]"));
        if name.starts_with('@') {
            report.add(place.not_supported("the match is left out"));
            return None;
        }
        if !pattern::is_header_name(name) {
            report.add(place.problem(
                Code::InvalidValue,
                format!("{name:?} is not the name of a header: the match is left out"),
            ));
            return None;
        }
        if name.eq_ignore_ascii_case("content-type") && value.exact.as_deref() == Some("application/grpc") {
            report.add(
                place
                    .field("exact")
                    .problem(
                        Code::ExactContentType,
                        "gRPC clients may send application/grpc+proto and the like, which this does not match",
                    )
                    .hint("use prefix: application/grpc"),
            );
        }
        let value = text(value, &place, report)?;
        condition.headers.push(HeaderMatch { name: name.to_ascii_lowercase().into(), value, inverted });
    }
    Some(())
}

/// A string match; none where its expression cannot be sent.
pub(super) fn text(written: &StringMatch, place: &Place, report: &mut Report) -> Option<TextMatch> {
    let set = [&written.exact, &written.prefix, &written.regex].into_iter().flatten().count();
    if set > 1 {
        let message = "exact, prefix and regex exclude each other; the first of them is used";
        report.add(place.problem(Code::ConflictingFields, message).hint("keep one"));
    }
    if let Some(exact) = &written.exact {
        return Some(TextMatch::Exact(exact.as_str().into()));
    }
    if let Some(prefix) = &written.prefix {
        return Some(match prefix.is_empty() {
            true => TextMatch::Present,
            false => TextMatch::Prefix(prefix.as_str().into()),
        });
    }
    let Some(regex) = &written.regex else { return Some(TextMatch::Present) };
    if regex == "*" {
        return Some(TextMatch::Present);
    }
    if let Some(error) = pattern::regex_error(regex) {
        let message = format!("{regex:?} is not an RE2 expression ({error}): the match is left out");
        report.add(place.field("regex").problem(Code::InvalidValue, message).hint("correct the expression"));
        return None;
    }
    Some(TextMatch::Regex(Arc::from(regex.as_str())))
}
