//! Which VirtualService speaks for a host, on the mesh and at a gateway; `rule` says what its rules mean.
//!
//! On the mesh one VirtualService owns a host: what is private to the caller's namespace comes before what is
//! exported to it by name, then what everyone sees; within each the older one. At a gateway those of one host are
//! put one after the other.

mod answer;
mod claim;
mod condition;
mod cors;
mod delegate;
mod destination;
pub(crate) mod domains;
mod fault;
mod headers;
mod index;
mod mirror;
mod repetition;
mod retries;
mod rule;
mod stream;
mod virtual_host;

use std::cell::OnceCell;
use std::sync::Arc;

use pilotage_watcher::Code;

use crate::hosts::{Hosts, is_visible, wildcard_covers, wildcards};
use crate::methods::Methods;
use crate::report::{Place, Report};
use crate::rules::Rules;
use crate::sidecar::Sidecar;
use crate::{Group, Settings};

pub(crate) use claim::Claim;
pub(crate) use delegate::Written;
pub(crate) use destination::target;
pub(crate) use domains::MeshTable;
pub(crate) use index::{ClaimIndex, Named};
pub(crate) use rule::{Via, rules};
pub(crate) use stream::{StreamRule, server_name_rules, tcp_rules};
pub(crate) use virtual_host::{
    Authority, Naming, Reach, domains, mesh_hosts, mesh_table, namings, service_host, usual,
};

/// All that a rule is translated with.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) group: &'a Group,
    pub(crate) settings: &'a Settings,
    pub(crate) hosts: &'a Hosts<'a>,
    pub(crate) rules: &'a Rules<'a>,
    pub(crate) methods: &'a Methods,
}

/// The name under which the mesh stands among gateways.
pub(crate) const MESH: &str = "mesh";

/// The VirtualServices of a group, to be looked up for a host.
pub(crate) struct Routing<'a> {
    index: &'a ClaimIndex,
    scope: Scope<'a>,
    sidecar: &'a Sidecar<'a>,
    /// Every VirtualService that the group can see, once someone asks for them all.
    visible: OnceCell<Vec<&'a Claim>>,
}

impl<'a> Routing<'a> {
    pub(crate) fn new(index: &'a ClaimIndex, scope: Scope<'a>, sidecar: &'a Sidecar<'a>) -> Self {
        Self { index, scope, sidecar, visible: OnceCell::new() }
    }

    /// The VirtualService that owns a host on the mesh: one that names it, else the longest wildcard.
    pub(crate) fn owner(&self, host: &str) -> Option<&'a Claim> {
        self.owner_of_name(host).or_else(|| {
            let covering =
                wildcards(self.index.by_host()).filter(|(wildcard, _)| wildcard_covers(wildcard, host));
            let owned = covering.filter_map(|(wildcard, named)| Some((wildcard.len(), self.first(named)?)));
            owned.max_by_key(|(length, _)| *length).map(|(_, owner)| &*owner.claim)
        })
    }

    /// The VirtualService that names a host itself, if one does.
    pub(crate) fn owner_of_name(&self, host: &str) -> Option<&'a Claim> {
        self.named_owner(host).map(|owner| &*owner.claim)
    }

    /// The VirtualService that names a host itself, and where.
    pub(crate) fn named_owner(&self, host: &str) -> Option<&'a Named> {
        self.scope.hosts.note(host);
        self.first(self.index.by_host().get(host)?)
    }

    /// Every VirtualService that the group can see, in the order in which they come first.
    pub(crate) fn claims(&self) -> &[&'a Claim] {
        self.scope.hosts.note_claims();
        self.visible.get_or_init(|| {
            let mut visible: Vec<_> = self.index.claims().filter(|claim| self.sees(claim)).collect();
            visible.sort_by_key(|claim| self.rank(claim));
            visible
        })
    }

    /// Every host and wildcard that is owned on the mesh.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (&'a Arc<str>, &'a Named)> {
        self.scope.hosts.note_owners();
        self.index.by_host().iter().filter_map(|(host, named)| Some((host, self.first(named)?)))
    }

    /// Says of every VirtualService that names a host which another one owns that its rules are not used for it.
    pub(crate) fn tell_conflicts(&self, host: &str, report: &mut Report) {
        let Some(named) = self.index.by_host().get(host).filter(|named| named.len() > 1) else { return };
        let Some(owner) = self.first(named).map(|owner| &owner.claim.source) else { return };
        let others = named.iter().filter(|other| other.claim.source != *owner);
        for Named { claim, position } in others.filter(|other| self.routes_mesh(&other.claim)) {
            let message =
                format!("{owner} already routes {host} on the mesh, so these rules do not apply to it");
            report.add(
                Place::new(claim.source.clone(), "spec.hosts")
                    .index(*position)
                    .problem(Code::ConflictingHosts, message)
                    .hint("put the rules for one host into one VirtualService"),
            );
        }
    }

    /// Whether the group sees a VirtualService.
    pub(crate) fn sees(&self, claim: &Claim) -> bool {
        let Scope { group, settings, .. } = self.scope;
        let service = &*claim.service;
        is_visible(&service.spec.export_to, &service.meta.namespace, &group.namespace)
            && self.sidecar.knows_routes(service, group, settings)
    }

    fn first(&self, named: &'a [Named]) -> Option<&'a Named> {
        let on_mesh = named.iter().filter(|named| self.routes_mesh(&named.claim));
        on_mesh.min_by_key(|named| self.rank(&named.claim))
    }

    fn routes_mesh(&self, claim: &Claim) -> bool {
        claim.is_on_mesh() && self.sees(claim)
    }

    /// What is private to the namespace comes first, then what is exported to it by name; within each the older.
    fn rank<'c>(&self, claim: &'c Claim) -> (u8, (i64, &'c str, &'c str)) {
        let service = &claim.service;
        let export_to = &service.spec.export_to;
        let nearness = match export_to.is_empty() || export_to.iter().any(|entry| entry == "*") {
            true => 2,
            false if service.meta.namespace == self.scope.group.namespace => 0,
            false => 1,
        };
        (nearness, service.precedence())
    }
}

/// A gateway's `namespace/name`, out of any of the ways to write it.
pub(crate) fn gateway_name(written: &str, namespace: &str) -> String {
    if written == MESH {
        return MESH.to_owned();
    }
    if let Some((owner, name)) = written.split_once('/') {
        let owner = if owner == "." { namespace } else { owner };
        return format!("{owner}/{name}");
    }
    // The form of old, `name.namespace.svc.domain`.
    match written.split_once('.') {
        Some((name, rest)) => format!("{}/{name}", rest.split('.').next().unwrap_or(namespace)),
        None => format!("{namespace}/{written}"),
    }
}
