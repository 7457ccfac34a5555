//! The way out of a sidecar without interception: one HTTP listener on 127.0.0.1 that routes by `:authority`, and, if
//! the node asks for it, one listener for every opaque Service port.

mod listed;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pilotage_watcher::Code;

use crate::blueprint::Blueprint;
use crate::hosts::Host;
use crate::ir::{
    Action, Address, Backend, Branch, Capture, Edge, Entry, Forward, HeaderEdits, Intake, Listener, Rule,
    Service, Side, VirtualHost,
};
use crate::passage::{Passage, Taken, by_name, passage};
use crate::protocol::Protocol;
use crate::report::{Place, Report};
use crate::routing::{MeshTable, Routing, Scope, Via, target};
use crate::sidecar::Sidecar;

pub(crate) use listed::listed;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The listener for everything that is routed by request.
pub(crate) fn routed(port: u16, scope: &Scope<'_>, blueprint: &mut Blueprint) {
    let name: Arc<str> = format!("{LOOPBACK}_{port}").into();
    let mut ports = scope.hosts.iter().flat_map(|host| &host.ports);
    let grpc_web = ports.any(|port| port.protocol == Protocol::GrpcWeb);
    let routes = MeshTable::AllPorts.name();
    let entry = Entry::Http { address: LOOPBACK, port, routes, edge: Edge::Inside, grpc_web };
    blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source: None });
}

/// The answer to an authority that means no host, or the way to a proxy that knows more, or `onward` where there is
/// such a cluster.
///
/// Without it Envoy would answer 404, which a gRPC client reads as UNIMPLEMENTED, as if the method were wrong. 503 is
/// UNAVAILABLE, and the body becomes the message of the error.
pub(crate) fn unknown_authority(
    port: u16,
    onward: Option<&str>,
    scope: &Scope<'_>,
    sidecar: &Sidecar<'_>,
    report: &mut Report,
) -> VirtualHost {
    let proxy = sidecar.egress_proxy().map(|(proxy, namespace, place)| {
        let via = Via { port, gateway: None };
        target(proxy, namespace, &place, &via, scope, report).cluster
    });
    let action = match proxy.or_else(|| onward.map(Arc::from)) {
        Some(cluster) => {
            let headers = HeaderEdits::default();
            let backend = Backend { cluster, weight: 1, headers, authority_rewrite: None };
            Action::Forward(Box::new(Forward { backends: vec![backend], ..Forward::default() }))
        }
        None => {
            let body = "no Service, ServiceEntry or VirtualService has this :authority";
            Action::Respond { status: 503, body: body.as_bytes().into() }
        }
    };
    let rule = Rule::always("unknown-authority", action);
    VirtualHost {
        name: "unknown-authority".into(),
        domains: vec!["*".into()],
        rules: vec![rule],
        require_tls: false,
        source: None,
    }
}

/// What the listener of an opaque port does.
#[derive(Default)]
struct PortPlan<'a> {
    branches: Vec<Branch>,
    taken: Taken,
    /// The host that has what no branch takes, and whether only for want of another: one of TLS is known by its name.
    otherwise: Option<(&'a Host, Service, bool)>,
}

/// Listeners for opaque ports: what connects to 127.0.0.1 and the Service's port reaches the Service.
///
/// Several Services may have one port: TLS tells them apart by the server name, and of the rest the oldest takes it, or
/// the first by namespace and name.
pub(crate) fn opaque(egress_port: u16, scope: &Scope<'_>, routing: &Routing<'_>, blueprint: &mut Blueprint) {
    let mut hosts: Vec<_> = scope.hosts.iter().collect();
    hosts.sort_by_key(|host| (host.created, &host.namespace, &host.name));
    let mut plans: BTreeMap<u16, PortPlan<'_>> = BTreeMap::new();
    for host in hosts {
        for port in host.ports.iter().filter(|port| port.protocol.is_opaque()) {
            let place = Place::new(host.source.clone(), "spec.ports");
            // Its rules and its policy decide.
            scope.hosts.note(&host.name);
            let name: Arc<str> = format!("{LOOPBACK}_{}", port.number).into();
            if port.number == egress_port || blueprint.listeners.contains_key(&name) {
                let message = format!("port {} is another listener's: it is not listened on", port.number);
                let hint = "set EGRESS_PORT of the node to another port, or give the Service one";
                blueprint.report.add(place.problem(Code::NoEffect, message).hint(hint));
                continue;
            }
            let plan = plans.entry(port.number).or_default();
            let Passage { mut branches, otherwise } =
                passage(host, port, scope, routing, &mut blueprint.report);
            let has_name = port.protocol == Protocol::Tls;
            if has_name {
                branches.extend(by_name(host, otherwise.clone(), &branches));
            }
            plan.branches.extend(plan.taken.leave_all(host, port, branches, &mut blueprint.report));
            match &plan.otherwise {
                Some((owner, _, false)) if !has_name => {
                    let message = format!(
                        "port {} of 127.0.0.1 leads to {}, which comes first: {} is not reached by it",
                        port.number, owner.name, host.name
                    );
                    blueprint.report.add(
                        place
                            .problem(Code::NoEffect, message)
                            .hint("give the Service a port of its own, or declare an HTTP protocol"),
                    );
                }
                Some((_, _, true)) if !has_name => plan.otherwise = Some((host, otherwise, false)),
                Some(_) => {}
                None => plan.otherwise = Some((host, otherwise, has_name)),
            }
        }
    }
    for (port, plan) in plans {
        let Some((owner, otherwise, _)) = plan.otherwise else { continue };
        let name: Arc<str> = format!("{LOOPBACK}_{port}").into();
        let capture = Capture {
            address: Address::Socket(LOOPBACK, port),
            intake: Intake::Own,
            side: Side::Outbound,
            branches: plan.branches,
            otherwise: Some(otherwise),
        };
        let entry = Entry::Captured(capture);
        let source = Some(owner.source.clone());
        blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source });
    }
}
