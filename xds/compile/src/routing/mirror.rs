//! Copies of requests: where they go, and of which share.

use pilotage_watcher::Code;
use pilotage_watcher::resources::Percent;

use super::destination::target;
use super::fault::share;
use super::rule::Via;
use super::{Scope, Written};
use crate::ProxyKind;
use crate::ir::{Mirror, Share};
use crate::report::Report;

/// The mirrors of a rule; those of nothing are left out.
pub(super) fn mirrors(
    written: &Written,
    via: &Via<'_>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> Vec<Mirror> {
    let Written { route, place, namespace, .. } = written;
    let mut found = Vec::new();
    if route.mirror_percent.is_some() {
        report.add(place.field("mirrorPercent").deprecated("mirrorPercentage: {value: ...}"));
    }
    if let Some(mirror) = &route.mirror {
        let percentage = route.mirror_percentage.or_else(|| {
            // The field of old is a whole number of percent.
            route.mirror_percent.map(|percent| Percent { value: f64::from(percent) })
        });
        found.push((mirror, place.field("mirror"), percentage, place.field("mirrorPercentage")));
        if !route.mirrors.is_empty() {
            let message = "mirror and mirrors exclude each other; both get copies";
            report.add(place.field("mirror").problem(Code::ConflictingFields, message).hint("keep mirrors"));
        }
    } else if route.mirror_percentage.is_some() || route.mirror_percent.is_some() {
        let field = if route.mirror_percentage.is_some() { "mirrorPercentage" } else { "mirrorPercent" };
        let message = "there is no mirror to which the percentage could apply";
        let problem = place.field(field).problem(Code::NoEffect, message);
        report.add(problem.hint("add mirror, or write percentage in each of mirrors"));
    }
    for (index, policy) in route.mirrors.iter().enumerate() {
        let place = place.field("mirrors").index(index);
        let percentage = place.field("percentage");
        found.push((&policy.destination, place.field("destination"), policy.percentage, percentage));
    }
    if !found.is_empty() && scope.group.kind == ProxyKind::Grpc {
        let message = "gRPC clients send no copies: nothing is mirrored";
        report.add(place.problem(Code::NotForGrpcClients, message));
        return Vec::new();
    }
    let mirror = |(destination, place, percentage, of): (_, _, Option<Percent>, _)| {
        let share = percentage.map_or(Share::ALL, |percentage| share(percentage.value, &of, report));
        let cluster = target(destination, namespace, &place, via, scope, report).cluster;
        Mirror { cluster, share }
    };
    found.into_iter().map(mirror).filter(|mirror| mirror.share > Share(0)).collect()
}
