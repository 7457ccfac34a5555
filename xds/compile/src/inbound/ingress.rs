//! The ports that a Sidecar object lists: redirected ones as branches of the one inbound listener, others as listeners of
//! their own, each before an endpoint of the workload.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use pilotage_watcher::Code;
use pilotage_watcher::resources::SidecarIngress;

use super::{FROM, limited, own_cluster, port_branches};
use crate::blueprint::Blueprint;
use crate::clusters::{pool_of, streaming_of};
use crate::credentials::Credentials;
use crate::edge::server_tls;
use crate::interception::{ANY, INBOUND_PORT, OUTBOUND_PORT};
use crate::ir::{
    Address, Branch, Capture, Cluster, Discovery, Entry, Intake, Listener, ServerTls, Side, Speaks,
};
use crate::protocol::{Note, Protocol, of_text};
use crate::report::{Place, Report};
use crate::routing::Scope;
use crate::sidecar::{CaptureMode, Sidecar, capture_mode};

/// Where the calls of a listed port go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    /// To the address that the connection was meant for, perhaps at another port.
    Instance(Option<u16>),
    /// To one of the machine itself.
    Local(Address),
}

/// The listed ports: what is redirected is given back, what has a socket of its own is a listener by then.
pub(crate) fn ingress(
    scope: &Scope<'_>,
    sidecar: &Sidecar<'_>,
    credentials: &mut Credentials<'_>,
    blueprint: &mut Blueprint,
) -> Vec<Branch> {
    let mut redirected: Vec<Branch> = Vec::new();
    for (written, place) in sidecar.ingress() {
        let mode = capture_mode(written.capture_mode.as_deref(), scope.group.kind);
        let report = &mut blueprint.report;
        let Some(number) = port(written, &place, report) else { continue };
        let taken = redirected.iter().any(|branch| branch.port == Some(number));
        if mode == CaptureMode::Redirected && taken {
            let message = format!("port {number} is listed above: this entry is not used");
            report
                .add(place.field("port").problem(Code::ConflictingFields, message).hint("list a port once"));
            continue;
        }
        let Some(endpoint) = endpoint(written, number, mode, &place, report) else { continue };
        let Ok(tls) = tls(written, &place, credentials, report) else { continue };
        let protocol = protocol(written, number, &tls, scope, &place, report);
        let cluster = cluster(written, number, protocol, &endpoint, &place, sidecar, blueprint);
        blueprint.clusters.insert(cluster.name.clone(), cluster);
        let pool = written.connection_pool.as_ref().or(sidecar.inbound_pool().map(|(pool, _)| pool));
        let streaming = pool.map(streaming_of).unwrap_or_default();
        let mut branches = port_branches(number, protocol, &format!("*:{number}"), streaming, blueprint);
        if tls.is_some() {
            // What is inside is known only once TLS has ended, and then no inspector looks any more.
            branches.truncate(1);
        }
        for branch in &mut branches {
            branch.source = Some(place.object.clone());
            if tls.is_some() {
                branch.tls.clone_from(&tls);
                branch.speaks = Speaks::Tls(Vec::new());
            }
        }
        match mode {
            CaptureMode::Redirected => redirected.extend(branches),
            CaptureMode::Own => listen(written, number, branches, &endpoint, &place, blueprint),
        }
    }
    redirected
}

fn port(written: &SidecarIngress, place: &Place, report: &mut Report) -> Option<u16> {
    let number = u16::try_from(written.port.number).ok().filter(|number| *number != 0);
    let number = number.filter(|number| !matches!(*number, OUTBOUND_PORT | INBOUND_PORT));
    if number.is_none() {
        let message = format!("{} is no port that can be listened on", written.port.number);
        let problem = place.field("port.number").problem(Code::InvalidValue, message);
        report.add(problem.hint("use 1 to 65535, but for 15001 and 15006"));
    }
    number
}

/// What a listed port carries; behind TLS nothing can be sniffed.
fn protocol(
    written: &SidecarIngress,
    number: u16,
    tls: &Option<Arc<ServerTls>>,
    scope: &Scope<'_>,
    place: &Place,
    report: &mut Report,
) -> Protocol {
    let word = written.port.protocol.as_deref().unwrap_or_default();
    let declared = of_text(word, number, scope.settings.undeclared_ports, Note::Unknown);
    if declared.note == Some(Note::Unknown) {
        let message = format!("{word:?} is not a protocol that is known: connections are passed on unread");
        let problem = place.field("port.protocol").problem(Code::UnknownProtocol, message);
        report.add(problem.hint("use one of grpc, grpc-web, http2, http, tcp"));
    }
    match declared.protocol {
        // The TLS that is declared is the one that ends here.
        Protocol::Tls if tls.is_some() && word.eq_ignore_ascii_case("https") => Protocol::Http,
        Protocol::Datagram => Protocol::Tcp,
        protocol => protocol,
    }
}

/// Where calls go, as it is written; none where that cannot be.
fn endpoint(
    written: &SidecarIngress,
    number: u16,
    mode: CaptureMode,
    place: &Place,
    report: &mut Report,
) -> Option<Endpoint> {
    let place = place.field("defaultEndpoint");
    let text = written.default_endpoint.as_deref().filter(|text| !text.is_empty());
    let endpoint = match text {
        None => Some(Endpoint::Instance(None)),
        Some(text) => parsed(text),
    };
    let Some(endpoint) = endpoint else {
        let message = format!("{:?} is not an endpoint of the workload", text.unwrap_or_default());
        let problem = place.problem(Code::InvalidValue, message);
        report.add(problem.hint("write 127.0.0.1:8080, 0.0.0.0:8080, or unix:///path/of/socket"));
        return None;
    };
    match (mode, endpoint) {
        (CaptureMode::Own, Endpoint::Instance(port)) => {
            if text.is_some() {
                let message =
                    "without redirection the address of the instance is not known: calls go to 127.0.0.1";
                report.add(
                    place.problem(Code::NeedsInterception, message).hint("write 127.0.0.1 and the port"),
                );
            }
            let local = Address::Socket(IpAddr::V4(Ipv4Addr::LOCALHOST), port.unwrap_or(number));
            Some(Endpoint::Local(local))
        }
        (_, endpoint) => Some(endpoint),
    }
}

fn parsed(text: &str) -> Option<Endpoint> {
    if let Some(path) = text.strip_prefix("unix://") {
        return Address::pipe(path).map(Endpoint::Local);
    }
    let address: std::net::SocketAddr =
        text.parse().ok().filter(|address: &std::net::SocketAddr| address.port() != 0)?;
    match address.ip() {
        ip if ip.is_unspecified() => Some(Endpoint::Instance(Some(address.port()))),
        ip if ip.is_loopback() => Some(Endpoint::Local(Address::Socket(ip, address.port()))),
        _ => None,
    }
}

/// TLS that ends at the port, if it is asked for; an error where it cannot be served as written.
fn tls(
    written: &SidecarIngress,
    place: &Place,
    credentials: &mut Credentials<'_>,
    report: &mut Report,
) -> Result<Option<Arc<ServerTls>>, ()> {
    let Some(written_tls) = &written.tls else { return Ok(None) };
    let place = place.field("tls");
    let named = written_tls.credential_name.is_some() || !written_tls.credential_names.is_empty();
    if named || !matches!(written_tls.mode.as_deref(), Some("SIMPLE" | "MUTUAL" | "OPTIONAL_MUTUAL")) {
        let message = "a sidecar ends TLS by files of its own, with mode SIMPLE, MUTUAL or OPTIONAL_MUTUAL: the port \
                       is not opened";
        let problem = place.problem(Code::NotSupported, message);
        report.add(
            problem.hint("set serverCertificate and privateKey to paths that are mounted into the proxy"),
        );
        return Err(());
    }
    match server_tls(written_tls, true, &place, credentials, report) {
        Some(tls) => Ok(Some(Arc::new(tls))),
        None => Err(()),
    }
}

fn cluster(
    written: &SidecarIngress,
    number: u16,
    protocol: Protocol,
    endpoint: &Endpoint,
    place: &Place,
    sidecar: &Sidecar<'_>,
    blueprint: &mut Blueprint,
) -> Cluster {
    let (discovery, from) = match endpoint {
        Endpoint::Instance(port) => (Discovery::Original { port: *port }, Some(FROM)),
        Endpoint::Local(address) => (Discovery::Fixed(Some(address.clone())), None),
    };
    let source = Some(place.object.clone());
    let cluster = Cluster { from, source, ..own_cluster(number, protocol, discovery) };
    match &written.connection_pool {
        Some(pool) => pool_of(cluster, pool, &place.field("connectionPool"), protocol, &mut blueprint.report),
        None => limited(cluster, protocol, sidecar, blueprint),
    }
}

/// A listener with a socket of its own.
fn listen(
    written: &SidecarIngress,
    number: u16,
    branches: Vec<Branch>,
    endpoint: &Endpoint,
    place: &Place,
    blueprint: &mut Blueprint,
) {
    let bind = written.bind.as_deref().filter(|bind| !bind.is_empty());
    let address = match bind.map(str::parse::<IpAddr>) {
        None => ANY,
        Some(Ok(address)) => address,
        Some(Err(_)) => {
            let message = format!("{:?} is not an address: the port is not opened", bind.unwrap_or_default());
            let problem = place.field("bind").problem(Code::InvalidValue, message);
            blueprint.report.add(problem.hint("write an address of the machine, or leave it out"));
            return;
        }
    };
    let leads_to_itself = match endpoint {
        Endpoint::Local(Address::Socket(to, port)) => {
            *port == number && (address.is_unspecified() || address == *to)
        }
        _ => false,
    };
    let name: Arc<str> = format!("{address}_{number}").into();
    if leads_to_itself || blueprint.listeners.contains_key(&name) {
        let message = match leads_to_itself {
            true => format!("calls to {address}:{number} would come back to it: the port is not opened"),
            false => format!("{address}:{number} is taken: the port is not opened"),
        };
        let problem = place.field("port").problem(Code::ConflictingFields, message);
        blueprint
            .report
            .add(problem.hint("let the workload listen on another port, and name it as defaultEndpoint"));
        return;
    }
    let capture = Capture {
        address: Address::Socket(address, number),
        intake: Intake::Own,
        side: Side::Inbound,
        // The socket has one port, which need not be looked at.
        branches: branches.into_iter().map(|branch| Branch { port: None, ..branch }).collect(),
        otherwise: None,
    };
    let entry = Entry::Captured(capture);
    let source = Some(place.object.clone());
    blueprint.listeners.insert(name.clone(), Listener { name, entry, log: None, source });
}
