//! Which VirtualService speaks for a host, on the mesh and at a gateway; `rule` says what its rules mean.
//!
//! On the mesh one VirtualService owns a host: what is private to the caller's namespace comes before what is
//! exported to it by name, then what everyone sees; within each the older one. At a gateway those of one host are
//! put one after the other.

mod answer;
mod condition;
mod cors;
mod delegate;
mod destination;
mod fault;
mod headers;
mod mirror;
mod retries;
mod rule;
mod stream;
mod virtual_host;

use std::collections::{BTreeMap, BTreeSet};

use pilotage_watcher::resources::{VirtualService, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity, World};

use crate::hosts::{Hosts, expand, is_domain, is_visible, wildcard_covers, wildcards};
use crate::report::{Place, Report};
use crate::rules::Rules;
use crate::sidecar::Sidecar;
use crate::{Group, ProxyKind, Settings};

pub(crate) use delegate::Written;
pub(crate) use destination::target;
pub(crate) use rule::{Via, rules};
pub(crate) use stream::{StreamRule, server_name_rules, tcp_rule};
pub(crate) use virtual_host::{Authority, Reach, domains, mesh_hosts, service_host, usual};

/// All that a rule is translated with.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) group: &'a Group,
    pub(crate) settings: &'a Settings,
    pub(crate) hosts: &'a Hosts,
    pub(crate) rules: &'a Rules<'a>,
}

/// A VirtualService that the group can see, its names made whole.
#[derive(Clone, Debug)]
pub(crate) struct Claim<'w> {
    pub(crate) service: &'w WithMeta<VirtualService>,
    pub(crate) source: ObjectKey,
    /// Full names and wildcards, each with its index among those written.
    pub(crate) hosts: Vec<(usize, String)>,
    /// `mesh`, or `namespace/name`.
    pub(crate) gateways: Vec<String>,
    /// The rules, those of delegates among them.
    pub(crate) rules: Vec<Written<'w>>,
}

/// More hosts than this in one object are likely not meant.
const MANY_HOSTS: usize = 1_000;

/// The name under which the mesh stands among gateways.
pub(crate) const MESH: &str = "mesh";

/// The VirtualServices of a group, in the order in which they come first.
#[derive(Debug, Default)]
pub(crate) struct Routing<'w> {
    claims: Vec<Claim<'w>>,
    /// The owner of each host and wildcard on the mesh, by index.
    owners: BTreeMap<String, usize>,
}

impl<'w> Routing<'w> {
    pub(crate) fn of(
        world: &'w World,
        group: &Group,
        settings: &Settings,
        sidecar: &Sidecar<'_>,
        report: &mut Report,
    ) -> Self {
        let viewer = &*group.namespace;
        let mut visible: Vec<_> = world
            .virtual_services()
            .filter(|service| is_visible(&service.spec.export_to, &service.meta.namespace, viewer))
            .filter(|service| sidecar.knows_routes(service, group, settings))
            .collect();
        let nearness = |service: &WithMeta<VirtualService>| {
            let export_to = &service.spec.export_to;
            match export_to.is_empty() || export_to.iter().any(|entry| entry == "*") {
                true => 2,
                false if *service.meta.namespace == *viewer => 0,
                false => 1,
            }
        };
        visible.sort_by_key(|service| (nearness(service), service.precedence()));
        let mut routing = Self::default();
        delegate::check(world, report);
        for service in visible.into_iter().filter(|service| !service.spec.hosts.is_empty()) {
            let index = routing.claims.len();
            let claim = claim(service, world, group, settings, report);
            if claim.gateways.iter().any(|gateway| gateway == MESH) {
                for (position, host) in &claim.hosts {
                    match routing.owners.get(host) {
                        None => {
                            routing.owners.insert(host.clone(), index);
                        }
                        Some(owner) if *owner == index => {}
                        Some(owner) => {
                            let owner = routing.claims.get(*owner).map(|owner| owner.source.to_string());
                            let message = format!(
                                "{} already routes {host} on the mesh, so these rules do not apply to it",
                                owner.unwrap_or_default()
                            );
                            let place = Place::new(claim.source.clone(), "spec.hosts").index(*position);
                            report.add(
                                place
                                    .problem(Code::ConflictingHosts, message)
                                    .hint("put the rules for one host into one VirtualService"),
                            );
                        }
                    }
                }
            }
            crate::edge::check(&claim, world, report);
            routing.claims.push(claim);
        }
        routing
    }

    /// The VirtualService that owns a host on the mesh: one that names it, else the longest wildcard.
    pub(crate) fn owner(&self, host: &str) -> Option<&Claim<'w>> {
        let exact = self.owners.get(host).copied();
        let index = exact.or_else(|| {
            let covering = wildcards(&self.owners).filter(|(wildcard, _)| wildcard_covers(wildcard, host));
            covering.max_by_key(|(wildcard, _)| wildcard.len()).map(|(_, index)| *index)
        });
        self.claims.get(index?)
    }

    /// The VirtualService that names a host itself, if one does.
    pub(crate) fn owner_of_name(&self, host: &str) -> Option<&Claim<'w>> {
        self.claims.get(*self.owners.get(host)?)
    }

    /// Every VirtualService that the group can see.
    pub(crate) fn claims(&self) -> &[Claim<'w>] {
        &self.claims
    }

    /// Every host and wildcard that is owned on the mesh.
    pub(crate) fn owned(&self) -> impl Iterator<Item = (&str, &Claim<'w>)> {
        self.owners.iter().filter_map(|(host, index)| Some((host.as_str(), self.claims.get(*index)?)))
    }
}

fn claim<'w>(
    service: &'w WithMeta<VirtualService>,
    world: &'w World,
    group: &Group,
    settings: &Settings,
    report: &mut Report,
) -> Claim<'w> {
    let meta = &service.meta;
    let source = ObjectKey::new(Kind::VirtualService, meta.namespace.clone(), meta.name.clone());
    let spec = Place::new(source.clone(), "spec");
    let mut gateways: Vec<String> =
        service.spec.gateways.iter().map(|gateway| gateway_name(gateway, &meta.namespace)).collect();
    if gateways.is_empty() {
        gateways.push(MESH.to_owned());
    }
    let on_mesh = gateways.iter().any(|gateway| gateway == MESH);
    let mut hosts: Vec<(usize, String)> = Vec::new();
    let mut known: BTreeSet<String> = BTreeSet::new();
    for (index, host) in service.spec.hosts.iter().enumerate() {
        let place = spec.field("hosts").index(index);
        let name = expand(host, &meta.namespace, &settings.cluster_domain);
        if !is_domain(&name) {
            let message = format!("{host:?} is not a host name");
            report.add(
                place
                    .problem(Code::InvalidValue, message)
                    .hint("write a name, or a wildcard such as *.example.com"),
            );
        } else if name == "*" && on_mesh {
            report.add(
                place
                    .problem(Code::InvalidValue, "the mesh cannot be routed as a whole: * is for gateways")
                    .hint("name the hosts, or set gateways"),
            );
        } else if known.insert(name.clone()) {
            hosts.push((index, name));
        }
    }
    for (field, is_written) in [("tls", !service.spec.tls.is_empty()), ("tcp", !service.spec.tcp.is_empty())]
    {
        if is_written && on_mesh && group.kind != ProxyKind::Intercepted {
            let message = "on the mesh these rules apply to connections that are redirected to a sidecar: for this \
                           proxy they do nothing";
            let problem = spec.field(field).problem(Code::NeedsInterception, message);
            report.add(problem.hint("start the sidecar with pilotage bootstrap envoy --intercepted"));
        }
    }
    if hosts.len() > MANY_HOSTS {
        let message = format!(
            "there are {} hosts: each is a virtual host of its own, which every proxy that sees the object is sent",
            hosts.len()
        );
        let problem = spec.field("hosts").problem(Code::TooLarge, message).severity(Severity::Warning);
        report
            .add(problem.hint(
                "write a wildcard such as *.example.com, or leave them to the Sidecars that need them",
            ));
    }
    let rules = delegate::rules(service, &source, world, settings, report);
    Claim { service, source, hosts, gateways, rules }
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
