//! Virtual hosts: the names by which requests mean a host, and the rules that apply to them.

use std::sync::Arc;

use pilotage_watcher::Code;

use super::domains::give_out;
use super::rule::{Via, rules};
use super::{Claim, Named, Routing, Scope, retries};
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

/// How requests name one virtual host of the mesh.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Naming {
    /// The virtual host's own name.
    pub(crate) name: Arc<str>,
    pub(crate) port: u16,
    /// Another name with rules of its own, by its index among those of the host.
    alias: Option<usize>,
    /// Domains in full.
    pub(crate) full: Vec<String>,
    /// Short forms, which yield to full ones.
    pub(crate) short: Vec<String>,
}

/// Every virtual host of the mesh that can be called this way, by name.
pub(crate) fn mesh_table(
    reach: &Reach<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Vec<Arc<VirtualHost>> {
    let of_hosts = scope.hosts.iter().map(|host| &host.name);
    let routed = routing.owned().map(|(name, _)| name).filter(|name| scope.hosts.get(name).is_none());
    let all: Vec<_> =
        of_hosts.chain(routed).map(|name| (name, namings(name, reach, scope, routing))).collect();
    let mut domains = give_out(all.iter().flat_map(|(_, namings)| namings));
    let mut hosts = Vec::new();
    for (name, namings) in &all {
        for mut virtual_host in mesh_hosts(name, namings, scope, routing, report) {
            virtual_host.domains = domains.remove(&virtual_host.name).unwrap_or_default();
            // One that nothing leads to would be refused.
            if !virtual_host.domains.is_empty() {
                hosts.push(Arc::new(virtual_host));
            }
        }
    }
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    hosts
}

/// The virtual hosts of a name: of a Service by each port, or the one of a routed host that no Service has.
pub(crate) fn namings(
    name: &Arc<str>,
    reach: &Reach<'_>,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
) -> Vec<Naming> {
    let Some(host) = scope.hosts.get(name) else {
        let own = format!("{name}:{PORT_WITHOUT_SERVICE}");
        let naming = |own: String| {
            let full = vec![name.to_string(), own.clone()];
            Naming { name: own.into(), port: PORT_WITHOUT_SERVICE, alias: None, full, short: Vec::new() }
        };
        let owner = routing.owner_of_name(name).filter(|_| (reach.routed)(name));
        return owner.map(|_| naming(own)).into_iter().collect();
    };
    if *host.name != **name {
        // Another name of a host is among those of the host.
        return Vec::new();
    }
    let mut found = Vec::new();
    for port in host.http_ports() {
        let Some(authority) = (reach.ports)(host, port) else { continue };
        // Another name with rules of its own is a virtual host of its own.
        let aliases = host.aliases.iter().enumerate();
        let (apart, aliases): (Vec<_>, Vec<_>) =
            aliases.partition(|(_, alias)| routing.owner_of_name(&alias.name).is_some());
        let (mut full, mut short) = domains(host, port.number, authority, scope);
        for (_, alias) in aliases {
            let (names, shorter) = alias_domains(alias, port.number, authority, scope);
            full.extend(names);
            short.extend(shorter);
        }
        let named = |name: &str| format!("{name}:{}", port.number).into();
        found.push(Naming { name: named(&host.name), port: port.number, alias: None, full, short });
        for (index, alias) in apart {
            let (full, short) = alias_domains(alias, port.number, authority, scope);
            let alias = (named(&alias.name), Some(index));
            found.push(Naming { name: alias.0, port: port.number, alias: alias.1, full, short });
        }
    }
    found
}

/// The virtual hosts of a name as they are named, their domains still to be given.
pub(crate) fn mesh_hosts(
    name: &Arc<str>,
    namings: &[Naming],
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Vec<VirtualHost> {
    let Some(host) = scope.hosts.get(name) else {
        return namings
            .iter()
            .filter_map(|naming| routed_host(name, naming, scope, routing, report))
            .collect();
    };
    if let Some(claim) = routing.owner(&host.name) {
        opaque_ports(host, claim, report);
    }
    let virtual_host = |naming: &Naming| {
        let port = host.port(u32::from(naming.port))?;
        let alias = naming.alias.and_then(|index| host.aliases.get(index));
        let claim = match alias {
            Some(alias) => routing.owner_of_name(&alias.name),
            None => routing.owner(&host.name),
        };
        let mut virtual_host = service_host(host, port, claim, scope, report);
        if let Some(alias) = alias {
            virtual_host.name = naming.name.clone();
            virtual_host.source = Some(alias.source.clone());
        }
        Some(virtual_host)
    };
    namings.iter().filter_map(virtual_host).collect()
}

/// The virtual host of a routed host that no Service has.
fn routed_host(
    name: &str,
    naming: &Naming,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Option<VirtualHost> {
    let Named { claim, position } = routing.named_owner(name)?;
    unknown_host(name, claim, *position, scope, report);
    let via = Via { port: naming.port, gateway: None };
    Some(VirtualHost {
        name: naming.name.clone(),
        domains: Vec::new(),
        rules: rules(claim, &via, scope, report),
        require_tls: false,
        source: Some(claim.source.clone()),
    })
}

/// The virtual host of a Service's port, its domains still to be given.
pub(crate) fn service_host(
    host: &Host,
    port: &Port,
    claim: Option<&Claim>,
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
    let hash_by = crate::clusters::hash_by(host, port, "", rule, scope.group.kind);
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
fn opaque_ports(host: &Host, claim: &Claim, report: &mut Report) {
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
fn unknown_host(name: &str, claim: &Claim, position: usize, scope: &Scope<'_>, report: &mut Report) {
    let covers = |known: &Host| wildcard_covers(name, &known.name);
    if !name.contains(".svc.") || scope.hosts.iter().any(covers) {
        return;
    }
    let place = Place::new(claim.source.clone(), "spec.hosts").index(position);
    report.add(scope.hosts.unknown(name, &place));
}
