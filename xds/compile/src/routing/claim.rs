//! A VirtualService with its names made whole and its delegates put in: what it says, whoever asks.

use std::sync::Arc;

use pilotage_watcher::resources::{VirtualService, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Problem, Severity, World};

use super::{MESH, Written, delegate, gateway_name};
use crate::hosts::{expand, is_domain};
use crate::report::{Place, Report};
use crate::{ProxyKind, Settings};

/// More hosts than this in one object are likely not meant.
const MANY_HOSTS: usize = 1_000;

/// A VirtualService, its names made whole.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) service: Arc<WithMeta<VirtualService>>,
    pub(crate) source: ObjectKey,
    /// Full names and wildcards, each with its index among those written.
    pub(crate) hosts: Vec<(usize, String)>,
    /// `mesh`, or `namespace/name`.
    pub(crate) gateways: Vec<String>,
    /// The rules, those of delegates among them.
    pub(crate) rules: Vec<Written>,
    /// What is wrong with it before anyone asks for its rules.
    pub(crate) problems: Arc<[Problem]>,
}

impl Claim {
    /// Reads a VirtualService that has hosts.
    pub(super) fn of(service: &Arc<WithMeta<VirtualService>>, world: &World, settings: &Settings) -> Self {
        let mut report = Report::default();
        let report = &mut report;
        let meta = &service.meta;
        let source = ObjectKey::new(Kind::VirtualService, meta.namespace.clone(), meta.name.clone());
        let spec = Place::new(source.clone(), "spec");
        let mut gateways: Vec<String> =
            service.spec.gateways.iter().map(|gateway| gateway_name(gateway, &meta.namespace)).collect();
        if gateways.is_empty() {
            gateways.push(MESH.to_owned());
        }
        let on_mesh = gateways.iter().any(|gateway| gateway == MESH);
        let hosts = hosts(service, on_mesh, &spec, settings, report);
        let rules = delegate::rules(service, &source, world, settings, report);
        let service = service.clone();
        let mut claim = Self { service, source, hosts, gateways, rules, problems: Arc::default() };
        crate::edge::check(&claim, world, report);
        claim.problems = std::mem::take(report).into_problems().into();
        claim
    }

    /// Says what is wrong with it for a kind of proxy.
    pub(crate) fn tell(&self, kind: ProxyKind, report: &mut Report) {
        report.extend(self.problems.iter().cloned());
        let spec = &self.service.spec;
        let fields = [("tls", !spec.tls.is_empty()), ("tcp", !spec.tcp.is_empty())];
        let is_unserved = self.is_on_mesh()
            && matches!(kind, ProxyKind::Grpc | ProxyKind::Sidecar { tcp_egress: false, .. });
        for (field, _) in fields.into_iter().filter(|(_, is_written)| *is_written && is_unserved) {
            let message = "on the mesh these rules apply to connections that are redirected to a sidecar, or that are \
                           opened to its ports for opaque Services: for this proxy they do nothing";
            let place = Place::new(self.source.clone(), "spec").field(field);
            let problem = place.problem(Code::NeedsInterception, message);
            report.add(
                problem
                    .hint("start the sidecar with pilotage bootstrap envoy --intercepted, or --tcp-egress"),
            );
        }
    }

    /// Whether its rules are for the mesh, be it beside gateways.
    pub(crate) fn is_on_mesh(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway == MESH)
    }

    /// Whether its rules are for a Gateway, be it beside the mesh.
    pub(crate) fn is_at_gateways(&self) -> bool {
        self.gateways.iter().any(|gateway| gateway != MESH)
    }

    /// Whether anything of it is for some namespaces only.
    pub(crate) fn looks_at_namespaces(&self) -> bool {
        let spec = &self.service.spec;
        let of_http = self.rules.iter().flat_map(|rule| &rule.route.r#match);
        let of_tls = spec.tls.iter().flat_map(|rule| &rule.r#match);
        let of_tcp = spec.tcp.iter().flat_map(|rule| &rule.r#match);
        !spec.export_to.is_empty()
            || of_http.into_iter().any(|written| written.source_namespace.is_some())
            || of_tls.chain(of_tcp).any(|written| written.source_namespace.is_some())
    }

    /// Whether something that it hands its requests over to is not there.
    pub(super) fn is_broken(&self) -> bool {
        self.rules.iter().any(|rule| rule.broken)
    }
}

fn hosts(
    service: &WithMeta<VirtualService>,
    on_mesh: bool,
    spec: &Place,
    settings: &Settings,
    report: &mut Report,
) -> Vec<(usize, String)> {
    let mut hosts: Vec<(usize, String)> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for (index, host) in service.spec.hosts.iter().enumerate() {
        let place = spec.field("hosts").index(index);
        let name = expand(host, &service.meta.namespace, &settings.cluster_domain);
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
    if hosts.len() > MANY_HOSTS {
        let message = format!(
            "there are {} hosts: each is a virtual host of its own, which every proxy that sees the object is sent",
            hosts.len()
        );
        let problem = spec.field("hosts").problem(Code::TooLarge, message).severity(Severity::Warning);
        report.add(problem.hint("write a wildcard such as *.example.com, or let a Sidecar choose"));
    }
    hosts
}
