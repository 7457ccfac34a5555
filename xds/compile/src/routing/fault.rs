//! Faults that are injected on purpose: delays and aborts, each for a share of the requests.

use pilotage_watcher::Code;
use pilotage_watcher::resources::{FaultAbort, FaultDelay, GRPC_STATUSES, HttpFault, Percent};

use crate::ir::{AbortStatus, Fault, Share};
use crate::report::{Place, Report};

/// A percentage as a share, the nearest where it is none.
pub(super) fn share(percent: f64, place: &Place, report: &mut Report) -> Share {
    if !(0.0..=100.0).contains(&percent) {
        let message = format!("{percent} is not a percentage; the nearest is used");
        report.add(place.field("value").problem(Code::InvalidValue, message).hint("use 0 to 100"));
    }
    // A float to an integer saturates, and what is not a number becomes 0.
    Share((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
}

/// The faults of a rule; none where nothing would ever fail.
pub(super) fn fault(written: &HttpFault, place: &Place, report: &mut Report) -> Option<Fault> {
    let delay = written.delay.as_ref().and_then(|delay| of_delay(delay, &place.field("delay"), report));
    let abort = written.abort.as_ref().and_then(|abort| of_abort(abort, &place.field("abort"), report));
    if written.delay.is_none() && written.abort.is_none() {
        let problem = place.problem(Code::NoEffect, "neither a delay nor an abort is injected");
        report.add(problem.hint("add delay or abort"));
    }
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn of_delay(
    written: &FaultDelay,
    place: &Place,
    report: &mut Report,
) -> Option<(std::time::Duration, Share)> {
    if written.exponential_delay.is_some() {
        report.add(place.field("exponentialDelay").not_supported("no proxy implements it"));
    }
    let Some(delay) = written.fixed_delay else {
        if written.exponential_delay.is_none() {
            let problem =
                place.field("fixedDelay").problem(Code::MissingField, "without it nothing is delayed");
            report.add(problem.hint("write fixedDelay: 5s"));
        }
        return None;
    };
    let delay = super::retries::duration(Some(delay), &place.field("fixedDelay"), report);
    let delay = delay.or_else(|| {
        let message = "a delay of nothing is none";
        report.add(place.field("fixedDelay").problem(Code::NoEffect, message).hint("write 1ms or more"));
        None
    })?;
    if written.percent.is_some() {
        report.add(place.field("percent").deprecated("percentage: {value: ...}"));
    }
    let of_old = written.percent.map(|percent| Percent { value: f64::from(percent) });
    Some((delay, how_often(written.percentage.or(of_old), place, report)?))
}

fn of_abort(written: &FaultAbort, place: &Place, report: &mut Report) -> Option<(AbortStatus, Share)> {
    if written.http2_error.is_some() {
        report.add(place.field("http2Error").not_supported("no proxy implements it"));
    }
    if written.http_status.is_some() && written.grpc_status.is_some() {
        let message = "httpStatus and grpcStatus exclude each other; grpcStatus is used";
        report.add(place.problem(Code::ConflictingFields, message).hint("keep one of them"));
    }
    let status = match (&written.grpc_status, written.http_status) {
        (Some(name), _) => {
            let Some(number) = GRPC_STATUSES.iter().position(|known| known == name) else {
                let message = format!("{name:?} is not a gRPC status; nothing is aborted");
                let problem = place.field("grpcStatus").problem(Code::InvalidValue, message);
                let upper = name.to_ascii_uppercase();
                report.add(match crate::hosts::nearest(&upper, GRPC_STATUSES.iter().copied()) {
                    Some(near) => problem.hint(format!("did you mean {near}?")),
                    None => problem.hint("write a name such as UNAVAILABLE"),
                });
                return None;
            };
            AbortStatus::Grpc(u32::try_from(number).unwrap_or(2))
        }
        (None, Some(status)) if (200..600).contains(&status) => AbortStatus::Http(status),
        (None, Some(status)) => {
            let message = format!("{status} is not a status that can be answered; nothing is aborted");
            report.add(place.field("httpStatus").problem(Code::InvalidValue, message).hint("use 200 to 599"));
            return None;
        }
        (None, None) => {
            if written.http2_error.is_none() {
                let problem = place.problem(Code::MissingField, "it has no status, so nothing is aborted");
                report.add(problem.hint("write grpcStatus: UNAVAILABLE, or httpStatus: 503"));
            }
            return None;
        }
    };
    Some((status, how_often(written.percentage, place, report)?))
}

/// The share of a fault; none where it would never fire.
fn how_often(percentage: Option<Percent>, place: &Place, report: &mut Report) -> Option<Share> {
    let Some(Percent { value }) = percentage else {
        let message = "without a percentage the fault never fires";
        let problem = place.field("percentage").problem(Code::NoEffect, message);
        report.add(problem.hint("write percentage: {value: 100}"));
        return None;
    };
    Some(share(value, &place.field("percentage"), report)).filter(|share| *share > Share(0))
}
