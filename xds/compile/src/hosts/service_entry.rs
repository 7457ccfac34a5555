//! ServiceEntries as hosts: listed addresses and names to resolve; what else there is becomes a problem.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use pilotage_watcher::resources::{ServiceEntry, WithMeta, WorkloadEntry};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity, World};

use super::{Host, Members, Port, Preference, Resolve, authority, is_domain, is_resolvable, port_problem};
use crate::endpoints::fit;
use crate::ir::{Address, DnsEndpoint};
use crate::pattern::is_header_value;
use crate::protocol::{self, Note, Protocol};
use crate::report::{Place, Report};
use crate::{ProxyKind, Settings};

/// The hosts of an entry, each with its index among those written; none where its resolution is not served.
pub(super) fn hosts(
    entry: &Arc<WithMeta<ServiceEntry>>,
    settings: &Settings,
    report: &mut Report,
) -> Vec<(usize, Host)> {
    let meta = &entry.meta;
    let source = ObjectKey::new(Kind::ServiceEntry, meta.namespace.clone(), meta.name.clone());
    let spec = Place::new(source.clone(), "spec");
    let (ports, targets) = ports(&entry.spec, settings, &spec, report);
    let certificate_names = certificate_names(&entry.spec, &spec, report);
    let resolution = entry.spec.resolution.as_deref().unwrap_or("NONE");
    let members = match resolution {
        "STATIC" if entry.spec.workload_selector.is_some() => {
            if !entry.spec.endpoints.is_empty() {
                let message = "endpoints and workloadSelector exclude each other; workloadSelector is used";
                let problem = spec.field("endpoints").problem(Code::ConflictingFields, message);
                report.add(problem.hint("keep one of them"));
            }
            let selector = entry.spec.workload_selector.clone().unwrap_or_default();
            Members::Selected { labels: Arc::new(selector.labels), targets: Arc::new(targets) }
        }
        "STATIC" => {
            Members::Listed { entries: entry.spec.endpoints.clone().into(), targets: Arc::new(targets) }
        }
        "NONE" => Members::Destination,
        "DNS" => Members::Dns { names: BTreeMap::new(), resolve: Resolve::EveryAddress },
        "DNS_ROUND_ROBIN" => Members::Dns { names: BTreeMap::new(), resolve: Resolve::FirstAddress },
        other => {
            let message =
                format!("resolution {other} is not supported yet: the hosts of this entry are not served");
            let problem = spec.field("resolution").problem(Code::NotSupported, message);
            report.add(problem.hint("use NONE, STATIC with endpoints, DNS, or DNS_ROUND_ROBIN"));
            return Vec::new();
        }
    };
    let by_name = matches!(members, Members::Dns { .. });
    if by_name && entry.spec.workload_selector.is_some() {
        let message = format!("resolution {resolution} takes names, so workloadSelector selects nothing");
        let problem = spec.field("workloadSelector").problem(Code::NoEffect, message);
        report.add(problem.hint("use resolution STATIC"));
    }
    if resolution == "DNS_ROUND_ROBIN" && entry.spec.endpoints.len() > 1 {
        let message = "DNS_ROUND_ROBIN takes one endpoint; the first that has a name is used";
        let problem = spec.field("endpoints").problem(Code::InvalidEndpoint, message);
        report.add(problem.hint("use resolution DNS for several"));
    }
    for (index, _) in entry.spec.addresses.iter().enumerate().filter(|(_, address)| address.contains('/')) {
        let message =
            "a range is no address that a call could name: it only matters where traffic is intercepted";
        let problem = spec.field("addresses").index(index).problem(Code::NoEffect, message);
        report.add(problem.severity(Severity::Info));
    }
    for (index, endpoint) in entry.spec.endpoints.iter().enumerate() {
        let place = spec.field("endpoints").index(index);
        check_address(endpoint, by_name, &place, report);
        check_place(endpoint, &place, report);
    }
    let addresses = entry.spec.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
    let addresses: Vec<_> = addresses.map(authority).collect();
    let ranges: BTreeSet<_> = entry.spec.addresses.iter().filter_map(|address| range(address)).collect();
    let ranges: Vec<_> = ranges.into_iter().collect();
    let mut hosts = Vec::new();
    for (index, name) in entry.spec.hosts.iter().enumerate() {
        let name = name.to_ascii_lowercase();
        let place = spec.field("hosts").index(index);
        if !is_domain(&name)
            || name == "*"
            || (name.contains('*') && by_name && entry.spec.endpoints.is_empty())
        {
            report.add(
                place
                    .problem(
                        Code::InvalidValue,
                        format!("{name:?} cannot be the host of an entry with resolution {resolution}"),
                    )
                    .hint("write a full host name"),
            );
            continue;
        }
        let members = match &members {
            Members::Dns { resolve, .. } => {
                let mut names = dns_members(&entry.spec, &name, &ports, &targets_of(&entry.spec));
                if *resolve == Resolve::FirstAddress {
                    names.values_mut().for_each(|names| names.truncate(1));
                }
                Members::Dns { names, resolve: *resolve }
            }
            members => members.clone(),
        };
        let host = Host {
            name: name.into(),
            namespace: meta.namespace.clone(),
            source: source.clone(),
            ports: ports.clone(),
            members,
            aliases: Vec::new(),
            addresses: addresses.clone(),
            ranges: ranges.clone(),
            preference: Preference::default(),
            certificate_names: certificate_names.clone(),
            created: meta.created.unwrap_or(0),
        };
        hosts.push((index, host));
    }
    hosts
}

fn ports(
    spec: &ServiceEntry,
    settings: &Settings,
    place: &Place,
    report: &mut Report,
) -> (Vec<Port>, BTreeMap<u16, u16>) {
    let mut ports: Vec<Port> = Vec::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let place = place.field("ports").index(index);
        let Some(number) = u16::try_from(port.number).ok().filter(|number| *number != 0) else {
            let message = format!("{} is not a port; the port is left out", port.number);
            report.add(place.field("number").problem(Code::InvalidValue, message).hint("use 1 to 65535"));
            continue;
        };
        let word = port.protocol.as_deref().filter(|word| !word.is_empty());
        let otherwise = if word.is_some() { Note::Unknown } else { Note::Undeclared };
        let declared =
            protocol::of_text(word.unwrap_or_default(), number, settings.undeclared_ports, otherwise);
        report.extend(port_problem(&place, number, &port.name, word, declared));
        if declared.protocol != Protocol::Datagram && !ports.iter().any(|known| known.number == number) {
            ports.push(Port { number, name: port.name.as_str().into(), protocol: declared.protocol });
        }
    }
    (ports, targets_of(spec))
}

/// A range of addresses, such as `10.1.0.0/16`.
fn range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let (address, length): (IpAddr, u8) = (address.parse().ok()?, length.parse().ok()?);
    // Two ranges that differ in what is masked are one.
    let masked = match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32u32.checked_sub(length.into())?).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128u32.checked_sub(length.into())?).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    };
    Some((masked, length))
}

/// The port on the endpoints of every port that says so.
fn targets_of(spec: &ServiceEntry) -> BTreeMap<u16, u16> {
    spec.ports
        .iter()
        .filter_map(|port| {
            let number = u16::try_from(port.number).ok()?;
            Some((number, u16::try_from(port.target_port?).ok().filter(|target| *target != 0)?))
        })
        .collect()
}

/// The port on an endpoint: its own map by name, then the target port, then the number itself.
pub(crate) fn endpoint_port(entry: &WorkloadEntry, port: &Port, targets: &BTreeMap<u16, u16>) -> u16 {
    let own = entry.ports.get(&*port.name).and_then(|own| u16::try_from(*own).ok()).filter(|own| *own != 0);
    own.or_else(|| targets.get(&port.number).copied()).unwrap_or(port.number)
}

fn dns_members(
    spec: &ServiceEntry,
    host: &str,
    ports: &[Port],
    targets: &BTreeMap<u16, u16>,
) -> BTreeMap<u16, Vec<DnsEndpoint>> {
    let itself = [WorkloadEntry { address: Some(host.to_owned()), ..WorkloadEntry::default() }];
    let entries = if spec.endpoints.is_empty() { &itself[..] } else { &spec.endpoints[..] };
    let of_port = |port: &Port| {
        let mut endpoints: Vec<DnsEndpoint> = entries
            .iter()
            .filter_map(|entry| {
                let name = entry.address.as_deref().filter(|name| is_resolvable(name))?;
                Some(DnsEndpoint {
                    name: name.into(),
                    port: endpoint_port(entry, port, targets),
                    weight: entry.weight.unwrap_or(1).max(1),
                })
            })
            .collect();
        endpoints.sort();
        endpoints.dedup_by(|one, other| (&one.name, one.port) == (&other.name, other.port));
        fit(endpoints.iter_mut().map(|endpoint| &mut endpoint.weight));
        endpoints
    };
    ports.iter().map(|port| (port.number, of_port(port))).collect()
}

/// The names that a certificate may have; one that no certificate could have is left out.
fn certificate_names(entry: &ServiceEntry, spec: &Place, report: &mut Report) -> Arc<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = Vec::new();
    for (index, name) in entry.subject_alt_names.iter().enumerate() {
        if !name.is_empty() && is_header_value(name) {
            names.push(name.as_str().into());
        } else {
            let place = spec.field("subjectAltNames").index(index);
            let problem = place.problem(Code::InvalidValue, "the name is empty or holds a control character");
            report.add(problem.hint("write a DNS name, an address or a URI, or remove it"));
        }
    }
    names.into()
}

/// What is wrong with WorkloadEntries for a kind of client, whoever selects them.
pub(crate) fn check_workloads(world: &World, kind: ProxyKind, report: &mut Report) {
    for entry in world.workload_entries() {
        let meta = &entry.meta;
        let source = ObjectKey::new(Kind::WorkloadEntry, meta.namespace.clone(), meta.name.clone());
        let place = Place::new(source, "spec");
        check_place(&entry.spec, &place, report);
        // Only an entry of resolution STATIC selects them.
        check_address(&entry.spec, false, &place, report);
        tell_of_pipe(&entry.spec, kind, &place, report);
    }
}

/// Says of an endpoint behind a Unix socket that a client cannot call it.
pub(crate) fn tell_of_pipe(entry: &WorkloadEntry, kind: ProxyKind, place: &Place, report: &mut Report) {
    let is_pipe = entry.address.as_deref().is_some_and(|address| address.starts_with("unix://"));
    if is_pipe && kind == ProxyKind::Grpc {
        let message = "proxyless gRPC clients take IP addresses alone: to them the endpoint is left out";
        let problem = place.field("address").problem(Code::NotForGrpcClients, message);
        report.add(problem.hint("call it through a sidecar"));
    }
}

/// Fields of an endpoint that say where it is and who it is, beyond its locality.
fn check_place(entry: &WorkloadEntry, place: &Place, report: &mut Report) {
    if entry.network.as_deref().is_some_and(|network| !network.is_empty()) {
        let problem = place.field("network").not_supported("the endpoint is called at its own address");
        report.add(problem.hint("give the address of the network's gateway where there is no way past it"));
    }
    if entry.service_account.as_deref().is_some_and(|account| !account.is_empty()) {
        let message = "accounts are known to certificates of a mesh alone, which are not supported";
        let problem = place.field("serviceAccount").problem(Code::NoEffect, message).severity(Severity::Info);
        report.add(problem.hint("name what a certificate must have in subjectAltNames of a DestinationRule"));
    }
}

/// An endpoint that cannot be used, which is left out.
fn check_address(entry: &WorkloadEntry, by_name: bool, place: &Place, report: &mut Report) {
    let place = place.field("address");
    let invalid = |message: String| place.problem(Code::InvalidEndpoint, message);
    report.add(match entry.address.as_deref() {
        Some(address) if address.parse::<IpAddr>().is_ok() => return,
        Some(address) if by_name && is_resolvable(address) => return,
        Some(address) if address.starts_with("unix://") => {
            let path = address.trim_start_matches("unix://");
            match Address::pipe(path) {
                Some(_) if !by_name => return,
                Some(_) => invalid(format!("{address:?} is no name to resolve; the endpoint is left out"))
                    .hint("resolution STATIC takes Unix sockets"),
                None => invalid(format!("{path:?} cannot be a Unix socket; the endpoint is left out"))
                    .hint("write unix:///path/of/socket or unix://@name, of at most 107 bytes"),
            }
        }
        Some(address) if is_resolvable(address) => {
            invalid(format!("{address:?} is not an IP address; the endpoint is left out"))
                .hint("resolution STATIC takes addresses; use DNS for names")
        }
        Some(address) => {
            invalid(format!("{address:?} is neither an IP address nor a DNS name; the endpoint is left out"))
        }
        None => invalid("the endpoint has no address and is left out".to_owned()),
    });
}
