//! The Sidecar object that holds for a group: which hosts its proxies know, and where calls to unknown ones go.
//!
//! What a proxy need not know it is not sent: of a large mesh that is most of it. The hosts that a route leads to are
//! known with the route.

use std::collections::BTreeSet;

use pilotage_watcher::resources::{Sidecar as Written, VirtualService, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, World};

use crate::hosts::{expand, wildcard_covers};
use crate::report::{Place, Report};
use crate::{Group, ProxyKind, Settings};

/// What a Sidecar object leaves visible; everything where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sidecar<'w> {
    written: Option<(&'w WithMeta<Written>, Place)>,
    /// Namespace and host, as they are written; none is everything.
    patterns: Option<Vec<(&'w str, String)>>,
    /// Full names of the hosts that visible routes lead to.
    destinations: BTreeSet<String>,
}

impl<'w> Sidecar<'w> {
    /// The object that holds for a group: one that selects its workload, else one for its namespace, else the root
    /// namespace's; of several the oldest.
    pub(crate) fn of(world: &'w World, group: &Group, settings: &Settings, report: &mut Report) -> Self {
        if group.kind == ProxyKind::Gateway {
            return Self::default();
        }
        let mut sorted: Vec<_> = world.sidecars().map(|sidecar| &**sidecar).collect();
        sorted.sort_by_key(|sidecar| sidecar.precedence());
        let own = || sorted.iter().copied().filter(|sidecar| sidecar.meta.namespace == group.namespace);
        let selects = |sidecar: &&WithMeta<Written>| {
            let selector = sidecar.spec.workload_selector.as_ref().filter(|found| !found.labels.is_empty());
            selector.is_some_and(|selector| group.has_labels(&selector.labels))
        };
        let for_all = |sidecar: &&WithMeta<Written>| {
            sidecar.spec.workload_selector.as_ref().is_none_or(|selector| selector.labels.is_empty())
        };
        told_twice(own().filter(for_all), report);
        told_twice(own().filter(selects), report);
        let of_root =
            sorted.iter().copied().filter(|found| *found.meta.namespace == *settings.root_namespace);
        let found =
            own().find(selects).or_else(|| own().find(for_all)).or_else(|| of_root.into_iter().find(for_all));
        let Some(found) = found else { return Self::default() };
        let place = place(found);
        check(found, &place, report);
        let mut sidecar = Self { written: Some((found, place)), ..Self::default() };
        if !found.spec.egress.is_empty() {
            let hosts = found.spec.egress.iter().flat_map(|egress| &egress.hosts);
            let patterns = hosts.filter_map(|host| host.split_once('/'));
            let patterns = patterns.map(|(namespace, host)| (namespace, host.to_ascii_lowercase()));
            sidecar.patterns = Some(patterns.collect());
        }
        let known = world.virtual_services().filter(|service| sidecar.knows_routes(service, group, settings));
        sidecar.destinations = known.flat_map(|service| destinations(service, settings)).collect();
        sidecar
    }

    /// Whether only some hosts are listed, beside those that their routes lead to.
    pub(crate) fn is_limited(&self) -> bool {
        self.patterns.is_some()
    }

    /// Whether the group is told of a host.
    pub(crate) fn knows(&self, namespace: &str, host: &str, group: &Group) -> bool {
        self.patterns.is_none() || self.lists(namespace, host, group) || self.destinations.contains(host)
    }

    /// Whether the group is told of the routes of a VirtualService: of those for a host that is listed.
    pub(crate) fn knows_routes(
        &self,
        service: &WithMeta<VirtualService>,
        group: &Group,
        settings: &Settings,
    ) -> bool {
        let namespace = &*service.meta.namespace;
        let mut hosts = service.spec.hosts.iter();
        let full = |host: &String| expand(host, namespace, &settings.cluster_domain);
        self.patterns.is_none() || hosts.any(|host| self.lists(namespace, &full(host), group))
    }

    /// Where calls to hosts that nobody knows are sent, as it is written.
    pub(crate) fn egress_proxy(
        &self,
    ) -> Option<(&'w pilotage_watcher::resources::Destination, &'w str, Place)> {
        let (found, place) = self.written.as_ref()?;
        let proxy = found.spec.outbound_traffic_policy.as_ref()?.egress_proxy.as_ref()?;
        Some((proxy, &found.meta.namespace, place.field("outboundTrafficPolicy.egressProxy")))
    }

    fn lists(&self, namespace: &str, host: &str, group: &Group) -> bool {
        self.patterns.iter().flatten().any(|(of, pattern)| {
            let in_namespace = match *of {
                "*" => true,
                "~" => false,
                "." => *namespace == *group.namespace,
                of => of == namespace,
            };
            in_namespace && (pattern == host || wildcard_covers(pattern, host))
        })
    }
}

fn place(sidecar: &WithMeta<Written>) -> Place {
    let meta = &sidecar.meta;
    Place::new(ObjectKey::new(Kind::Sidecar, meta.namespace.clone(), meta.name.clone()), "spec")
}

fn destinations(service: &WithMeta<VirtualService>, settings: &Settings) -> Vec<String> {
    let rules = service.spec.http.iter();
    let of_http = rules.flat_map(|rule| {
        let routes = rule.route.iter().map(|route| &route.destination);
        routes.chain(&rule.mirror).chain(rule.mirrors.iter().map(|mirror| &mirror.destination))
    });
    let of_tls = service.spec.tls.iter().flat_map(|rule| rule.route.iter().map(|route| &route.destination));
    let of_tcp = service.spec.tcp.iter().flat_map(|rule| rule.route.iter().map(|route| &route.destination));
    let all = of_http.chain(of_tls).chain(of_tcp);
    all.map(|to| expand(&to.host, &service.meta.namespace, &settings.cluster_domain)).collect()
}

/// Of two objects for the same workloads one alone holds.
fn told_twice<'w>(mut sidecars: impl Iterator<Item = &'w WithMeta<Written>>, report: &mut Report) {
    let Some(first) = sidecars.next() else { return };
    for other in sidecars {
        let message = format!(
            "{} is for the same workloads and comes first: this one is not used",
            place(first).object
        );
        let problem = place(other).field("workloadSelector").problem(Code::ConflictingSidecars, message);
        report.add(problem.hint("keep one for the namespace, and give others a workloadSelector"));
    }
}

fn check(sidecar: &WithMeta<Written>, place: &Place, report: &mut Report) {
    let spec = &sidecar.spec;
    if !spec.ingress.is_empty() {
        report.add(place.field("ingress").not_supported("calls to the workload do not pass the proxy"));
    }
    if spec.inbound_connection_pool.is_some() {
        let consequence = "calls to the workload do not pass the proxy";
        report.add(place.field("inboundConnectionPool").not_supported(consequence));
    }
    for (index, egress) in spec.egress.iter().enumerate() {
        let place = place.field("egress").index(index);
        let fields = [("port", egress.port.is_some()), ("bind", egress.bind.is_some())];
        for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
            let consequence = "its hosts are reached by the one listener for all of them";
            report.add(place.field(field).not_supported(consequence));
        }
        if egress.capture_mode.as_deref() == Some("IPTABLES") {
            report.add(place.field("captureMode").not_supported("no traffic is intercepted"));
        }
        for (at, host) in egress.hosts.iter().enumerate().filter(|(_, host)| !host.contains('/')) {
            let message = format!("{host:?} has no namespace, so it matches nothing");
            let problem = place.field("hosts").index(at).problem(Code::InvalidValue, message);
            report.add(problem.hint("write namespace/host, such as ./* or */api.example.com"));
        }
    }
    let policy = spec.outbound_traffic_policy.as_ref();
    if policy
        .is_some_and(|policy| policy.mode.as_deref() == Some("ALLOW_ANY") && policy.egress_proxy.is_none())
    {
        let message = "without interception a call has no address of its own to go to: ALLOW_ANY is taken as \
                       REGISTRY_ONLY, and calls to hosts that nobody knows get 503";
        let problem = place.field("outboundTrafficPolicy.mode").problem(Code::NotSupported, message);
        report.add(problem.hint("name such hosts in ServiceEntries, or send their calls to an egressProxy"));
    }
}
