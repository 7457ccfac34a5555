//! How calls to a cluster are spread over localities, by its policy and by what its Service prefers.
//!
//! Priorities come with outlier detection alone: without it nothing would tell that a locality fails, and a few
//! endpoints that are near would take everything.

use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::LocalityLb;

use crate::Group;
use crate::endpoints::{Spread, covers, label_of_failover, of_location};
use crate::hosts::Host;
use crate::ir::Locality;
use crate::policy::Policy;
use crate::report::{Place, Report};

/// The spread of calls from a group to a host under a policy.
pub(crate) fn spread(host: &Host, policy: &Policy<'_>, group: &Group, report: &mut Report) -> Spread {
    let written = policy.load_balancer.as_ref().and_then(|(balancer, place)| {
        Some((balancer.locality_lb_setting.as_ref()?, place.field("localityLbSetting")))
    });
    let detects = policy.outlier_detection.is_some();
    if let Some((setting, place)) = &written {
        if setting.enabled == Some(false) {
            return Spread::Alike;
        }
        if let Some(spread) = of_setting(setting, place, detects, group, report) {
            return spread;
        }
    }
    if !host.preference.near.is_empty() {
        let near = host.preference.near.iter();
        return Spread::ByLabels(near.map(|key| (Arc::from(*key), value(group, key))).collect());
    }
    if detects && !from(group).region.is_empty() {
        return Spread::Nearest { from: from(group), failover: None };
    }
    Spread::Alike
}

/// What a setting asks for; none where it asks for nothing of its own.
fn of_setting(
    setting: &LocalityLb,
    place: &Place,
    detects: bool,
    group: &Group,
    report: &mut Report,
) -> Option<Spread> {
    check(setting, place, detects, report);
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
