//! Ejection of endpoints that fail.

use pilotage_watcher::Code;

use super::pool;
use crate::ir::Outliers;
use crate::policy::Policy;
use crate::report::Report;
use crate::{Group, ProxyKind};

/// The outlier detection of a policy; none for clients that know none of it.
pub(super) fn outliers(policy: &Policy<'_>, group: &Group, report: &mut Report) -> Option<Outliers> {
    let (outliers, place) = policy.outlier_detection.as_ref()?;
    if outliers.consecutive_errors.is_some() {
        report.add(
            place
                .field("consecutiveErrors")
                .problem(Code::NoEffect, "consecutiveErrors was removed from the API and does nothing")
                .hint("use consecutive5xxErrors or consecutiveGatewayErrors"),
        );
    }
    if group.kind == ProxyKind::Grpc {
        report.add(place.problem(
            Code::NotForGrpcClients,
            "proxyless gRPC clients know no ejection by consecutive errors: they are not told of it",
        ));
        return None;
    }
    let percent = |field: &str, value: Option<i32>, report: &mut Report| {
        let value = value?;
        let clamped = u32::try_from(value.clamp(0, 100)).ok();
        if !(0..=100).contains(&value) {
            let message = format!("{value} is not a percentage and is taken as {}", value.clamp(0, 100));
            report.add(place.field(field).problem(Code::InvalidValue, message).hint("use 0 to 100"));
        }
        clamped
    };
    let mut statuses = Vec::new();
    for (index, status) in outliers.outlier_detection_http_error_codes.iter().enumerate() {
        if (100..600).contains(status) {
            statuses.push(*status);
        } else {
            let message = format!("{status} is not an HTTP status and is left out");
            let place = place.field("outlierDetectionHttpErrorCodes").index(index);
            report.add(place.problem(Code::InvalidValue, message).hint("use 100 to 599"));
        }
    }
    if outliers.consecutive_local_origin_failures.is_some()
        && outliers.split_external_local_origin_errors != Some(true)
    {
        let message = "errors of connecting are counted apart only with splitExternalLocalOriginErrors";
        let problem = place.field("consecutiveLocalOriginFailures").problem(Code::NoEffect, message);
        report.add(problem.hint("set splitExternalLocalOriginErrors: true"));
    }
    Some(Outliers {
        statuses,
        consecutive_5xx: outliers.consecutive_5xx_errors,
        consecutive_gateway_errors: outliers.consecutive_gateway_errors,
        consecutive_local_failures: outliers.consecutive_local_origin_failures,
        split_local_errors: outliers.split_external_local_origin_errors.unwrap_or(false),
        interval: pool::positive(outliers.interval, &place.field("interval"), report),
        base_ejection: pool::positive(outliers.base_ejection_time, &place.field("baseEjectionTime"), report),
        max_ejection_percent: percent("maxEjectionPercent", outliers.max_ejection_percent, report),
        min_health_percent: percent("minHealthPercent", outliers.min_health_percent, report).unwrap_or(0),
    })
}
