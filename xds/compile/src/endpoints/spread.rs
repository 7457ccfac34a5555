//! How calls are spread over localities: by nearness, by shared labels, or in fixed shares.
//!
//! A rank of 0 comes first; ranks become Envoy's priorities, which must have no gaps.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Location;
use crate::ir::{Locality, LocalityEndpoints};

/// The well-known labels that say where a workload runs.
pub(crate) const REGION: &str = "topology.kubernetes.io/region";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const SUBZONE: &str = "topology.istio.io/subzone";
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";

/// How calls are spread, seen from where the caller is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Over every endpoint alike.
    #[default]
    Alike,
    /// To the nearest locality that has healthy endpoints; of other regions, to `failover` first.
    Nearest { from: Locality, failover: Option<Arc<str>> },
    /// To every zone of the caller's region alike; of other regions, to `failover` first.
    Regions { from: Arc<str>, failover: Option<Arc<str>> },
    /// To endpoints that share these labels, the first of them before all: key and the caller's value.
    ByLabels(Vec<(Arc<str>, Arc<str>)>),
    /// In fixed shares by locality; a locality that no pattern names gets nothing.
    Shares(Vec<(Arc<str>, u32)>),
}

/// The key of an entry of `failoverPriority`, and the value that it gives in place of the caller's.
pub(crate) fn label_of_failover(entry: &str) -> (&str, Option<&str>) {
    match entry.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (entry, None),
    }
}

/// The value of a label that says where a workload runs; none for other labels.
pub(crate) fn of_location<'a>(location: &'a Location, key: &str) -> Option<&'a Arc<str>> {
    match key {
        REGION => Some(&location.region),
        ZONE => Some(&location.zone),
        SUBZONE => Some(&location.subzone),
        HOSTNAME => Some(&location.node),
        _ => None,
    }
}

impl Spread {
    /// How far an endpoint comes behind the best; `label` says the value of a label of the endpoint.
    pub(super) fn rank<'a>(&self, locality: &Locality, label: impl Fn(&str) -> Option<&'a str>) -> u32 {
        match self {
            Self::Alike | Self::Shares(_) => 0,
            Self::Nearest { from, failover } => distance(from, locality, failover.as_deref()),
            Self::Regions { from, failover } => match &locality.region {
                // A region that is unknown is no other one.
                region if region == from || region.is_empty() => 0,
                region if failover.as_ref() == Some(region) => 1,
                _ => 2,
            },
            Self::ByLabels(wanted) => {
                let value = |key: &str| match key {
                    REGION => Some(&*locality.region),
                    ZONE => Some(&*locality.zone),
                    SUBZONE => Some(&*locality.subzone),
                    _ => label(key),
                };
                let shared = |(key, mine): &&(Arc<str>, Arc<str>)| {
                    let theirs = value(key).unwrap_or_default();
                    // In a folder a slice knows its zone alone: a region that is unknown is no other region.
                    theirs == &**mine || (&**key == REGION && (theirs.is_empty() || mine.is_empty()))
                };
                let count = wanted.iter().take_while(shared).count();
                u32::try_from(wanted.len() - count).unwrap_or(u32::MAX)
            }
        }
    }

    /// Leaves out what has no share, and gives the rest their weights.
    pub(super) fn weigh(&self, groups: &mut Vec<LocalityEndpoints>) {
        let Self::Shares(shares) = self else { return };
        let pattern_of = |group: &LocalityEndpoints| {
            let covering = shares.iter().filter(|(pattern, _)| covers(pattern, &group.locality));
            covering
                .max_by_key(|(pattern, _)| pattern.len())
                .map(|(pattern, share)| (pattern.clone(), *share))
        };
        groups.retain(|group| pattern_of(group).is_some_and(|(_, share)| share > 0));
        let mut totals: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let size = |group: &LocalityEndpoints| {
            group.endpoints.iter().map(|endpoint| u64::from(endpoint.weight)).sum::<u64>()
        };
        for group in &*groups {
            if let Some((pattern, _)) = pattern_of(group) {
                *totals.entry(pattern).or_default() += size(group);
            }
        }
        for group in groups {
            let Some((pattern, share)) = pattern_of(group) else { continue };
            // A share that several localities divide goes by their endpoints; a thousandth is as fine as it gets.
            let total = totals.get(&pattern).copied().unwrap_or(1).max(1);
            let part = u128::from(share) * 1000 * u128::from(size(group)) / u128::from(total);
            group.weight = Some(u32::try_from(part).unwrap_or(u32::MAX).max(1));
        }
    }
}

/// Whether a pattern such as `region/zone/*`, `region` or `*` covers a locality.
pub(crate) fn covers(pattern: &str, locality: &Locality) -> bool {
    let parts = [&locality.region, &locality.zone, &locality.subzone];
    let mut written = pattern.split('/');
    for part in parts {
        match written.next() {
            None | Some("*") => return true,
            Some(wanted) if *wanted == **part => {}
            Some(_) => return false,
        }
    }
    true
}

fn distance(from: &Locality, to: &Locality, failover: Option<&str>) -> u32 {
    // What does not know its region is near by its zone's name alone, which no other region has.
    let unknown = from.region.is_empty() || to.region.is_empty();
    let same_zone = from.zone == to.zone && (from.region == to.region || (unknown && !from.zone.is_empty()));
    let same_region = from.region == to.region;
    match (same_zone, same_region) {
        (true, _) if from.subzone == to.subzone => 0,
        (true, _) => 1,
        (false, true) => 2,
        (false, false) if failover == Some(&*to.region) => 3,
        (false, false) => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locality(text: &str) -> Locality {
        super::super::locality(text)
    }

    #[test]
    fn nearer_comes_first_and_an_unknown_region_is_no_other_one() {
        let here = locality("eu/a/1");
        let ranks =
            ["eu/a/1", "eu/a/2", "eu/b", "us/a", "ap/c"].map(|to| distance(&here, &locality(to), Some("us")));
        assert_eq!(ranks, [0, 1, 2, 3, 4]);
        let unknown = Locality { zone: "a".into(), ..Locality::default() };
        assert_eq!(distance(&here, &unknown, None), 1);
        assert_eq!(distance(&Locality::default(), &Locality::default(), None), 0);
    }

    #[test]
    fn patterns_cover_what_they_leave_open() {
        assert!(covers("*", &locality("eu/a")) && covers("eu/*", &locality("eu/a/1")));
        assert!(covers("eu", &locality("eu/a")) && covers("eu/a/*", &locality("eu/a")));
        assert!(!covers("eu/a", &locality("eu/b")) && !covers("us/*", &locality("eu/a")));
    }

    #[test]
    fn labels_count_up_to_the_first_that_differs() {
        let spread = Spread::ByLabels(vec![(REGION.into(), "eu".into()), ("tier".into(), "gold".into())]);
        let gold = |key: &str| (key == "tier").then_some("gold");
        assert_eq!(spread.rank(&locality("eu/a"), gold), 0);
        assert_eq!(spread.rank(&locality("eu/a"), |_| None), 1);
        assert_eq!(spread.rank(&locality("us/a"), gold), 2);
    }
}
