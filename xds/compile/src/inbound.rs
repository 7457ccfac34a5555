//! The way into a workload: for each port that its Services lead to, or that its Sidecar object lists, a cluster of the
//! workload itself.
//!
//! Redirected connections go on to the address that they were meant for, from one that the kernel knows not to redirect
//! again; what no port is known for goes on as it is. Without redirection only listed ports have a listener.

mod ingress;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::blueprint::Blueprint;
use crate::clusters::{pool_of, streaming_of};
use crate::interception::{ANY, BLACK_HOLE, INBOUND_PORT, insert};
use crate::ir::{
    Action, Address, Backend, Branch, Capture, Cluster, Discovery, Forward, HeaderEdits, Intake, RetryPolicy,
    RouteTable, Rule, Service, Side, Speaks, Streaming, Upstream, VirtualHost,
};
use crate::passage::to;
use crate::protocol::Protocol;
use crate::sidecar::Sidecar;
use crate::workload::Served;

pub(crate) use ingress::ingress;

/// The cluster of connections to ports that no Service leads to.
const PASSTHROUGH: &str = "InboundPassthroughCluster";

/// The address that connections to the workload come from; the rules of the kernel leave it alone.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

/// Tries after the first where a request provably did not reach the workload.
const RETRIES: u32 = 2;

/// The listener for everything that is opened to the workload.
pub(crate) fn redirected(
    served: &BTreeMap<u16, Served>,
    listed: Vec<Branch>,
    sidecar: &Sidecar<'_>,
    blueprint: &mut Blueprint,
) {
    let onward = Cluster {
        from: Some(FROM),
        ..Cluster::plain(PASSTHROUGH.into(), Discovery::Original { port: None }, Upstream::AsClient)
    };
    blueprint.clusters.insert(onward.name.clone(), onward);
    let mut branches = vec![branch(INBOUND_PORT, Speaks::Anything, to(BLACK_HOLE))];
    if listed.is_empty() {
        for (port, own) in served.iter().filter(|(port, _)| **port != INBOUND_PORT) {
            let cluster = Cluster {
                from: Some(FROM),
                source: Some(own.source.clone()),
                ..own_cluster(*port, own.protocol, Discovery::Original { port: None })
            };
            let cluster = limited(cluster, own.protocol, sidecar, blueprint);
            blueprint.clusters.insert(cluster.name.clone(), cluster);
            let name = format!("{}:{}", own.host, own.port);
            let streaming = sidecar.inbound_pool().map(|(pool, _)| streaming_of(pool)).unwrap_or_default();
            branches.extend(port_branches(*port, own.protocol, &name, streaming, blueprint));
        }
    }
    branches.extend(listed);
    let capture = Capture {
        address: Address::Socket(ANY, INBOUND_PORT),
        intake: Intake::Kept,
        side: Side::Inbound,
        branches,
        otherwise: Some(to(PASSTHROUGH)),
    };
    insert("virtualInbound".into(), capture, blueprint);
}

/// The name of the cluster of a port of the workload.
fn cluster_name(port: u16) -> Arc<str> {
    format!("inbound|{port}||").into()
}

/// The cluster of a port of the workload, by what it carries.
fn own_cluster(port: u16, protocol: Protocol, discovery: Discovery) -> Cluster {
    let upstream = match protocol {
        protocol if protocol.is_http2() => Upstream::Http2,
        // The client's choice: the proxy beside it may have upgraded, or not.
        Protocol::Http | Protocol::Sniffed => Upstream::AsClient,
        _ => Upstream::Opaque,
    };
    Cluster::plain(cluster_name(port), discovery, upstream)
}

/// A cluster with the limits of the Sidecar object.
fn limited(
    cluster: Cluster,
    protocol: Protocol,
    sidecar: &Sidecar<'_>,
    blueprint: &mut Blueprint,
) -> Cluster {
    match sidecar.inbound_pool() {
        None => cluster,
        Some((pool, place)) => pool_of(cluster, pool, &place, protocol, &mut blueprint.report),
    }
}

/// The branches of a port of the workload.
fn port_branches(
    port: u16,
    protocol: Protocol,
    name: &str,
    streaming: Streaming,
    blueprint: &mut Blueprint,
) -> Vec<Branch> {
    let cluster = cluster_name(port);
    let clusters = vec![(cluster.clone(), 1)];
    let opaque = Service::Opaque { name: cluster.clone(), clusters, streaming };
    if !protocol.is_http() {
        return vec![branch(port, Speaks::Anything, opaque)];
    }
    let service = routed(&cluster, protocol, name, blueprint);
    match protocol {
        // Neither is a fallback of the other for Envoy, so both plaintext and TLS are named.
        Protocol::Sniffed => vec![
            branch(port, Speaks::Http, service),
            branch(port, Speaks::Plaintext, opaque.clone()),
            branch(port, Speaks::Anything, opaque),
        ],
        _ => vec![branch(port, Speaks::Anything, service)],
    }
}

fn branch(port: u16, speaks: Speaks, service: Service) -> Branch {
    Branch { port: Some(port), subnets: Vec::new(), speaks, tls: None, service, source: None }
}

/// Requests to a cluster of the workload, whatever they say whom they are for.
fn routed(cluster: &Arc<str>, protocol: Protocol, name: &str, blueprint: &mut Blueprint) -> Service {
    let action = Action::Forward(Box::new(Forward {
        backends: vec![Backend {
            cluster: cluster.clone(),
            weight: 1,
            headers: HeaderEdits::default(),
            authority_rewrite: None,
        }],
        // The client's own proxy decides about calls; for the rest a connection that was just closed is worth a try.
        retries: (!protocol.is_grpc()).then(|| RetryPolicy {
            attempts: RETRIES,
            on: vec!["reset-before-request".into()],
            status_codes: Vec::new(),
            per_try_timeout: None,
            backoff: None,
            avoid_tried: false,
            avoid_tried_localities: false,
        }),
        timeout: Some(Duration::ZERO),
        ..Forward::default()
    }));
    let host = VirtualHost {
        name: format!("inbound|{name}").into(),
        domains: vec!["*".into()],
        rules: vec![Rule::always("default", action)],
        require_tls: false,
        source: None,
    };
    let table = RouteTable { name: cluster.clone(), hosts: vec![Arc::new(host)], ignore_port: false };
    blueprint.routes.insert(cluster.clone(), table);
    Service::Http { routes: cluster.clone(), grpc_web: protocol == Protocol::GrpcWeb }
}
