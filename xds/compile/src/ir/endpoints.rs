//! Assignments: the endpoints of one cluster, by locality.

use std::sync::Arc;

use super::Address;

/// The endpoints of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Assignment {
    /// The cluster's name.
    pub(crate) cluster: Arc<str>,
    /// Sorted by priority and locality, each with at least one endpoint.
    pub(crate) localities: Vec<LocalityEndpoints>,
}

/// The endpoints of one locality.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalityEndpoints {
    pub(crate) locality: Locality,
    /// 0 is called first, and the next when too few of it are healthy; without gaps.
    pub(crate) priority: u32,
    /// A share that does not follow from the endpoints.
    pub(crate) weight: Option<u32>,
    /// Sorted by address, without duplicates.
    pub(crate) endpoints: Vec<Endpoint>,
}

/// Where an endpoint runs; empty parts are not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Locality {
    pub(crate) region: Arc<str>,
    pub(crate) zone: Arc<str>,
    pub(crate) subzone: Arc<str>,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    pub(crate) at: Address,
    pub(crate) health: Health,
    /// At least 1.
    pub(crate) weight: u32,
}

/// What is known of an endpoint's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Health {
    Healthy,
    /// Answers what it has, takes nothing new.
    Draining,
    Unhealthy,
}
