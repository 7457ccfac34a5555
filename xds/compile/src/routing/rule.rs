//! The rules of a VirtualService as rules of a virtual host.
//!
//! Every alternative match becomes a rule of its own. A rule that cannot be served as written answers 503 in its
//! place: requests must not fall through to a rule that was not meant for them.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpMatch, HttpRoute};

use super::answer::{redirect, rewrite, unserved_action};
use super::condition::{applies, condition};
use super::destination::target;
use super::headers::edits;
use super::retries;
use super::{Claim, Scope};
use crate::ProxyKind;
use crate::ir::{
    Action, Backend, Condition, Forward, HeaderEdits, PathMatch, PathRewrite, RedirectPath, Rule,
};
use crate::report::{Place, Report};

/// The way by which requests come: a port of the mesh, or of a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Via<'a> {
    /// The port that was called.
    pub(crate) port: u16,
    /// `namespace/name` of the Gateway; none on the mesh.
    pub(crate) gateway: Option<&'a str>,
}

/// The rules of a VirtualService for requests that come this way.
pub(crate) fn rules(claim: &Claim<'_>, via: &Via<'_>, scope: &Scope<'_>, report: &mut Report) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut catch_all: Option<String> = None;
    for (index, route) in claim.service.spec.http.iter().enumerate() {
        let place = Place::new(claim.source.clone(), "spec.http").index(index);
        if let Some(earlier) = &catch_all {
            report.add(
                place
                    .problem(
                        Code::UnreachableRule,
                        format!("{earlier} matches every request before this rule does"),
                    )
                    .hint("put the rule that matches everything last"),
            );
            continue;
        }
        let conditions = conditions(route, claim, &place, via, scope, report);
        if conditions.is_empty() {
            continue;
        }
        let (action, headers) = action(route, claim, &place, via, scope, report);
        for (written, condition) in conditions {
            let names = [route.name.as_deref(), written.and_then(|written| written.name.as_deref())];
            let name =
                names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".");
            let always = condition.is_always();
            rules.push(Rule {
                name: if name.is_empty() { "default".into() } else { name.into() },
                action: fit(&action, &condition, &place, report),
                condition,
                headers: headers.clone(),
                stat_prefix: written
                    .and_then(|written| written.stat_prefix.as_deref())
                    .unwrap_or_default()
                    .into(),
                source: Some(claim.source.clone()),
            });
            if always {
                if !written.is_some_and(depends_on_client) {
                    catch_all = Some(place.path.clone());
                    break;
                }
                // For this client nothing else can match, though for others it may.
                return rules;
            }
        }
    }
    rules
}

/// Whether a match looks at more than the request itself.
fn depends_on_client(written: &HttpMatch) -> bool {
    written.port.is_some()
        || !written.source_labels.is_empty()
        || written.source_namespace.is_some()
        || !written.gateways.is_empty()
}

/// The conditions of a rule that can hold for this proxy; one that always does where the rule has no match.
fn conditions<'w>(
    route: &'w HttpRoute,
    claim: &Claim<'_>,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<(Option<&'w HttpMatch>, Condition)> {
    if route.r#match.is_empty() {
        return vec![(None, Condition::default())];
    }
    let mut conditions = Vec::new();
    for (index, written) in route.r#match.iter().enumerate() {
        let place = place.field("match").index(index);
        if applies(written, claim, via, scope)
            && let Some(condition) = condition(written, &place, scope, report)
        {
            conditions.push((Some(written), condition));
        }
    }
    conditions
}

fn action(
    route: &HttpRoute,
    claim: &Claim<'_>,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> (Action, HeaderEdits) {
    let kind = scope.group.kind;
    unserved(route, place, report);
    let (headers, authority) = edits(route.headers.as_ref(), &place.field("headers"), report);
    let kinds = [
        (!route.route.is_empty(), "route"),
        (route.redirect.is_some(), "redirect"),
        (route.direct_response.is_some(), "directResponse"),
        (route.delegate.is_some(), "delegate"),
    ];
    let set: Vec<_> = kinds.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
    if set.len() > 1 {
        report.add(
            place
                .problem(
                    Code::ConflictingFields,
                    format!("{} exclude each other; requests get 503", set.join(" and ")),
                )
                .hint("keep one of them"),
        );
        return (unserved_action(kind), headers);
    }
    if kind == ProxyKind::Grpc && (route.redirect.is_some() || route.direct_response.is_some()) {
        let field = if route.redirect.is_some() { "redirect" } else { "directResponse" };
        let message = format!("gRPC clients refuse routes with {field}: their calls fail with UNAVAILABLE");
        report.add(place.field(field).problem(Code::NotForGrpcClients, message));
        return (unserved_action(kind), headers);
    }
    if let Some(written) = &route.redirect {
        return (redirect(written, &place.field("redirect"), via, kind, report), headers);
    }
    if let Some(written) = &route.direct_response {
        let place = place.field("directResponse");
        if !(200..600).contains(&written.status) {
            let message = format!("{} is not a status that can be answered; it is 503", written.status);
            report.add(place.field("status").problem(Code::InvalidValue, message).hint("use 200 to 599"));
            return (unserved_action(kind), headers);
        }
        let body = written.body.as_ref();
        if body.is_some_and(|body| body.bytes.is_some()) {
            report.add(place.field("body.bytes").not_supported("the answer has no body"));
        }
        let mut body = body.and_then(|body| body.string.clone()).unwrap_or_default();
        if body.len() > crate::envoy::MAX_BODY {
            report
                .add(place.field("body").problem(Code::TooLarge, "a body has at most 1 MiB; it is left out"));
            body.clear();
        }
        return (Action::Respond { status: written.status, body: body.into() }, headers);
    }
    if route.delegate.is_some() {
        return (unserved_action(kind), headers);
    }
    if route.route.is_empty() {
        report.add(
            place
                .problem(Code::MissingField, "the rule says nothing of what to do; requests get 503")
                .hint("add route, redirect or directResponse"),
        );
        return (unserved_action(kind), headers);
    }
    (forward(route, authority, claim, place, via, scope, report), headers)
}

/// The fields that are read but not served.
fn unserved(route: &HttpRoute, place: &Place, report: &mut Report) {
    let fields = [
        ("delegate", route.delegate.is_some(), "requests get 503"),
        ("fault", route.fault.is_some(), "no fault is injected"),
        ("mirror", route.mirror.is_some(), "nothing is mirrored"),
        ("mirrors", !route.mirrors.is_empty(), "nothing is mirrored"),
        ("corsPolicy", route.cors_policy.is_some(), "no cross-origin headers are set"),
    ];
    for (field, present, consequence) in fields {
        if present {
            report.add(place.field(field).not_supported(consequence));
        }
    }
}

fn forward(
    route: &HttpRoute,
    authority: Option<Arc<str>>,
    claim: &Claim<'_>,
    place: &Place,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Action {
    let kind = scope.group.kind;
    let mut forward = Forward { authority_rewrite: authority, ..Forward::default() };
    let single = route.route.len() == 1;
    let mut total = 0u64;
    for (index, destination) in route.route.iter().enumerate() {
        let place = place.field("route").index(index);
        let weight = weight(destination.weight, single, &place.field("weight"), report);
        let target = target(&destination.destination, claim, &place.field("destination"), via, scope, report);
        let (headers, authority_rewrite) =
            edits(destination.headers.as_ref(), &place.field("headers"), report);
        if weight == 0 {
            continue;
        }
        total += u64::from(weight);
        for key in target.hash_by {
            if !forward.hash_by.contains(&key) {
                forward.hash_by.push(key);
            }
        }
        forward.backends.push(Backend { cluster: target.cluster, weight, headers, authority_rewrite });
    }
    if forward.backends.is_empty() || total > u64::from(u32::MAX) {
        let message = "the weights add up to nothing, or to more than 4294967295; requests get 503";
        report.add(
            place.field("route").problem(Code::InvalidValue, message).hint("write weights such as 90 and 10"),
        );
        return unserved_action(kind);
    }
    forward.timeout = retries::duration(route.timeout, &place.field("timeout"), report);
    forward.retries = match &route.retries {
        Some(written) => retries::policy(written, route.timeout, &place.field("retries"), kind, report),
        None => retries::default_policy(scope.settings, kind),
    };
    if let Some(retries) = &mut forward.retries
        && forward.backends.len() == 1
        && !forward.hash_by.is_empty()
    {
        // A hash leads to the same endpoint each time: avoiding it would only cost attempts.
        retries.avoid_tried = false;
    }
    if let Some(written) = &route.rewrite {
        let place = place.field("rewrite");
        if kind == ProxyKind::Grpc {
            report.add(
                place.problem(Code::NotForGrpcClients, "gRPC clients rewrite neither path nor authority"),
            );
        } else {
            rewrite(&mut forward, written, &place, report);
        }
    }
    if kind == ProxyKind::Grpc {
        let edited = route.headers.is_some() || route.route.iter().any(|backend| backend.headers.is_some());
        if edited {
            let message = "gRPC clients change no headers by a route";
            report.add(place.problem(Code::NotForGrpcClients, message));
        }
    }
    Action::Forward(Box::new(forward))
}

pub(super) fn weight(written: Option<i64>, single: bool, place: &Place, report: &mut Report) -> u32 {
    let weight = written.unwrap_or(0);
    match u32::try_from(weight) {
        _ if single => 1,
        Ok(weight) => weight,
        Err(_) => {
            let message = format!("{weight} is not a weight; the destination gets no requests");
            report.add(place.problem(Code::InvalidValue, message).hint("use 0 to 4294967295"));
            0
        }
    }
}

/// The action for one condition: an exact path is replaced as a whole, an expression has no part to replace.
fn fit(action: &Action, condition: &Condition, place: &Place, report: &mut Report) -> Action {
    let mut action = action.clone();
    let by_expression = matches!(condition.path, PathMatch::Regex(_));
    if let Action::Forward(forward) = &mut action
        && let Some(PathRewrite::Matched(_)) = &forward.path_rewrite
        && by_expression
    {
        let message = "a path that is matched by an expression has no prefix to replace; it is not rewritten";
        report.add(place.field("rewrite.uri").problem(Code::NoEffect, message).hint("use uriRegexRewrite"));
        forward.path_rewrite = None;
    }
    if let Action::Redirect(redirect) = &mut action
        && let Some(RedirectPath::Prefix(_)) = &redirect.path
        && by_expression
    {
        let message = "a path that is matched by an expression has no prefix to replace; the path stays";
        report.add(place.field("redirect.prefixRewrite").problem(Code::NoEffect, message));
        redirect.path = None;
    }
    action
}
