//! Slow start: an endpoint that is new takes its full share only after a while.

use pilotage_watcher::Code;
use pilotage_watcher::resources::Warmup as Written;

use super::pool::positive;
use crate::ProxyKind;
use crate::ir::{Balancer, Warmup};
use crate::policy::Policy;
use crate::report::Report;

/// The slow start of a policy.
pub(super) fn warmup(
    policy: &Policy<'_>,
    balancer: Balancer,
    kind: ProxyKind,
    report: &mut Report,
) -> Option<Warmup> {
    let (written, place) = policy.load_balancer.as_ref()?;
    if written.warmup_duration_secs.is_some() {
        report.add(place.field("warmupDurationSecs").deprecated("warmup: {duration: ...}"));
    }
    let of_old = written
        .warmup_duration_secs
        .map(|duration| Written { duration: Some(duration), ..Written::default() });
    let (written, place) = match (&written.warmup, of_old) {
        (Some(warmup), of_old) => {
            if of_old.is_some() {
                let message = "warmup and warmupDurationSecs exclude each other; warmup is used";
                report.add(place.problem(Code::ConflictingFields, message).hint("keep warmup"));
            }
            (warmup.clone(), place.field("warmup"))
        }
        (None, Some(of_old)) => (of_old, place.field("warmupDurationSecs")),
        (None, None) => return None,
    };
    if kind == ProxyKind::Grpc {
        let message = "gRPC clients know no slow start: a new endpoint takes its full share at once";
        report.add(place.problem(Code::NotForGrpcClients, message));
        return None;
    }
    if !matches!(balancer, Balancer::LeastRequest | Balancer::RoundRobin) {
        let message = "only LEAST_REQUEST and ROUND_ROBIN know slow start";
        report.add(place.problem(Code::NoEffect, message).hint("use one of them, or remove it"));
        return None;
    }
    if written.duration.is_none() {
        let problem =
            place.field("duration").problem(Code::MissingField, "without it nothing is slowed down");
        report.add(problem.hint("write duration: 60s"));
    }
    let duration = positive(written.duration, &place.field("duration"), report)?;
    let minimum = written.minimum_percent.unwrap_or(10.0);
    if !(0.0..=100.0).contains(&minimum) {
        let message = format!("{minimum} is not a percentage; the nearest is used");
        let problem = place.field("minimumPercent").problem(Code::InvalidValue, message);
        report.add(problem.hint("use 0 to 100"));
    }
    let aggression = written.aggression.unwrap_or(1.0);
    if !(1.0..=1e6).contains(&aggression) {
        let message = format!("{aggression} is not an aggression; 1.0 is used");
        let problem = place.field("aggression").problem(Code::InvalidValue, message);
        report.add(problem.hint("use 1.0 or more"));
    }
    let aggression = if (1.0..=1e6).contains(&aggression) { aggression } else { 1.0 };
    Some(Warmup {
        duration,
        // Floats to integers saturate, so that no value can do harm.
        minimum_millipercent: (minimum.clamp(0.0, 100.0) * 1000.0).round() as u32,
        aggression_thousandths: (aggression * 1000.0).round() as u32,
    })
}
