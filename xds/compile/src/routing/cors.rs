//! What scripts of other origins may do, checked for what a proxy would refuse.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::CorsPolicy;

use super::condition::text;
use crate::ir::{Cors, TextMatch};
use crate::pattern;
use crate::report::{Place, Report};

/// The policy of a rule.
pub(super) fn cors(written: &CorsPolicy, place: &Place, report: &mut Report) -> Cors {
    let mut origins = Vec::new();
    for (index, origin) in written.allow_origins.iter().enumerate() {
        let place = place.field("allowOrigins").index(index);
        match text(origin, &place, report) {
            // Any origin at all, which an expression says.
            Some(TextMatch::Present) => origins.push(TextMatch::Regex(".*".into())),
            Some(origin) => origins.push(origin),
            None => {}
        }
    }
    if !written.allow_origin.is_empty() {
        report.add(place.field("allowOrigin").deprecated("allowOrigins: [{exact: ...}]"));
    }
    for origin in &written.allow_origin {
        origins.push(match origin.as_str() {
            "*" => TextMatch::Regex(".*".into()),
            origin => TextMatch::Exact(origin.into()),
        });
    }
    if origins.is_empty() {
        let problem = place.problem(Code::MissingField, "no origin is allowed, so the policy allows nothing");
        report.add(problem.hint("add allowOrigins"));
    }
    Cors {
        origins,
        methods: list(&written.allow_methods, &place.field("allowMethods"), report),
        headers: list(&written.allow_headers, &place.field("allowHeaders"), report),
        exposed: list(&written.expose_headers, &place.field("exposeHeaders"), report),
        max_age: written.max_age.map(|span| span.0),
        credentials: written.allow_credentials,
        forward_unmatched: match written.unmatched_preflights.as_deref() {
            None | Some("UNSPECIFIED" | "FORWARD") => true,
            Some("IGNORE") => false,
            Some(other) => {
                let message = format!("{other:?} is neither FORWARD nor IGNORE; they are forwarded");
                let problem = place.field("unmatchedPreflights").problem(Code::InvalidValue, message);
                report.add(problem.hint("use FORWARD or IGNORE"));
                true
            }
        },
    }
}

fn list(entries: &[String], place: &Place, report: &mut Report) -> Arc<str> {
    let mut kept = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if pattern::is_header_value(entry) {
            kept.push(entry.as_str());
        } else {
            let message = "the value holds a control character and is left out";
            report.add(place.index(index).problem(Code::InvalidValue, message));
        }
    }
    kept.join(",").into()
}
