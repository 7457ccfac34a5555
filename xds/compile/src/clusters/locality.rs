//! How calls to a cluster are spread over localities, by its policy and by what its Service prefers.
//!
//! Priorities come with outlier detection alone: without it nothing would tell that a locality fails, and a few
//! endpoints that are near would take everything.

use std::sync::Arc;

use pilotage_watcher::resources::{LocalityLb, ZoneAwareLb};
use pilotage_watcher::{Code, Severity};

use crate::endpoints::{Spread, covers, label_of_failover, of_location};
use crate::hosts::Host;
use crate::ir::{Balancer, Localities, Locality};
use crate::policy::Policy;
use crate::report::{Place, Report};
use crate::{Group, ProxyKind, Settings};

/// Below how many endpoints zones are not looked at, where nothing says so; Envoy's own default.
const MINIMUM: u32 = 6;

/// The spread of calls from a group to a host under a policy, and how those of one rank are divided.
pub(crate) fn spread(
    host: &Host,
    policy: &Policy<'_>,
    balancer: Balancer,
    (group, settings): (&Group, &Settings),
    report: &mut Report,
) -> (Spread, Localities) {
    let written = policy.load_balancer.as_ref();
    let by_locality = written.and_then(|(balancer, place)| {
        Some((balancer.locality_lb_setting.as_ref()?, place.field("localityLbSetting")))
    });
    let by_zone = written.and_then(|(balancer, place)| {
        Some((balancer.zone_aware_lb_setting.as_ref()?, place.field("zoneAwareLbSetting")))
    });
    if let Some((setting, place)) = by_zone {
        if by_locality.is_none() {
            return by_zones(setting, &place, policy, balancer, group, report);
        }
        let message =
            "localityLbSetting and zoneAwareLbSetting exclude each other; localityLbSetting is used";
        report.add(place.problem(Code::ConflictingFields, message).hint("keep one of them"));
    }
    let spread = by_localities(host, by_locality, policy, (group, settings), report);
    let localities = match spread {
        Spread::Shares(_) => Localities::Weighted,
        _ => Localities::Alike,
    };
    (spread, localities)
}

fn by_localities(
    host: &Host,
    written: Option<(&LocalityLb, Place)>,
    policy: &Policy<'_>,
    (group, settings): (&Group, &Settings),
    report: &mut Report,
) -> Spread {
    let detects = policy.outlier_detection.is_some();
    if let Some((setting, place)) = &written {
        if setting.enabled == Some(false) {
            return Spread::Alike;
        }
        check(setting, place, detects, report);
        if let Some(spread) = of_setting(setting, detects, group) {
            return spread;
        }
    }
    if !host.preference.near.is_empty() {
        let near = host.preference.near.iter();
        return Spread::ByLabels(near.map(|key| (Arc::from(*key), value(group, key))).collect());
    }
    let usual = &settings.locality_load_balancing;
    if usual.enabled
        && written.is_none()
        && let Some(spread) = of_setting(&usual.as_rule(), detects, group)
    {
        return spread;
    }
    if usual.enabled && detects && !from(group).region.is_empty() {
        return Spread::Nearest { from: from(group), failover: None };
    }
    Spread::Alike
}

/// By zones: within the caller's region no zone comes before another, but the caller's own is preferred as far as that
/// burdens no endpoint more than others. Envoy compares the zones with those of the proxy's own cluster.
fn by_zones(
    setting: &ZoneAwareLb,
    place: &Place,
    policy: &Policy<'_>,
    balancer: Balancer,
    group: &Group,
    report: &mut Report,
) -> (Spread, Localities) {
    let detects = policy.outlier_detection.is_some();
    if setting.enabled == Some(false) {
        return (Spread::Alike, Localities::ZoneBlind);
    }
    if setting.min_cluster_size == Some(0) {
        let problem = place.field("minClusterSize").problem(Code::InvalidValue, "0 is no size; 6 is used");
        report.add(problem.hint("write 1 to look at zones whatever the size"));
    }
    let minimum = setting.min_cluster_size.filter(|size| *size > 0).unwrap_or(MINIMUM);
    let (code, message) = match (group.kind, balancer) {
        (ProxyKind::Grpc, _) => {
            (Code::NotForGrpcClients, "proxyless gRPC clients know no zones: every zone is used alike")
        }
        (_, Balancer::RingHash { .. } | Balancer::Maglev { .. }) => {
            (Code::NoEffect, "a hash decides which endpoint is called, whatever its zone")
        }
        (ProxyKind::Gateway, _) => {
            (Code::NoEffect, "a gateway has no zones of its own to compare with: to it every zone is alike")
        }
        (ProxyKind::Sidecar { .. } | ProxyKind::Intercepted, _) => (
            Code::NoEffect,
            "zones are compared with those of the proxy's own Service, which its bootstrap has to name: to others \
             every zone is alike",
        ),
    };
    let problem = place.problem(code, message);
    let is_settled = matches!(balancer, Balancer::RingHash { .. } | Balancer::Maglev { .. });
    report.add(match group.kind {
        _ if is_settled => problem.hint("use LEAST_REQUEST, ROUND_ROBIN or RANDOM, or remove it"),
        ProxyKind::Grpc => problem.hint("call through a sidecar"),
        ProxyKind::Gateway => problem.severity(Severity::Info),
        ProxyKind::Sidecar { .. } | ProxyKind::Intercepted => problem
            .severity(Severity::Info)
            .hint("start sidecars with pilotage bootstrap envoy --own-service NAME:PORT"),
    });
    let as_localities = LocalityLb {
        failover: setting.failover.clone(),
        failover_priority: setting.failover_priority.clone(),
        ..LocalityLb::default()
    };
    check(&as_localities, place, detects, report);
    let spread = match of_setting(&as_localities, detects, group) {
        Some(Spread::Nearest { from, failover }) => Spread::Regions { from: from.region, failover },
        Some(spread) => spread,
        None => Spread::Alike,
    };
    (spread, Localities::ZoneAware { minimum })
}

/// What a setting asks for; none where it asks for nothing of its own.
fn of_setting(setting: &LocalityLb, detects: bool, group: &Group) -> Option<Spread> {
    if !setting.distribute.is_empty() {
        let here = from(group);
        let of_caller = setting.distribute.iter().filter(|entry| covers(&entry.from, &here));
        let entry = of_caller.max_by_key(|entry| entry.from.len())?;
        return Some(Spread::Shares(
            entry.to.iter().map(|(to, share)| (to.as_str().into(), *share)).collect(),
        ));
    }
    if !detects {
        return None;
    }
    if !setting.failover_priority.is_empty() {
        let labels = setting.failover_priority.iter().map(|entry| {
            let (key, given) = label_of_failover(entry);
            (Arc::from(key), given.map_or_else(|| value(group, key), Arc::from))
        });
        return Some(Spread::ByLabels(labels.collect()));
    }
    let from = from(group);
    let failover = setting.failover.iter().find(|entry| entry.from == *from.region);
    let failover = failover.map(|entry| Arc::from(entry.to.as_str()));
    (!from.region.is_empty()).then_some(Spread::Nearest { from, failover })
}

fn check(setting: &LocalityLb, place: &Place, detects: bool, report: &mut Report) {
    let kinds = [
        (!setting.distribute.is_empty(), "distribute"),
        (!setting.failover.is_empty(), "failover"),
        (!setting.failover_priority.is_empty(), "failoverPriority"),
    ];
    let set: Vec<_> = kinds.into_iter().filter(|(set, _)| *set).map(|(_, field)| field).collect();
    if set.len() > 1 && set.contains(&"distribute") {
        let message = format!("{} exclude each other; distribute is used", set.join(" and "));
        report.add(place.problem(Code::ConflictingFields, message).hint("keep one of them"));
    }
    for field in set.iter().filter(|field| **field != "distribute" && !detects) {
        let message =
            format!("without outlierDetection nothing tells that a locality fails: {field} does nothing");
        let problem = place.field(field).problem(Code::NoEffect, message);
        report.add(problem.hint("add outlierDetection beside loadBalancer"));
    }
    for (index, entry) in setting.distribute.iter().enumerate() {
        let place = place.field("distribute").index(index);
        let sum: u64 = entry.to.values().map(|share| u64::from(*share)).sum();
        if sum != 100 {
            let message = format!("the shares add up to {sum}, and not to 100; they are taken as they are");
            report
                .add(place.field("to").problem(Code::InvalidValue, message).hint("make them add up to 100"));
        }
    }
    for (index, entry) in setting.failover.iter().enumerate().filter(|(_, entry)| entry.from == entry.to) {
        let message = format!("region {:?} cannot take over from itself", entry.to);
        let problem = place.field("failover").index(index).problem(Code::InvalidValue, message);
        report.add(problem.hint("name another region in to"));
    }
}

fn from(group: &Group) -> Locality {
    let crate::Location { region, zone, subzone, .. } = &group.location;
    Locality { region: region.clone(), zone: zone.clone(), subzone: subzone.clone() }
}

/// The caller's value of a label.
fn value(group: &Group, key: &str) -> Arc<str> {
    let place = of_location(&group.location, key).filter(|value| !value.is_empty());
    place.or_else(|| group.labels.get(key)).cloned().unwrap_or_default()
}
