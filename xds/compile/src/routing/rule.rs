//! The rules of a VirtualService as rules of a virtual host.
//!
//! Every alternative match becomes a rule of its own. A rule that cannot be served as written answers 503 in its
//! place: requests must not fall through to a rule that was not meant for them.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpBody, HttpMatch, HttpRoute};

use super::answer::{redirect, rewrite, unserved_action};
use super::condition::{applies, condition};
use super::destination::target;
use super::headers::edits;
use super::repetition::guarded;
use super::retries;
use super::{Claim, Scope, Written, cors, fault, mirror};
use crate::ProxyKind;
use crate::hosts::expand;
use crate::ir::{Action, Backend, Condition, Forward, PathMatch, PathRewrite, RedirectPath, Rule};
use crate::methods::Declared;
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
pub(crate) fn rules(claim: &Claim, via: &Via<'_>, scope: &Scope<'_>, report: &mut Report) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let mut catch_all: Option<Place> = None;
    // Conditions that hold whoever the client is, and where they stand.
    let mut seen: HashMap<Condition, Place> = HashMap::new();
    let declared = Declared::of(&claim.service.meta.annotations);
    for written in &claim.rules {
        let place = &written.place;
        if let Some(earlier) = &catch_all {
            let message = format!("{} matches every request before this rule does", named(earlier, place));
            let problem = place.problem(Code::UnreachableRule, message);
            report.add(problem.hint("put the rule that matches everything last"));
            continue;
        }
        let conditions = conditions(written, via, scope, report);
        if conditions.is_empty() {
            continue;
        }
        let rule = rule(written, via, scope, report);
        let is_grpc = is_grpc(written, via, scope);
        for (index, condition) in conditions {
            let alternative = index.and_then(|index| written.route.r#match.get(index));
            let own = match index {
                Some(index) => place.field("match").index(index),
                None => place.clone(),
            };
            if let Some(earlier) = seen.get(&condition) {
                let message = format!("{} has the same match and comes first", named(earlier, place));
                let problem = own.problem(Code::UnreachableRule, message);
                report.add(problem.hint("remove one of the two, or make this one narrower and put it first"));
                continue;
            }
            let names = [written.route.name.as_deref(), alternative.and_then(|own| own.name.as_deref())];
            let name =
                names.into_iter().flatten().filter(|name| !name.is_empty()).collect::<Vec<_>>().join(".");
            let always = condition.is_always();
            let of_all = !alternative.is_some_and(depends_on_client);
            if of_all {
                seen.insert(condition.clone(), own.clone());
            }
            if is_grpc && let PathMatch::Exact(path) = &condition.path {
                unknown_method(path, &own, scope, report);
            }
            let rule = Rule {
                name: if name.is_empty() { "default".into() } else { name.into() },
                action: fit(&rule.action, &condition, place, report),
                condition,
                stat_prefix: alternative
                    .and_then(|own| own.stat_prefix.as_deref())
                    .unwrap_or_default()
                    .into(),
                ..rule.clone()
            };
            match is_grpc {
                true => {
                    rules.extend(guarded(rule, &declared, &place.field("retries"), scope, report));
                }
                false => rules.push(rule),
            }
            if always {
                if of_all {
                    catch_all = Some(place.clone());
                    break;
                }
                // For this client nothing else can match, though for others it may.
                return rules;
            }
        }
    }
    rules
}

/// Whether all that a rule leads to is known to be gRPC.
fn is_grpc(written: &Written, via: &Via<'_>, scope: &Scope<'_>) -> bool {
    let mut destinations = written.route.route.iter().map(|route| &route.destination).peekable();
    destinations.peek().is_some()
        && destinations.all(|written_to| {
            let name = expand(&written_to.host, &written.namespace, &scope.settings.cluster_domain);
            let number = written_to.port.map(|port| port.number).filter(|number| *number != 0);
            let host = scope.hosts.get(&name);
            let port = host.and_then(|host| match (number, &host.ports[..]) {
                (Some(number), _) => host.port(number),
                (None, [only]) => Some(only),
                (None, _) => host.port(u32::from(via.port)),
            });
            port.is_some_and(|port| port.protocol.is_grpc())
        })
}

/// A path that means no method, as far as descriptors say.
fn unknown_method(path: &str, place: &Place, scope: &Scope<'_>, report: &mut Report) {
    let Some((message, near)) = scope.methods.unknown(path) else { return };
    let problem = place.field("uri").problem(Code::UnknownMethod, message);
    report.add(match near {
        Some(near) => problem.hint(format!("did you mean {near}?")),
        None => problem.hint("correct the path, or write the descriptors anew"),
    });
}

/// How a place is called beside another: by its field alone where both are in one object.
fn named(place: &Place, beside: &Place) -> String {
    match place.object == beside.object {
        true => place.path.clone(),
        false => format!("{} of {}", place.path, place.object),
    }
}

/// Whether a match looks at more than the request itself.
fn depends_on_client(written: &HttpMatch) -> bool {
    written.port.is_some()
        || !written.source_labels.is_empty()
        || written.source_namespace.is_some()
        || !written.gateways.is_empty()
}

/// The conditions of a rule that can hold for this proxy, each with the index of its match; one that always does
/// where the rule has no match.
fn conditions(
    written: &Written,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<(Option<usize>, Condition)> {
    if written.route.r#match.is_empty() {
        return vec![(None, Condition::default())];
    }
    let mut conditions = Vec::new();
    for (index, alternative) in written.route.r#match.iter().enumerate() {
        let place = written.place.field("match").index(index);
        if applies(alternative, &written.namespace, via, scope)
            && let Some(condition) = condition(alternative, &place, scope, report)
        {
            conditions.push((Some(index), condition));
        }
    }
    conditions
}

/// What a rule does, whatever it matches.
fn rule(written: &Written, via: &Via<'_>, scope: &Scope<'_>, report: &mut Report) -> Rule {
    let Written { route, place, .. } = written;
    let kind = scope.group.kind;
    let (headers, authority) = edits(route.headers.as_ref(), &place.field("headers"), report);
    let action = match answer(written, via, scope, report) {
        Some(action) => action,
        None => forward(written, authority, via, scope, report),
    };
    let fault = route.fault.as_ref().and_then(|fault| fault::fault(fault, &place.field("fault"), report));
    let cors = route.cors_policy.as_ref().map(|cors| cors::cors(cors, &place.field("corsPolicy"), report));
    if cors.is_some() && kind == ProxyKind::Grpc {
        let message = "gRPC clients are no browsers: they are not told of it";
        report.add(place.field("corsPolicy").problem(Code::NotForGrpcClients, message));
    }
    Rule {
        headers,
        fault,
        cors: cors.filter(|_| kind != ProxyKind::Grpc),
        source: Some(place.object.clone()),
        ..Rule::always("default", action)
    }
}

/// The action of a rule that does not forward; none for one that does.
fn answer(written: &Written, via: &Via<'_>, scope: &Scope<'_>, report: &mut Report) -> Option<Action> {
    let Written { route, place, .. } = written;
    let kind = scope.group.kind;
    if written.broken {
        return Some(unserved_action(kind));
    }
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
        return Some(unserved_action(kind));
    }
    let answers = route.redirect.is_some() || route.direct_response.is_some();
    if kind == ProxyKind::Grpc && answers {
        let field = if route.redirect.is_some() { "redirect" } else { "directResponse" };
        let message = format!("gRPC clients refuse routes with {field}: their calls fail with UNAVAILABLE");
        report.add(place.field(field).problem(Code::NotForGrpcClients, message));
        return Some(unserved_action(kind));
    }
    if answers {
        without_effect(route, place, report);
    }
    if let Some(written) = &route.redirect {
        return Some(redirect(written, &place.field("redirect"), via, kind, report));
    }
    if let Some(written) = &route.direct_response {
        let place = place.field("directResponse");
        if !(200..600).contains(&written.status) {
            let message = format!("{} is not a status that can be answered; it is 503", written.status);
            report.add(place.field("status").problem(Code::InvalidValue, message).hint("use 200 to 599"));
            return Some(unserved_action(kind));
        }
        let body = written.body.as_ref().map(|body| body_of(body, &place.field("body"), report));
        return Some(Action::Respond { status: written.status, body: body.unwrap_or_default().into() });
    }
    if route.route.is_empty() {
        report.add(
            place
                .problem(Code::MissingField, "the rule says nothing of what to do; requests get 503")
                .hint("add route, redirect or directResponse"),
        );
        return Some(unserved_action(kind));
    }
    None
}

/// Fields that only mean something for requests that are forwarded.
fn without_effect(route: &HttpRoute, place: &Place, report: &mut Report) {
    let fields = [
        ("rewrite", route.rewrite.is_some()),
        ("timeout", route.timeout.is_some()),
        ("retries", route.retries.is_some()),
        ("mirror", route.mirror.is_some()),
        ("mirrors", !route.mirrors.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        let message = format!("the rule answers by itself, so {field} has no effect");
        report.add(place.field(field).problem(Code::NoEffect, message).hint("remove it"));
    }
}

fn body_of(written: &HttpBody, place: &Place, report: &mut Report) -> Vec<u8> {
    let body = match (&written.string, &written.bytes) {
        (Some(text), other) => {
            if other.is_some() {
                let message = "string and bytes exclude each other; string is used";
                report.add(place.problem(Code::ConflictingFields, message).hint("keep one of them"));
            }
            text.clone().into_bytes()
        }
        (None, Some(encoded)) => match STANDARD.decode(encoded) {
            Ok(body) => body,
            Err(error) => {
                let message = format!("not base64 ({error}); the answer has no body");
                let problem = place.field("bytes").problem(Code::InvalidValue, message);
                report.add(problem.hint("encode the body with base64, or use string"));
                Vec::new()
            }
        },
        (None, None) => Vec::new(),
    };
    if body.len() > crate::envoy::MAX_BODY {
        report.add(place.problem(Code::TooLarge, "a body has at most 1 MiB; it is left out"));
        return Vec::new();
    }
    body
}

fn forward(
    written: &Written,
    authority: Option<Arc<str>>,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Action {
    let Written { route, place, namespace, .. } = written;
    let kind = scope.group.kind;
    let mut forward = Forward { authority_rewrite: authority, ..Forward::default() };
    let single = route.route.len() == 1;
    let mut total = 0u64;
    for (index, destination) in route.route.iter().enumerate() {
        let place = place.field("route").index(index);
        let weight = weight(destination.weight, single, &place.field("weight"), report);
        let target =
            target(&destination.destination, namespace, &place.field("destination"), via, scope, report);
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
    forward.mirrors = mirror::mirrors(written, via, scope, report);
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
