//! Connections from which no request is read: where each goes, by the server name that it asks for or the address that
//! it was meant for, and how long it is kept.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::Code;

use crate::ProxyKind;
use crate::clusters::streaming;
use crate::hosts::{Host, Port};
use crate::ir::{Branch, Service, Speaks, Streaming};
use crate::protocol::Protocol;
use crate::report::{Place, Report};
use crate::routing::{Claim, Routing, Scope, StreamRule, Via, server_name_rules, tcp_rules};

/// Server names of connections of one port that are taken, each with the addresses that it is taken for.
///
/// Two filter chains for one name and address would make Envoy refuse the listener, and all else on the port with it.
#[derive(Default)]
pub(crate) struct Taken(BTreeSet<(String, Option<(IpAddr, u8)>)>);

/// What is done with connections to a port of a host.
pub(crate) struct Passage {
    /// By server name or by address, the first to match first.
    pub(crate) branches: Vec<Branch>,
    pub(crate) otherwise: Service,
}

/// Connections that go to a cluster as they are.
pub(crate) fn to(cluster: &str) -> Service {
    Service::Opaque {
        name: cluster.into(),
        clusters: vec![(cluster.into(), 1)],
        streaming: Streaming::default(),
    }
}

/// What is done with connections to a port of a host, by the rules of the VirtualService that owns it.
pub(crate) fn passage(
    host: &Host,
    port: &Port,
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    report: &mut Report,
) -> Passage {
    let rule = scope.rules.find(host, scope.group, scope.settings);
    let name: Arc<str> = host.cluster_name(port.number, "").into();
    let streaming = streaming(host, port, "", rule, scope.group.kind).0;
    let otherwise = Service::Opaque { name: name.clone(), clusters: vec![(name, 1)], streaming };
    let mut passage = Passage { branches: Vec::new(), otherwise };
    let Some(claim) = routing.owner(&host.name) else { return passage };
    let via = Via { port: port.number, gateway: None };
    let mut taken = Taken::default();
    for rule in tcp_rules(claim, &via, scope, report) {
        if rule.subnets.is_empty() {
            passage.otherwise = of_rule(host, &rule);
        } else if knows_addresses(&rule, scope, report) {
            passage.branches.extend(branch(host, claim, rule, &mut taken, report));
        }
    }
    if port.protocol == Protocol::Tls {
        for rule in server_name_rules(claim, &via, scope, report) {
            if rule.subnets.is_empty() || knows_addresses(&rule, scope, report) {
                passage.branches.extend(branch(host, claim, rule, &mut taken, report));
            }
        }
    }
    passage
}

/// Whether the proxy knows the address that a connection was meant for, which a rule asks for.
fn knows_addresses(rule: &StreamRule, scope: &Scope<'_>, report: &mut Report) -> bool {
    let knows = scope.group.kind == ProxyKind::Intercepted;
    if !knows {
        let message = "connections to 127.0.0.1 do not say which address they are for: the rule does nothing";
        let problem = rule.place.field("destinationSubnets").problem(Code::NeedsInterception, message);
        report.add(problem.hint("start the sidecar with pilotage bootstrap envoy --intercepted"));
    }
    knows
}

/// The connections of TLS to a host by its own names, but for those that rules have.
pub(crate) fn by_name(host: &Host, service: Service, rules: &[Branch]) -> Option<Branch> {
    let aliases = host.aliases.iter().map(|alias| alias.name.clone());
    let has = |branch: &Branch, name: &Arc<str>| {
        branch.subnets.is_empty() && matches!(&branch.speaks, Speaks::Tls(names) if names.contains(name))
    };
    let names = std::iter::once(host.name.clone()).chain(aliases);
    let names: Vec<_> = names.filter(|name| !rules.iter().any(|branch| has(branch, name))).collect();
    (!names.is_empty()).then(|| Branch {
        port: None,
        subnets: Vec::new(),
        speaks: Speaks::Tls(names),
        tls: None,
        service,
        source: Some(host.source.clone()),
    })
}

fn of_rule(host: &Host, rule: &StreamRule) -> Service {
    Service::Opaque { name: host.name.clone(), clusters: rule.clusters.clone(), streaming: rule.streaming }
}

/// The connections of a rule, but for what a rule before it has.
fn branch(
    host: &Host,
    claim: &Claim,
    rule: StreamRule,
    taken: &mut Taken,
    report: &mut Report,
) -> Option<Branch> {
    let branch = Branch {
        port: None,
        service: of_rule(host, &rule),
        speaks: match rule.server_names.is_empty() {
            true => Speaks::Anything,
            false => Speaks::Tls(rule.server_names.into_iter().map(Arc::from).collect()),
        },
        subnets: rule.subnets,
        tls: None,
        source: Some(claim.source.clone()),
    };
    let (branch, conflicting) = taken.leave(branch);
    if !conflicting.is_empty() {
        let message = "connections for some of these names or addresses match a rule that comes first";
        let problem = rule.place.problem(Code::UnreachableRule, message);
        report.add(problem.hint("give each server name and address one rule"));
    }
    branch
}

impl Taken {
    /// Takes what is free of some names, each for all of some addresses; empty addresses are any. What is not comes
    /// second.
    pub(crate) fn take(
        &mut self,
        names: Vec<String>,
        subnets: &[(IpAddr, u8)],
    ) -> (Vec<String>, Vec<String>) {
        let addresses = || match subnets {
            [] => vec![None],
            subnets => subnets.iter().copied().map(Some).collect(),
        };
        let (free, taken): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| {
            !addresses().into_iter().any(|address| self.0.contains(&(name.clone(), address)))
        });
        for name in &free {
            self.0.extend(addresses().into_iter().map(|address| (name.clone(), address)));
        }
        (free, taken)
    }

    /// Leaves a branch what is free of it, and says what is not.
    pub(crate) fn leave(&mut self, mut branch: Branch) -> (Option<Branch>, Vec<String>) {
        let names = match &branch.speaks {
            Speaks::Tls(names) => names.iter().map(ToString::to_string).collect(),
            Speaks::Anything => vec![String::new()],
            Speaks::Http | Speaks::Plaintext => return (Some(branch), Vec::new()),
        };
        let (free, taken) = self.take(names, &branch.subnets);
        let is_left = !free.is_empty();
        if let Speaks::Tls(names) = &mut branch.speaks {
            *names = free.into_iter().map(Arc::from).collect();
        }
        (is_left.then_some(branch), taken)
    }

    /// Leaves some branches of a host's port what is free of them, and tells of the rest.
    pub(crate) fn leave_all(
        &mut self,
        host: &Host,
        port: &Port,
        branches: Vec<Branch>,
        report: &mut Report,
    ) -> Vec<Branch> {
        let mut left = Vec::new();
        for branch in branches {
            let (branch, conflicting) = self.leave(branch);
            left.extend(branch);
            if !conflicting.is_empty() {
                let message = format!(
                    "some connections to port {} are those of a host or rule that comes first: {}",
                    port.number,
                    conflicting.join(", ")
                );
                let problem = Place::new(host.source.clone(), "spec").problem(Code::NoEffect, message);
                report.add(problem.hint("give each server name and address one host or rule"));
            }
        }
        left
    }

    /// Takes a range of addresses, if it is free.
    pub(crate) fn has_free_range(&mut self, range: (IpAddr, u8)) -> bool {
        self.take(vec![String::new()], &[range]).1.is_empty()
    }
}
