//! The Sidecar object that holds for a group: which hosts its proxies know, and where calls to unknown ones go.
//!
//! What a proxy need not know it is not sent: of a large mesh that is most of it. The hosts that a route leads to are
//! known with the route.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_protocol::Name;
use pilotage_watcher::resources::{
    ConnectionPool, ServiceEntryPort, Sidecar as Written, SidecarEgress, SidecarIngress, VirtualService,
    WithMeta,
};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity, World};

use crate::hosts::{Host, expand, wildcard_covers};
use crate::report::{Place, Report};
use crate::{Group, OutboundTrafficPolicy, ProxyKind, Settings};

/// Namespaces and hosts, as they are written.
#[derive(Clone, Debug, Default)]
struct Patterns<'w>(Vec<(&'w str, String)>);

impl<'w> Patterns<'w> {
    fn of(hosts: impl IntoIterator<Item = &'w String>) -> Self {
        let split = hosts.into_iter().filter_map(|host| host.split_once('/'));
        Self(split.map(|(namespace, host)| (namespace, host.to_ascii_lowercase())).collect())
    }

    fn list(&self, namespace: &str, host: &str, group: &Group) -> bool {
        self.0.iter().any(|(of, pattern)| {
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

/// A port of its own for some hosts that the workload calls.
#[derive(Clone, Debug)]
pub(crate) struct Egress<'w> {
    pub(crate) written: &'w SidecarEgress,
    pub(crate) place: Place,
    patterns: Patterns<'w>,
}

impl Egress<'_> {
    pub(crate) fn lists(&self, host: &Host, group: &Group) -> bool {
        self.patterns.list(&host.namespace, &host.name, group)
    }

    fn is_redirected(&self, kind: ProxyKind) -> bool {
        capture_mode(self.written.capture_mode.as_deref(), kind) == CaptureMode::Redirected
            && self.written.bind.as_deref().is_none_or(str::is_empty)
    }
}

/// Whether connections to a listener are redirected to it, or made to a socket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaptureMode {
    Redirected,
    Own,
}

/// The mode that holds for a kind of proxy: `NONE` is always a socket, all else only where nothing is redirected.
pub(crate) fn capture_mode(written: Option<&str>, kind: ProxyKind) -> CaptureMode {
    match (written, kind) {
        (Some("NONE"), _) => CaptureMode::Own,
        (_, ProxyKind::Intercepted) => CaptureMode::Redirected,
        _ => CaptureMode::Own,
    }
}

/// What a Sidecar object leaves visible; everything where there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sidecar<'w> {
    written: Option<(&'w WithMeta<Written>, Place)>,
    /// Of all egress listeners; none is everything.
    patterns: Option<Patterns<'w>>,
    /// Of the egress listeners without a port, which are for every port that has none; none is everything.
    rest: Option<Patterns<'w>>,
    /// The egress listeners with a port.
    listeners: Vec<Egress<'w>>,
    /// Full names of the hosts that visible routes lead to.
    destinations: Arc<BTreeSet<Name>>,
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
        check(found, &place, group.kind, report);
        let egress = &found.spec.egress;
        let mut sidecar = Self { written: Some((found, place.clone())), ..Self::default() };
        if !egress.is_empty() {
            sidecar.patterns = Some(Patterns::of(egress.iter().flat_map(|egress| &egress.hosts)));
            let rest = egress.iter().filter(|egress| egress.port.is_none());
            sidecar.rest = Some(Patterns::of(rest.flat_map(|egress| &egress.hosts)));
            let listeners = egress.iter().enumerate().filter(|(_, egress)| egress.port.is_some());
            let listener = |(index, written): (usize, &'w SidecarEgress)| Egress {
                written,
                place: place.field("egress").index(index),
                patterns: Patterns::of(&written.hosts),
            };
            sidecar.listeners = listeners.map(listener).collect();
        }
        if sidecar.is_limited() {
            let known =
                world.virtual_services().filter(|service| sidecar.knows_routes(service, group, settings));
            let destinations = known.flat_map(|service| destinations(service, settings));
            sidecar.destinations = Arc::new(destinations.map(Name::from).collect());
        }
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

    /// Full names of the hosts that are known with the routes that lead to them.
    pub(crate) fn destinations(&self) -> &Arc<BTreeSet<Name>> {
        &self.destinations
    }

    /// Where calls to hosts that nobody knows are sent, as it is written.
    pub(crate) fn egress_proxy(
        &self,
    ) -> Option<(&'w pilotage_watcher::resources::Destination, &'w str, Place)> {
        let (found, place) = self.written.as_ref()?;
        let proxy = found.spec.outbound_traffic_policy.as_ref()?.egress_proxy.as_ref()?;
        Some((proxy, &found.meta.namespace, place.field("outboundTrafficPolicy.egressProxy")))
    }

    /// Whether a redirected connection to a port may be one to a host.
    pub(crate) fn on_port(&self, port: u16, host: &Host, group: &Group) -> bool {
        let mut own = self.listeners.iter().filter(|egress| egress.is_redirected(group.kind));
        let own = own.find(|egress| {
            egress.written.port.as_ref().is_some_and(|written| written.number == u32::from(port))
        });
        match (own, &self.rest) {
            (Some(own), _) => own.lists(host, group),
            (None, None) => true,
            (None, Some(rest)) => {
                rest.list(&host.namespace, &host.name, group) || self.destinations.contains(&*host.name)
            }
        }
    }

    /// The egress listeners with a socket of their own.
    pub(crate) fn own_sockets(&self, kind: ProxyKind) -> impl Iterator<Item = &Egress<'w>> {
        self.listeners.iter().filter(move |egress| !egress.is_redirected(kind))
    }

    /// The ports that are listed for calls to the workload, each with its place.
    pub(crate) fn ingress(&self) -> impl Iterator<Item = (&'w SidecarIngress, Place)> {
        self.written.iter().flat_map(|(found, place)| {
            let ingress = found.spec.ingress.iter().enumerate();
            ingress.map(|(index, written)| (written, place.field("ingress").index(index)))
        })
    }

    /// The limits of connections to the workload.
    pub(crate) fn inbound_pool(&self) -> Option<(&'w ConnectionPool, Place)> {
        let (found, place) = self.written.as_ref()?;
        Some((found.spec.inbound_connection_pool.as_ref()?, place.field("inboundConnectionPool")))
    }

    /// Whether calls to hosts that nobody knows go where they were going, by this object or else the settings.
    pub(crate) fn lets_unknown_out(&self, settings: &Settings) -> bool {
        let policy = self.written.as_ref().and_then(|(found, _)| found.spec.outbound_traffic_policy.as_ref());
        match policy.and_then(|policy| policy.mode.as_deref()) {
            Some("ALLOW_ANY") => true,
            Some("REGISTRY_ONLY") => false,
            _ => settings.outbound_traffic_policy == OutboundTrafficPolicy::AllowAny,
        }
    }

    fn lists(&self, namespace: &str, host: &str, group: &Group) -> bool {
        self.patterns.as_ref().is_some_and(|patterns| patterns.list(namespace, host, group))
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

/// Only the port of a ServiceEntry leads to another one.
fn target_port(port: &ServiceEntryPort, place: &Place, report: &mut Report) {
    if port.target_port.is_some() {
        let message = "the port of a Sidecar is the one that is listened on, and leads to no other";
        let problem = place.field("port.targetPort").problem(Code::NoEffect, message);
        report.add(problem.hint("name the workload's port in defaultEndpoint of an ingress"));
    }
}

fn check(sidecar: &WithMeta<Written>, place: &Place, kind: ProxyKind, report: &mut Report) {
    let spec = &sidecar.spec;
    if kind == ProxyKind::Grpc {
        let fields = [
            ("ingress", !spec.ingress.is_empty()),
            ("inboundConnectionPool", spec.inbound_connection_pool.is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
            let message = "calls to a workload with a proxyless gRPC client do not pass a proxy";
            report.add(place.field(field).problem(Code::NotForGrpcClients, message));
        }
    } else if kind != ProxyKind::Intercepted
        && spec.inbound_connection_pool.is_some()
        && spec.ingress.is_empty()
    {
        let message = "calls to the workload pass the proxy only where they are redirected to it, or where ingress \
                       lists their port";
        let place = place.field("inboundConnectionPool");
        report.add(place.problem(Code::NeedsInterception, message).hint("list the ports in ingress"));
    }
    for (index, ingress) in spec.ingress.iter().enumerate() {
        target_port(&ingress.port, &place.field("ingress").index(index), report);
    }
    for (index, egress) in spec.egress.iter().enumerate() {
        let place = place.field("egress").index(index);
        if let Some(port) = &egress.port {
            target_port(port, &place, report);
        }
        if egress.bind.is_some() && egress.port.is_none() {
            let problem = place.field("bind").problem(Code::NoEffect, "without a port nothing is bound");
            report.add(problem.hint("set port as well"));
        }
        if kind == ProxyKind::Grpc && egress.port.is_some() {
            let message = "proxyless gRPC clients call hosts by name: there is no listener to bind";
            report.add(place.field("port").problem(Code::NotForGrpcClients, message));
        }
        if egress.capture_mode.as_deref() == Some("IPTABLES") && kind != ProxyKind::Intercepted {
            let message = "no connections are redirected to this proxy: the listener has a socket of its own";
            let problem = place.field("captureMode").problem(Code::NeedsInterception, message);
            report.add(problem.hint("start the sidecar with pilotage bootstrap envoy --intercepted"));
        }
        for (at, host) in egress.hosts.iter().enumerate().filter(|(_, host)| !host.contains('/')) {
            let message = format!("{host:?} has no namespace, so it matches nothing");
            let problem = place.field("hosts").index(at).problem(Code::InvalidValue, message);
            report.add(problem.hint("write namespace/host, such as ./* or */api.example.com"));
        }
    }
    let policy = spec.outbound_traffic_policy.as_ref();
    let mode = policy.and_then(|policy| policy.mode.as_deref());
    let proxy = policy.is_some_and(|policy| policy.egress_proxy.is_some());
    if mode == Some("ALLOW_ANY") && !proxy && kind != ProxyKind::Intercepted {
        let message = "without redirection a call has no address of its own to go to: ALLOW_ANY is taken as \
                       REGISTRY_ONLY, and calls to hosts that nobody knows get 503";
        let problem = place.field("outboundTrafficPolicy.mode").problem(Code::NeedsInterception, message);
        report.add(problem.hint("name such hosts in ServiceEntries, or send their calls to an egressProxy"));
    }
    if proxy && mode == Some("REGISTRY_ONLY") {
        let place = place.field("outboundTrafficPolicy.egressProxy");
        let message = "calls to hosts that nobody knows are refused by the mode: they are sent to the egressProxy only \
                       because it is named";
        let problem = place.problem(Code::ConflictingFields, message).severity(Severity::Warning);
        report.add(problem.hint("set mode: ALLOW_ANY"));
    }
}
