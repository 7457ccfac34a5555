//! What is done in place of forwarding as it came: redirects, rewrites, and the answer of a rule that cannot be served.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpRedirect, HttpRewrite};

use super::rule::Via;
use crate::ir::{Action, Backend, Forward, HeaderEdits, PathRewrite, Redirect, RedirectPath, RedirectStatus};
use crate::report::{Place, Report};
use crate::{ProxyKind, pattern};

/// A cluster that nobody has: calls that a gRPC client sends there fail with UNAVAILABLE.
const NOWHERE: &str = "BlackHoleCluster";

/// Adds a rewrite to where requests are sent.
pub(super) fn rewrite(forward: &mut Forward, written: &HttpRewrite, place: &Place, report: &mut Report) {
    let text = |field: &str, value: &Option<String>, report: &mut Report| -> Option<Arc<str>> {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        if pattern::is_header_value(value) {
            return Some(value.into());
        }
        report.add(place.field(field).problem(Code::InvalidValue, "the value holds a control character"));
        None
    };
    // The rewrite's own authority wins over one that header operations set.
    forward.authority_rewrite =
        text("authority", &written.authority, report).or_else(|| forward.authority_rewrite.take());
    forward.path_rewrite = text("uri", &written.uri, report).map(PathRewrite::Matched);
    if let Some(regex) = &written.uri_regex_rewrite {
        let place = place.field("uriRegexRewrite");
        if forward.path_rewrite.is_some() {
            let message = "uri and uriRegexRewrite exclude each other; uri is used";
            report.add(place.problem(Code::ConflictingFields, message));
        } else if let Some(error) = pattern::regex_error(&regex.r#match)
            .or_else(|| pattern::substitution_error(&regex.r#match, &regex.rewrite))
        {
            let message = format!("the path is not rewritten: {error}");
            report.add(place.problem(Code::InvalidValue, message).hint("correct match or rewrite"));
        } else {
            forward.path_rewrite = Some(PathRewrite::Regex {
                pattern: regex.r#match.as_str().into(),
                substitution: regex.rewrite.as_str().into(),
            });
        }
    }
}

/// A redirect, or 503 for one that proxies cannot answer with.
pub(super) fn redirect(
    written: &HttpRedirect,
    place: &Place,
    via: &Via<'_>,
    kind: ProxyKind,
    report: &mut Report,
) -> Action {
    let text = |field: &str, value: &Option<String>, report: &mut Report| -> Option<Arc<str>> {
        let value = value.as_deref().filter(|value| !value.is_empty())?;
        if pattern::is_header_value(value) {
            return Some(value.into());
        }
        report.add(place.field(field).problem(Code::InvalidValue, "the value holds a control character"));
        None
    };
    let status = match written.redirect_code {
        None | Some(0 | 301) => RedirectStatus::MovedPermanently,
        Some(302) => RedirectStatus::Found,
        Some(303) => RedirectStatus::SeeOther,
        Some(307) => RedirectStatus::TemporaryRedirect,
        Some(308) => RedirectStatus::PermanentRedirect,
        Some(other) => {
            let message = format!("{other} is not a redirect; requests get 503");
            report.add(
                place
                    .field("redirectCode")
                    .problem(Code::InvalidValue, message)
                    .hint("use 301, 302, 303, 307 or 308"),
            );
            return unserved_action(kind);
        }
    };
    let scheme = text("scheme", &written.scheme, report);
    let path = text("uri", &written.uri, report).map(RedirectPath::Whole);
    let path =
        path.or_else(|| text("prefixRewrite", &written.prefix_rewrite, report).map(RedirectPath::Prefix));
    let usual = |port: u16| {
        scheme.as_deref().is_some_and(|scheme| matches!((scheme, port), ("http", 80) | ("https", 443)))
    };
    let port = match (written.port, written.derive_port.as_deref()) {
        (Some(port), _) => {
            let port = u16::try_from(port).ok().filter(|port| *port != 0);
            if port.is_none() {
                report.add(place.field("port").problem(Code::InvalidValue, "not a port; none is set"));
            }
            port
        }
        (None, Some("FROM_REQUEST_PORT")) => Some(via.port).filter(|port| !usual(*port)),
        (None, _) => None,
    };
    Action::Redirect(Redirect {
        authority: text("authority", &written.authority, report),
        path,
        scheme,
        port,
        status,
    })
}

/// What is done with requests for a rule that cannot be served as written.
pub(super) fn unserved_action(kind: ProxyKind) -> Action {
    match kind {
        ProxyKind::Grpc => Action::Forward(Box::new(Forward {
            backends: vec![Backend {
                cluster: NOWHERE.into(),
                weight: 1,
                headers: HeaderEdits::default(),
                authority_rewrite: None,
            }],
            ..Forward::default()
        })),
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Gateway => Action::Respond {
            status: 503,
            body: "the rule for this request cannot be served as written".as_bytes().into(),
        },
    }
}
