//! Virtual hosts: the names by which requests mean a host, and the rules that apply to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_watcher::Code;

use super::rule::{Via, rules};
use super::{Claim, Routing, Scope, retries};
use crate::hosts::{Alias, Host, Members, Port, wildcard_covers};
use crate::ir::{Action, Backend, Forward, HeaderEdits, Rule, VirtualHost};
use crate::report::{Place, Report};

/// The port of a routed host that no Service has.
const PORT_WITHOUT_SERVICE: u16 = 80;

/// How requests name a port of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    /// By the host alone, or by the host and the port.
    WithOrWithoutPort,
    /// By the host and the port; the host alone means another of its ports.
    WithPort,
}

/// What a route table is for.
pub(crate) struct Reach<'a> {
    /// How requests name a port of a host; none where they do not come this way.
    pub(crate) ports: &'a dyn Fn(&Host, &Port) -> Option<Authority>,
    /// Whether requests for a host that is only routed come this way.
    pub(crate) routed: &'a dyn Fn(&str) -> bool,
}

impl Reach<'_> {
    /// Everything; a host alone means its only HTTP port, else port 80, else the first.
    pub(crate) const ALL: Self = Reach { ports: &usual, routed: &|_| true };
}

/// How requests name a port of a host where they come by one listener for all ports.
pub(crate) fn usual(host: &Host, port: &Port) -> Option<Authority> {
    match host.default_http_port().map(|port| port.number) == Some(port.number) {
        true => Some(Authority::WithOrWithoutPort),
        false => Some(Authority::WithPort),
    }
}

/// The domains of a route table: each belongs to one virtual host, or every virtual host would be refused.
#[derive(Debug, Default)]
struct DomainTable {
    taken: BTreeSet<Arc<str>>,
}

impl DomainTable {
    /// Takes those that are free.
    fn take(&mut self, domains: impl IntoIterator<Item = String>) -> Vec<Arc<str>> {
        let mut free = Vec::new();
        for domain in domains {
            let domain: Arc<str> = domain.into();
            if self.taken.insert(domain.clone()) {
                free.push(domain);
            }
        }
        free
    }
}

/// Every virtual host of the mesh that can be called this way: of Services by name and port, and of routed hosts that
/// no Service has.
pub(crate) fn mesh_hosts(
    reach: &Reach<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Vec<Arc<VirtualHost>> {
    let mut found: Vec<(VirtualHost, Vec<String>)> = Vec::new();
    let mut table = DomainTable::default();
    for host in scope.hosts.iter() {
        let claim = routing.owner(&host.name);
        if let Some(claim) = claim {
            opaque_ports(host, claim, report);
        }
        for port in host.http_ports() {
            let Some(authority) = (reach.ports)(host, port) else { continue };
            // Another name with rules of its own is a virtual host of its own.
            let (apart, aliases): (Vec<_>, Vec<_>) =
                host.aliases.iter().partition(|alias| routing.owner_of_name(&alias.name).is_some());
            let (mut full, mut short) = domains(host, port.number, authority, scope);
            for alias in aliases {
                let (names, shorter) = alias_domains(alias, port.number, authority, scope);
                full.extend(names);
                short.extend(shorter);
            }
            let mut virtual_host = service_host(host, port, claim, scope, report);
            virtual_host.domains = table.take(full);
            found.push((virtual_host, short));
            for alias in apart {
                let claim = routing.owner_of_name(&alias.name);
                let (full, short) = alias_domains(alias, port.number, authority, scope);
                let virtual_host = VirtualHost {
                    name: format!("{}:{}", alias.name, port.number).into(),
                    domains: table.take(full),
                    source: Some(alias.source.clone()),
                    ..service_host(host, port, claim, scope, report)
                };
                found.push((virtual_host, short));
            }
        }
    }
    for (name, claim) in routing.owned() {
        if scope.hosts.get(name).is_none() && (reach.routed)(name) {
            let domains = [name.to_owned(), format!("{name}:{PORT_WITHOUT_SERVICE}")];
            unknown_host(name, claim, scope, report);
            let via = Via { port: PORT_WITHOUT_SERVICE, gateway: None };
            found.push((
                VirtualHost {
                    name: format!("{name}:{PORT_WITHOUT_SERVICE}").into(),
                    domains: table.take(domains),
                    rules: rules(claim, &via, scope, report),
                    require_tls: false,
                    source: Some(claim.source.clone()),
                },
                Vec::new(),
            ));
        }
    }
    // Full names come first: a short form of one host may be the full name of another.
    for (virtual_host, short) in &mut found {
        virtual_host.domains.extend(table.take(std::mem::take(short)));
    }
    let mut hosts: Vec<_> = found
        .into_iter()
        .map(|(virtual_host, _)| virtual_host)
        .filter(|virtual_host| !virtual_host.domains.is_empty())
        .map(Arc::new)
        .collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    hosts
}

/// The virtual host of a Service's port, its domains still to be given.
pub(crate) fn service_host(
    host: &Host,
    port: &Port,
    claim: Option<&Claim<'_>>,
    scope: &Scope<'_>,
    report: &mut Report,
) -> VirtualHost {
    let via = Via { port: port.number, gateway: None };
    let rules = match claim {
        Some(claim) if !claim.service.spec.http.is_empty() => rules(claim, &via, scope, report),
        _ => vec![default_rule(host, port, scope)],
    };
    VirtualHost {
        name: format!("{}:{}", host.name, port.number).into(),
        domains: Vec::new(),
        rules,
        require_tls: false,
        source: Some(host.source.clone()),
    }
}

/// Everything to the Service's own port.
pub(crate) fn default_rule(host: &Host, port: &Port, scope: &Scope<'_>) -> Rule {
    let rule = scope.rules.find(host, scope.group, scope.settings);
    let hash_by = crate::clusters::hash_by(port, "", rule, scope.group.kind);
    let mut retries = retries::default_policy(scope.settings, scope.group.kind);
    if let Some(retries) = &mut retries {
        // A hash leads to the same endpoint each time: avoiding it would only cost attempts.
        retries.avoid_tried = hash_by.is_empty();
    }
    let action = Action::Forward(Box::new(Forward {
        backends: vec![Backend {
            cluster: host.cluster_name(port.number, "").into(),
            weight: 1,
            headers: HeaderEdits::default(),
            authority_rewrite: None,
        }],
        retries,
        hash_by,
        ..Forward::default()
    }));
    Rule::always("default", action)
}

/// The domains of a host's port: full forms, and short forms that yield to others' full ones.
pub(crate) fn domains(
    host: &Host,
    port: u16,
    authority: Authority,
    scope: &Scope<'_>,
) -> (Vec<String>, Vec<String>) {
    let (mut full, mut short) = forms(&host.name, &host.namespace, scope);
    full.extend(host.addresses.iter().map(ToString::to_string));
    if let Members::Slices { headless: true, .. } = host.members {
        // The Pods of a headless Service have names of their own below it.
        let below = |names: &[String]| names.iter().map(|name| format!("*.{name}")).collect::<Vec<_>>();
        let (below_full, below_short) = (below(&full), below(&short));
        full.extend(below_full);
        short.extend(below_short);
    }
    (with_port(full, port, authority), with_port(short, port, authority))
}

/// The domains of another name of a host.
pub(crate) fn alias_domains(
    alias: &Alias,
    port: u16,
    authority: Authority,
    scope: &Scope<'_>,
) -> (Vec<String>, Vec<String>) {
    let (full, short) = forms(&alias.name, &alias.namespace, scope);
    (with_port(full, port, authority), with_port(short, port, authority))
}

/// The full forms of a name, and the short ones that a resolver would complete.
fn forms(name: &str, namespace: &str, scope: &Scope<'_>) -> (Vec<String>, Vec<String>) {
    let mut full = vec![name.to_owned()];
    if !name.starts_with('*') {
        full.push(format!("{name}."));
    }
    let mut short = Vec::new();
    let suffix = format!(".{namespace}.svc.{}", scope.settings.cluster_domain).to_ascii_lowercase();
    // What is left of a wildcard would cover more than the wildcard does.
    if let Some(name) = name.strip_suffix(&suffix).filter(|name| !name.starts_with('*')) {
        if *namespace == *scope.group.namespace {
            short.push(name.to_owned());
        }
        short.push(format!("{name}.{namespace}"));
        short.push(format!("{name}.{namespace}.svc"));
    }
    (full, short)
}

fn with_port(names: Vec<String>, port: u16, authority: Authority) -> Vec<String> {
    let mut domains = Vec::new();
    for name in names {
        let numbered = format!("{name}:{port}");
        if authority == Authority::WithOrWithoutPort {
            domains.push(name);
        }
        domains.push(numbered);
    }
    domains
}

/// Rules for a port on which they cannot apply.
fn opaque_ports(host: &Host, claim: &Claim<'_>, report: &mut Report) {
    if claim.service.spec.http.is_empty() {
        return;
    }
    for port in host.ports.iter().filter(|port| port.protocol.is_opaque()) {
        let message =
            format!("port {} of {} is opaque TCP, so these rules do not apply to it", port.number, host.name);
        report.add(
            Place::new(claim.source.clone(), "spec.http")
                .problem(Code::RoutesIgnored, message)
                .hint("declare the port's protocol: appProtocol: grpc, http2 or http"),
        );
    }
}

/// A routed host that no Service has is fine where it is a name of elsewhere, and a slip where it looks like one of
/// the cluster.
fn unknown_host(name: &str, claim: &Claim<'_>, scope: &Scope<'_>, report: &mut Report) {
    let covers = |known: &Host| wildcard_covers(name, &known.name);
    if !name.contains(".svc.") || scope.hosts.iter().any(covers) {
        return;
    }
    let index = claim.hosts.iter().find(|(_, host)| host == name).map(|(index, _)| *index);
    let place = Place::new(claim.source.clone(), "spec.hosts").index(index.unwrap_or(0));
    report.add(scope.hosts.unknown(name, &place));
}
