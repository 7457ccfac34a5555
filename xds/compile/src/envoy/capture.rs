//! The listeners of a workload's two sides as `Listener`.
//!
//! A look at the first bytes holds up a connection in which the server speaks first, so inspectors look only where a
//! branch depends on what they find, and give up after a while.

use std::time::Duration;

use pilotage_protos::envoy::core::socket_option::{self, SocketState};
use pilotage_protos::envoy::core::{SocketOption, TrafficDirection};
use pilotage_protos::envoy::extensions::filters::listener::http_inspector::v3::HttpInspector;
use pilotage_protos::envoy::extensions::filters::listener::original_dst::v3::OriginalDst;
use pilotage_protos::envoy::listener::listener_filter_chain_match_predicate::{MatchSet, Rule};
use pilotage_protos::envoy::listener::{
    FilterChain, FilterChainMatch, Listener as Message, ListenerFilter, ListenerFilterChainMatchPredicate,
    listener_filter,
};
use pilotage_protos::envoy::{pack_any, types};

use super::listener::{HANDSHAKE_TIMEOUT, http_chain, opaque_chain, range, tls_inspector};
use super::{address, boolean, duration, metadata, tls, uint};
use crate::ir::{AccessLog, Branch, Capture, Edge, Intake, Service, Side, Speaks};

/// How long a connection may be silent before it is taken for none that an inspector knows.
const SILENCE: Duration = Duration::from_secs(5);

/// The numbers of a socket option, as Linux has them.
const SOL_SOCKET: i64 = 1;
const SO_KEEPALIVE: i64 = 9;

/// What the HTTP inspector finds in plaintext.
const HTTP: [&str; 3] = ["http/1.0", "http/1.1", "h2c"];

pub(super) fn listener(capture: &Capture, message: Message, log: Option<&AccessLog>) -> Message {
    let inspectors = inspectors(capture);
    let waits = !inspectors.is_empty();
    let restores = (capture.intake == Intake::Kept).then(original_destination);
    let name = message.name.clone();
    let service = |service: &Service| match service {
        Service::Http { routes, grpc_web } => http_chain(&name, routes, Edge::Inside, *grpc_web, log),
        Service::Opaque { name, clusters, streaming } => opaque_chain(name, clusters, streaming, log),
    };
    Message {
        address: Some(address(&capture.address)),
        traffic_direction: match capture.side {
            Side::Outbound => TrafficDirection::Outbound as i32,
            Side::Inbound => TrafficDirection::Inbound as i32,
        },
        use_original_dst: (capture.intake == Intake::Dispatched).then(|| boolean(true)),
        bind_to_port: (capture.intake == Intake::Handed).then(|| boolean(false)),
        socket_options: (capture.intake == Intake::Handed).then(without_socket).into_iter().collect(),
        listener_filters: restores.into_iter().chain(inspectors).collect(),
        listener_filters_timeout: waits.then(|| duration(SILENCE)),
        continue_on_listener_filters_timeout: waits,
        filter_chains: capture.branches.iter().map(|own| branch(own, service(&own.service))).collect(),
        default_filter_chain: capture.otherwise.as_ref().map(service),
        ..message
    }
}

fn branch(branch: &Branch, chain: FilterChain) -> FilterChain {
    let (transport, names, protocols) = match &branch.speaks {
        Speaks::Anything => ("", &[][..], &[][..]),
        Speaks::Plaintext => ("raw_buffer", &[][..], &[][..]),
        // TLS may name the same protocols inside of it.
        Speaks::Http => ("raw_buffer", &[][..], &HTTP[..]),
        Speaks::Tls(names) => ("tls", &names[..], &[][..]),
    };
    FilterChain {
        filter_chain_match: Some(FilterChainMatch {
            destination_port: branch.port.map(|port| uint(u32::from(port))),
            prefix_ranges: branch.subnets.iter().map(range).collect(),
            server_names: names.iter().map(ToString::to_string).collect(),
            transport_protocol: transport.to_owned(),
            application_protocols: protocols.iter().map(ToString::to_string).collect(),
            ..FilterChainMatch::default()
        }),
        transport_socket: branch.tls.as_ref().map(|own| tls::downstream(own)),
        transport_socket_connect_timeout: branch.tls.is_some().then(|| duration(HANDSHAKE_TIMEOUT)),
        metadata: branch.source.as_ref().map(metadata::of_source),
        ..chain
    }
}

/// The inspectors that branches depend on, each for the ports of those branches alone.
fn inspectors(capture: &Capture) -> Vec<ListenerFilter> {
    let of_tls = capture.branches.iter().filter(|branch| matches!(branch.speaks, Speaks::Tls(_)));
    let of_http = capture.branches.iter().filter(|branch| branch.speaks == Speaks::Http);
    let http = ListenerFilter {
        name: "envoy.filters.listener.http_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack_any(HttpInspector::default()))),
        ..ListenerFilter::default()
    };
    [limited(tls_inspector(), of_tls), limited(http, of_http)].into_iter().flatten().collect()
}

fn limited<'a>(filter: ListenerFilter, branches: impl Iterator<Item = &'a Branch>) -> Option<ListenerFilter> {
    let mut ports: Vec<Option<u16>> = branches.map(|branch| branch.port).collect();
    ports.sort_unstable();
    ports.dedup();
    if ports.is_empty() {
        return None;
    }
    let Some(ports) = ports.into_iter().collect::<Option<Vec<u16>>>() else { return Some(filter) };
    let predicate = |rule| ListenerFilterChainMatchPredicate { rule: Some(rule) };
    let of_port = |port: &u16| {
        let start = i32::from(*port);
        predicate(Rule::DestinationPortRange(types::v3::Int32Range { start, end: start + 1 }))
    };
    let mut rules: Vec<_> = ports.iter().map(of_port).collect();
    let any = match rules.len() {
        1 => rules.remove(0),
        _ => predicate(Rule::OrMatch(MatchSet { rules })),
    };
    Some(ListenerFilter { filter_disabled: Some(predicate(Rule::NotMatch(Box::new(any)))), ..filter })
}

/// The mark of a listener that has no socket, and so none to set the option of.
///
/// Envoy 1.40 gives an updated listener the socket of the one before if their addresses and socket options are equal. A
/// listener that takes the name of one without a socket, to have its own, would be given none, and the Envoy crashes.
fn without_socket() -> SocketOption {
    SocketOption {
        description: "no socket".to_owned(),
        level: SOL_SOCKET,
        name: SO_KEEPALIVE,
        value: Some(socket_option::Value::IntValue(1)),
        state: SocketState::StateListening as i32,
        ..SocketOption::default()
    }
}

fn original_destination() -> ListenerFilter {
    ListenerFilter {
        name: "envoy.filters.listener.original_dst".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(pack_any(OriginalDst::default()))),
        ..ListenerFilter::default()
    }
}
