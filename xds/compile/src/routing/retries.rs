//! What is tried again: as the operator wrote it, else only what provably did not reach the application.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::{HttpRetry, RETRY_CONDITIONS, Span};

use crate::ir::RetryPolicy;
use crate::report::{Place, Report};
use crate::{ProxyKind, Settings};

/// Conditions under which a request cannot have reached the application.
const DEFAULT_CONDITIONS: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];

/// Conditions that gRPC clients know; they ignore all others (A44).
const OF_GRPC: [&str; 5] =
    ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];

/// gRPC clients make at most five attempts (A44).
const MOST_GRPC_ATTEMPTS: u32 = 4;

/// Whether a request that fails so cannot have reached the application, so that it may be sent again whatever it does.
pub(super) fn cannot_have_been_processed(condition: &str) -> bool {
    DEFAULT_CONDITIONS.contains(&condition)
        || matches!(condition, "envoy-ratelimited" | "http3-post-connect-failure")
}

/// The policy where a rule says nothing.
pub(crate) fn default_policy(settings: &Settings, kind: ProxyKind) -> Option<RetryPolicy> {
    // A gRPC client retries by itself what did not reach the server, and knows none of these conditions.
    let attempts = settings.default_retries.attempts;
    (attempts > 0 && kind != ProxyKind::Grpc).then(|| RetryPolicy {
        attempts,
        on: DEFAULT_CONDITIONS.map(Arc::from).to_vec(),
        status_codes: Vec::new(),
        per_try_timeout: None,
        backoff: None,
        avoid_tried: true,
        avoid_tried_localities: false,
    })
}

/// The policy that a rule writes; none turns retries off.
pub(super) fn policy(
    written: &HttpRetry,
    timeout: Option<Span>,
    place: &Place,
    kind: ProxyKind,
    report: &mut Report,
) -> Option<RetryPolicy> {
    let attempts = match written.attempts {
        Some(attempts) => attempts,
        None => {
            let message = "attempts is not set, so nothing is retried";
            report
                .add(place.field("attempts").problem(Code::MissingField, message).hint("write attempts: 2"));
            0
        }
    };
    if attempts < 0 {
        let message = format!("{attempts} is not a number of attempts; nothing is retried");
        report.add(place.field("attempts").problem(Code::InvalidValue, message));
    }
    let attempts = u32::try_from(attempts.clamp(0, i64::from(u32::MAX))).unwrap_or(0);
    if attempts == 0 {
        return None;
    }
    let per_try_timeout = duration(written.per_try_timeout, &place.field("perTryTimeout"), report);
    if let (Some(each), Some(Span(whole))) = (per_try_timeout, timeout)
        && each >= whole
        && !whole.is_zero()
    {
        report.add(
            place
                .field("perTryTimeout")
                .problem(Code::NoEffect, format!("each try may take {each:?}, and all together {whole:?}"))
                .hint("make it shorter than the timeout of the rule"),
        );
    }
    let (on, status_codes) = conditions(written, place, report);
    let mut policy = RetryPolicy {
        attempts,
        on,
        status_codes,
        per_try_timeout,
        backoff: duration(written.backoff, &place.field("backoff"), report),
        avoid_tried: written.retry_ignore_previous_hosts.unwrap_or(true),
        avoid_tried_localities: written.retry_remote_localities.unwrap_or(false),
    };
    if kind == ProxyKind::Grpc {
        return for_grpc_client(policy, place, report);
    }
    let by_status: Vec<&str> =
        policy.on.iter().map(|condition| &**condition).filter(|on| OF_GRPC.contains(on)).collect();
    if !by_status.is_empty() {
        let message = format!(
            "{} is seen only in an answer that has no message: a status that follows one stands in the trailers, and \
             is not retried",
            by_status.join(",")
        );
        report.add(place.field("retryOn").problem(Code::RetryNeedsTrailersOnly, message));
    }
    let retries_timeouts =
        policy.on.iter().any(|condition| matches!(&**condition, "reset" | "5xx" | "gateway-error"));
    if policy.per_try_timeout.is_some() && !retries_timeouts {
        report.add(
            place
                .field("perTryTimeout")
                .problem(
                    Code::RetryNeverFires,
                    format!(
                        "a try that runs into its timeout is not tried again on {}: it fails",
                        policy.on.join(",")
                    ),
                )
                .hint("add reset to retryOn if a call may safely run twice"),
        );
    }
    policy.on.sort();
    policy.on.dedup();
    Some(policy)
}

/// The part of a policy that a gRPC client can follow; none if nothing is left.
fn for_grpc_client(mut policy: RetryPolicy, place: &Place, report: &mut Report) -> Option<RetryPolicy> {
    let (known, ignored): (Vec<_>, Vec<_>) =
        policy.on.iter().cloned().partition(|condition| OF_GRPC.contains(&&**condition));
    if !ignored.is_empty() {
        let message = format!("proxyless gRPC clients do not retry on {}", ignored.join(","));
        report.add(place.field("retryOn").problem(Code::NotForGrpcClients, message));
    }
    if policy.per_try_timeout.is_some() {
        let message = "proxyless gRPC clients have no timeout per try";
        report.add(place.field("perTryTimeout").problem(Code::NotForGrpcClients, message));
    }
    if policy.attempts > MOST_GRPC_ATTEMPTS {
        let message = format!(
            "gRPC clients make at most {} attempts: {MOST_GRPC_ATTEMPTS} retries",
            MOST_GRPC_ATTEMPTS + 1
        );
        report.add(place.field("attempts").problem(Code::NotForGrpcClients, message));
    }
    policy.attempts = policy.attempts.min(MOST_GRPC_ATTEMPTS);
    policy.on = known;
    policy.on.sort();
    policy.on.dedup();
    policy.status_codes.clear();
    policy.per_try_timeout = None;
    policy.avoid_tried = false;
    policy.avoid_tried_localities = false;
    (!policy.on.is_empty()).then_some(policy)
}

fn conditions(written: &HttpRetry, place: &Place, report: &mut Report) -> (Vec<Arc<str>>, Vec<u32>) {
    let place = place.field("retryOn");
    let mut on: Vec<Arc<str>> = Vec::new();
    let mut codes = Vec::new();
    let text = written.retry_on.as_deref().unwrap_or_default();
    for token in text.split(',').map(str::trim).filter(|token| !token.is_empty()) {
        if let Ok(code) = token.parse::<u32>() {
            if (100..=599).contains(&code) {
                codes.push(code);
            } else {
                let message = format!("{code} is not an HTTP status and is left out");
                report.add(place.problem(Code::InvalidValue, message).hint("use 100 to 599"));
            }
        } else if RETRY_CONDITIONS.contains(&token) {
            on.push(token.into());
        } else {
            let problem = place.problem(
                Code::InvalidValue,
                format!("{token:?} is not a condition to retry on and is left out"),
            );
            report.add(match crate::hosts::nearest(token, RETRY_CONDITIONS.iter().copied()) {
                Some(near) => problem.hint(format!("did you mean {near}?")),
                None => problem.hint("see the router filter's retry-on in the Envoy documentation"),
            });
        }
    }
    if !codes.is_empty() {
        on.push("retriable-status-codes".into());
    }
    codes.sort_unstable();
    codes.dedup();
    if on.is_empty() {
        on = DEFAULT_CONDITIONS.map(Arc::from).to_vec();
    }
    (on, codes)
}

/// A duration that means something; below a millisecond it does not.
pub(super) fn duration(
    written: Option<Span>,
    place: &Place,
    report: &mut Report,
) -> Option<std::time::Duration> {
    let duration = written?.0;
    if duration.is_zero() {
        return None;
    }
    if duration < std::time::Duration::from_millis(1) {
        let message = format!("{duration:?} is below a millisecond and is not used");
        report.add(place.problem(Code::InvalidValue, message).hint("write 1ms or more"));
        return None;
    }
    Some(duration)
}
