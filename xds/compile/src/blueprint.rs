//! Listeners and route tables of a group while they are put together, and how endpoints will be found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::Name;
use pilotage_watcher::ObjectKey;

use crate::endpoints::Selection;
use crate::hosts::Members;
use crate::ir::{Cluster, Listener, RouteTable};
use crate::report::{Place, Report};

/// Listeners and route tables by name.
#[derive(Default)]
pub(crate) struct Blueprint {
    pub(crate) listeners: BTreeMap<Name, Listener>,
    pub(crate) routes: BTreeMap<Name, RouteTable>,
    /// Those that are of the proxy itself and not of a host.
    pub(crate) clusters: BTreeMap<Name, Cluster>,
    pub(crate) report: Report,
}

/// How the endpoints of a cluster are found.
#[derive(Clone, Debug)]
pub(crate) struct AssignmentPlan {
    pub(crate) members: Members,
    pub(crate) selection: Selection,
    /// Where the subset is defined, for the problem of one that selects nothing.
    pub(crate) subset: Option<(String, Place)>,
    pub(crate) source: ObjectKey,
}

impl Blueprint {
    /// The names of the clusters that listeners and routes lead to.
    pub(crate) fn used(&self) -> BTreeSet<Arc<str>> {
        let routed = self.routes.values().flat_map(|table| &table.hosts).flat_map(|host| &host.rules);
        let routed = routed.flat_map(|rule| rule.clusters().cloned());
        let direct = self.listeners.values().flat_map(|listener| listener.entry.clusters());
        routed.chain(direct.cloned()).collect()
    }
}
