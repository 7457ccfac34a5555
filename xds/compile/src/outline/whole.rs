//! What cannot be told apart by names: listeners, and the route tables of gateways and of gRPC clients.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::Name;

use super::clusters::{Choice, Used};
use super::{Difference, Outline};
use crate::access_log::Logs;
use crate::blueprint::Blueprint;
use crate::credentials::{Credentials, SecretPlan};
use crate::hosts::{Changes, HostTable, Hosts};
use crate::parts::Part;
use crate::routing::{Routing, Scope};
use crate::sidecar::Sidecar;
use crate::{ProxyKind, edge, egress, inbound, interception, proxyless, workload};

/// What is remembered of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whole {
    /// The clusters that it leads to; none for sidecars, which have them all.
    pub(super) used: Option<Used>,
    /// Clusters that are of the proxy itself and not of a host.
    pub(super) clusters: Box<[Name]>,
    pub(super) listeners: Box<[Name]>,
    /// The route tables that are no mesh's.
    pub(super) tables: Box<[Name]>,
    pub(super) secrets: BTreeMap<Name, SecretPlan>,
}

impl Outline {
    /// Makes the whole anew if a change reaches it.
    pub(super) fn follow_whole(
        &mut self,
        changes: &Changes,
        (scope, routing, sidecar): (&Scope<'_>, &Routing<'_>, &Sidecar<'_>),
        logs: Logs,
        difference: &mut Difference,
    ) {
        if !changes.whole && self.whole.as_ref().is_some_and(|part| !part.reads.are_stale(changes)) {
            return;
        }
        let world = self.catalog.world();
        let mut blueprint = Blueprint::default();
        let mut credentials = Credentials::of(world, scope.group);
        scope.hosts.begin(&Arc::default());
        match scope.group.kind {
            ProxyKind::Sidecar { egress_port, tcp_egress } => {
                egress::routed(egress_port, scope, &mut blueprint);
                egress::listed(scope, routing, sidecar, &mut blueprint);
                inbound::ingress(scope, sidecar, &mut credentials, &mut blueprint);
                if tcp_egress {
                    egress::opaque(egress_port, scope, routing, &mut blueprint);
                }
            }
            ProxyKind::Intercepted => {
                interception::outbound(scope, routing, sidecar, self.mesh.tables(), &mut blueprint);
                egress::listed(scope, routing, sidecar, &mut blueprint);
                let listed = inbound::ingress(scope, sidecar, &mut credentials, &mut blueprint);
                // What the workload itself serves is no matter of what it may call.
                let all = HostTable::of(self.catalog.hosts(), scope.group, |_| true);
                let served = workload::served(world, &Hosts::new(&all), scope.group, &mut blueprint.report);
                inbound::redirected(&served, listed, sidecar, &mut blueprint);
            }
            ProxyKind::Gateway => {
                edge::listeners(world, &self.doors, scope, routing, &mut credentials, &mut blueprint);
            }
            ProxyKind::Grpc => proxyless::listeners(&self.asked, scope, routing, &mut blueprint),
        }
        let mut reads = scope.hosts.reads();
        reads.secrets = credentials.are_read;
        for listener in blueprint.listeners.values_mut() {
            listener.log = match listener.entry.is_inbound() {
                true => logs.server,
                false => logs.client,
            };
        }
        let chooses = matches!(scope.group.kind, ProxyKind::Gateway | ProxyKind::Grpc);
        let used = chooses.then(|| by_host(blueprint.used()));
        let before = self.whole.iter().flat_map(|part| part.outcome.clusters.iter());
        difference.clusters.extend(before.map(|name| (name.clone(), None)));
        let clusters = blueprint.clusters.keys().cloned().collect();
        let made = blueprint.clusters.into_iter().map(|(name, cluster)| (name, Some(cluster)));
        difference.clusters.extend(made);
        let listeners = blueprint.listeners.keys().cloned().collect();
        let tables = blueprint.routes.keys().cloned().collect();
        let outcome = Whole { used, clusters, listeners, tables, secrets: credentials.plans };
        let problems = blueprint.report.into_problems().into();
        self.whole = Some(Arc::new(Part { outcome, problems, reads }));
        difference.whole = Some((blueprint.listeners, blueprint.routes));
    }

    /// The clusters that the whole leads to, and those that it led to in the outline before.
    pub(super) fn choice<'a>(&'a self, before: &'a Self) -> Option<Choice<'a>> {
        static NONE: Used = BTreeMap::new();
        let used = |outline: &'a Self| outline.whole.as_ref()?.outcome.used.as_ref();
        Some(Choice { before: used(before).unwrap_or(&NONE), now: used(self)? })
    }
}

fn by_host(names: BTreeSet<Arc<str>>) -> Used {
    let mut used = Used::new();
    for name in names {
        // No host has this character in its name.
        let host = name.rsplit('|').next().unwrap_or_default().into();
        used.entry(host).or_default().insert(name);
    }
    used
}
