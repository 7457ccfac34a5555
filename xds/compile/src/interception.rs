//! The way out of a workload whose connections the kernel redirects: a listener that takes them all, and one without a
//! socket for every port that is known, to which it hands what was meant for that port.
//!
//! What nobody knows goes where it was going, or nowhere, as the outbound traffic policy says. A connection to the
//! redirecting port itself is closed: passed on, it would come back for ever.

mod streams;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pilotage_watcher::Code;

use crate::blueprint::Blueprint;
use crate::hosts::{Host, Port};
use crate::ir::{
    Address, Branch, Capture, Cluster, Discovery, Entry, Intake, Listener, RouteTable, Service, Side, Speaks,
    Upstream,
};
use crate::passage::{Taken, passage, to};
use crate::protocol::Protocol;
use crate::report::{Place, Report};
use crate::routing::{Authority, MeshTable, Routing, Scope};
use crate::sidecar::Sidecar;

/// Where connections that the workload opens are redirected to.
pub(crate) const OUTBOUND_PORT: u16 = 15001;
/// Where connections that are opened to the workload are redirected to.
pub(crate) const INBOUND_PORT: u16 = 15006;

/// Every address.
pub(crate) const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The cluster of connections that go where they were going.
pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";
/// The cluster of connections that go nowhere.
pub(crate) const BLACK_HOLE: &str = "BlackHoleCluster";

/// What the listener of a port, whatever the address, does.
#[derive(Default)]
struct PortPlan {
    branches: Vec<Branch>,
    taken: Taken,
    speaks_http: bool,
    grpc_web: bool,
    /// The host that has what no branch takes.
    otherwise: Option<(Service, Arc<str>)>,
}

impl PortPlan {
    /// Adds what is free of a host's branches.
    fn take(&mut self, host: &Host, port: &Port, branches: Vec<Branch>, report: &mut Report) {
        self.branches.extend(self.taken.leave_all(host, port, branches, report));
    }
}

/// How requests name a port of a host where they come redirected, by the listener of that port; not those that are the
/// sidecar's own.
pub(crate) fn ports(scope: &Scope<'_>, sidecar: &Sidecar<'_>) -> impl Fn(&Host, &Port) -> Option<Authority> {
    move |host, port| {
        let is_own = matches!(port.number, OUTBOUND_PORT | INBOUND_PORT);
        (!is_own && sidecar.on_port(port.number, host, scope.group)).then_some(Authority::WithOrWithoutPort)
    }
}

/// The listeners for what the workload opens, and the routes that no other listener shares; `tables` are those of
/// requests.
pub(crate) fn outbound(
    scope: &Scope<'_>,
    routing: &Routing<'_>,
    sidecar: &Sidecar<'_>,
    tables: impl Iterator<Item = MeshTable>,
    blueprint: &mut Blueprint,
) {
    let elsewhere = match sidecar.lets_unknown_out(scope.settings) {
        true => PASSTHROUGH,
        false => BLACK_HOLE,
    };
    for (name, discovery, upstream) in [
        (PASSTHROUGH, Discovery::Original { port: None }, Upstream::AsClient),
        (BLACK_HOLE, Discovery::Fixed(None), Upstream::Opaque),
    ] {
        let name: Arc<str> = name.into();
        blueprint.clusters.insert(name.clone(), Cluster::plain(name, discovery, upstream));
    }
    let guard = Branch {
        port: Some(OUTBOUND_PORT),
        subnets: Vec::new(),
        speaks: Speaks::Anything,
        tls: None,
        service: to(BLACK_HOLE),
        source: None,
    };
    let dispatcher = Capture {
        address: Address::Socket(ANY, OUTBOUND_PORT),
        intake: Intake::Dispatched,
        side: Side::Outbound,
        branches: vec![guard],
        otherwise: Some(to(elsewhere)),
    };
    insert("virtualOutbound".into(), dispatcher, blueprint);
    let mut hosts: Vec<&Host> = scope.hosts.iter().collect();
    hosts.sort_by_key(|host| (host.created, &host.namespace, &host.name));
    let mut plans: BTreeMap<u16, PortPlan> = BTreeMap::new();
    for host in hosts {
        for port in host.ports.iter().filter(|port| sidecar.on_port(port.number, host, scope.group)) {
            if matches!(port.number, OUTBOUND_PORT | INBOUND_PORT) {
                let message = format!("port {} is the sidecar's own: calls to it are closed", port.number);
                let place = Place::new(host.source.clone(), "spec.ports");
                let problem = place.problem(Code::NoEffect, message);
                blueprint.report.add(problem.hint("give the Service another port"));
                continue;
            }
            let plan = plans.entry(port.number).or_default();
            if port.protocol.is_http() {
                plan.grpc_web |= port.protocol == Protocol::GrpcWeb;
                if port.protocol == Protocol::Sniffed {
                    sniffed(host, port, scope, routing, blueprint);
                }
            } else {
                streams::streams(host, port, plan, scope, routing, blueprint);
            }
        }
    }
    for port in tables.filter_map(MeshTable::port) {
        plans.entry(port).or_default().speaks_http = true;
    }
    for (port, plan) in plans {
        whole_port(port, plan, elsewhere, blueprint);
    }
}

/// The listener of a port for every address that has none of its own.
fn whole_port(port: u16, plan: PortPlan, elsewhere: &str, blueprint: &mut Blueprint) {
    let mut branches = plan.branches;
    if plan.speaks_http {
        let routes = MeshTable::Port(port).name();
        branches.push(Branch {
            port: None,
            subnets: Vec::new(),
            speaks: Speaks::Http,
            tls: None,
            service: Service::Http { routes, grpc_web: plan.grpc_web },
            source: None,
        });
    }
    if branches.is_empty() && plan.otherwise.is_none() {
        return;
    }
    let capture = Capture {
        address: Address::Socket(ANY, port),
        intake: Intake::Handed,
        side: Side::Outbound,
        branches,
        otherwise: Some(plan.otherwise.map_or_else(|| to(elsewhere), |(service, _)| service)),
    };
    insert(format!("{ANY}_{port}").into(), capture, blueprint);
}

/// The listeners of a port that may carry anything, at the addresses of its host: HTTP is routed, the rest passed on.
fn sniffed(host: &Host, port: &Port, scope: &Scope<'_>, routing: &Routing<'_>, blueprint: &mut Blueprint) {
    if host.addresses.is_empty() {
        return;
    }
    let routes: Arc<str> = format!("{}:{}", host.name, port.number).into();
    let claim = routing.owner(&host.name);
    let mut virtual_host = crate::routing::service_host(host, port, claim, scope, &mut blueprint.report);
    // Whoever the client says that it calls, this is who has the address.
    virtual_host.domains = vec!["*".into()];
    let hosts = vec![Arc::new(virtual_host)];
    let table = RouteTable { name: routes.clone(), hosts, ignore_port: false };
    blueprint.routes.insert(routes.clone(), table);
    let branch = Branch {
        port: None,
        subnets: Vec::new(),
        speaks: Speaks::Http,
        tls: None,
        service: Service::Http { routes, grpc_web: false },
        source: None,
    };
    let otherwise = passage(host, port, scope, routing, &mut blueprint.report).otherwise;
    streams::at_addresses(host, port.number, &[branch], &otherwise, blueprint);
}

/// Adds a listener; the name is free.
pub(crate) fn insert(name: Arc<str>, capture: Capture, blueprint: &mut Blueprint) {
    let entry = Entry::Captured(capture);
    blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source: None });
}
