//! The hosts that a namespace can call, by full name: Services and ServiceEntries, with the protocol of every port.
//!
//! A name is taken by one object only: a Service before a ServiceEntry, then one of the caller's own namespace, then
//! the older. Hosts that the namespace may not see are known by name, so that a reference to one can say so.

mod name;
mod service_entry;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_watcher::resources::{Service, ServiceAddress, WithMeta, WorkloadEntry};
use pilotage_watcher::{Code, Kind, ObjectKey, Problem, World};

pub(crate) use service_entry::endpoint_port;

pub(crate) use name::{expand, is_domain, is_resolvable, is_visible, nearest, wildcard_covers, wildcards};

use crate::Settings;
use crate::endpoints::{HOSTNAME, REGION, ZONE};
use crate::ir::DnsEndpoint;
use crate::protocol::{self, Declared, Note, Protocol};
use crate::report::{Place, Report};

/// One host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The full name, in lower case.
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) source: ObjectKey,
    pub(crate) ports: Vec<Port>,
    pub(crate) members: Members,
    /// Virtual addresses, by which a client may also name the host.
    pub(crate) addresses: Vec<Arc<str>>,
    pub(crate) preference: Preference,
    /// Seconds since 1970, where the object has an age; of two that claim one thing the older has it.
    pub(crate) created: i64,
}

/// A port of a host that is proxied.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
}

/// Which endpoints of a host its own object prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    /// Only endpoints on the caller's machine are called: `internalTrafficPolicy: Local`.
    pub(crate) only_same_node: bool,
    /// Labels of places, of which endpoints that share more with the caller come first: `trafficDistribution`.
    pub(crate) near: &'static [&'static str],
}

/// Where a host's endpoints come from.
#[derive(Clone, Debug)]
pub(crate) enum Members {
    /// The EndpointSlices of a Service of the same namespace.
    Slices { service: Arc<str>, headless: bool },
    /// A list, with the port on the endpoint of each Service port.
    Listed { entries: Arc<[WorkloadEntry]>, targets: Arc<BTreeMap<u16, u16>> },
    /// Names to resolve, by port.
    Dns(BTreeMap<u16, Vec<DnsEndpoint>>),
}

impl Host {
    pub(crate) fn port(&self, number: u32) -> Option<&Port> {
        self.ports.iter().find(|port| u32::from(port.number) == number)
    }

    /// The ports on which requests are routed.
    pub(crate) fn http_ports(&self) -> impl Iterator<Item = &Port> {
        self.ports.iter().filter(|port| port.protocol.is_http())
    }

    /// The port that a request means which names the host alone: the only one, else 80, else the first.
    pub(crate) fn default_http_port(&self) -> Option<&Port> {
        self.http_ports().find(|port| port.number == 80).or_else(|| self.http_ports().next())
    }

    /// The name of the cluster of a port and subset.
    pub(crate) fn cluster_name(&self, port: u16, subset: &str) -> String {
        cluster_name(&self.name, u32::from(port), subset)
    }
}

/// The name of a cluster, by which dashboards and tools know it.
pub(crate) fn cluster_name(host: &str, port: u32, subset: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// The hosts that one namespace can call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hosts {
    visible: BTreeMap<Arc<str>, Host>,
    /// Every name there is.
    known: BTreeSet<Arc<str>>,
}

impl Hosts {
    pub(crate) fn of(world: &World, settings: &Settings, namespace: &str, report: &mut Report) -> Self {
        let mut hosts = Self::default();
        for service in world.services() {
            let host = of_service(service, settings, report);
            if !is_domain(&host.name) {
                let message = format!("{:?} is not a host name: the Service is not served", host.name);
                report.add(Place::new(host.source, "metadata.name").problem(Code::InvalidValue, message));
                continue;
            }
            hosts.known.insert(host.name.clone());
            let export = service.meta.annotations.get("networking.istio.io/exportTo");
            let export: Vec<String> = export
                .into_iter()
                .flat_map(|list| list.split(','))
                .map(|entry| entry.trim().to_owned())
                .collect();
            if is_visible(&export, &service.meta.namespace, namespace) {
                hosts.visible.insert(host.name.clone(), host);
            }
        }
        let mut entries: Vec<_> = world.service_entries().collect();
        entries.sort_by_key(|entry| (&*entry.meta.namespace != namespace, entry.precedence()));
        for entry in entries {
            let visible = is_visible(&entry.spec.export_to, &entry.meta.namespace, namespace);
            for host in service_entry::hosts(entry, settings, report) {
                hosts.known.insert(host.name.clone());
                if visible {
                    hosts.visible.entry(host.name.clone()).or_insert(host);
                }
            }
        }
        hosts
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Host> {
        self.visible.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Host> {
        self.visible.values()
    }

    /// Whether the name exists, whoever may see it.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    /// The problem of a reference to a host that is not there.
    pub(crate) fn unknown(&self, name: &str, place: &Place) -> Problem {
        if self.exists(name) {
            return place
                .problem(
                    Code::UnknownHost,
                    format!("host {name} exists but is not exported to this namespace"),
                )
                .hint("export it to the namespace, or call it from one that sees it");
        }
        let problem =
            place.problem(Code::UnknownHost, format!("no Service or ServiceEntry has the host {name}"));
        match nearest(name, self.visible.keys().map(|known| &**known)) {
            Some(known) => problem.hint(format!("did you mean {known}?")),
            None => problem.hint("create the Service or a ServiceEntry, or correct the name"),
        }
    }
}

fn of_service(service: &WithMeta<Service>, settings: &Settings, report: &mut Report) -> Host {
    let meta = &service.meta;
    let source = ObjectKey::new(Kind::Service, meta.namespace.clone(), meta.name.clone());
    let name =
        format!("{}.{}.svc.{}", meta.name, meta.namespace, settings.cluster_domain).to_ascii_lowercase();
    let mut ports: Vec<Port> = Vec::new();
    for (index, port) in service.spec.ports.iter().enumerate() {
        let declared = protocol::of_service_port(port, settings.undeclared_ports);
        let place = Place::new(source.clone(), format!("spec.ports[{index}]"));
        report.extend(port_problem(&place, port.port, &port.name, port.app_protocol.as_deref(), declared));
        let known = ports.iter().any(|known| known.number == port.port);
        if declared.protocol != Protocol::Datagram && port.port != 0 && !known {
            ports.push(Port { number: port.port, name: port.name.clone(), protocol: declared.protocol });
        }
    }
    let preference = Preference {
        only_same_node: service.spec.internal_traffic_local,
        near: distribution(service, &Place::new(source.clone(), "spec.trafficDistribution"), report),
    };
    let (members, addresses) = match &service.spec.address {
        ServiceAddress::ExternalName(target) => {
            let name = target.trim_end_matches('.');
            if !is_resolvable(name) {
                let message = format!("{target:?} is not a DNS name: the Service has no endpoints");
                let place = Place::new(source.clone(), "spec.externalName");
                report.add(place.problem(Code::InvalidEndpoint, message).hint("write a full DNS name"));
            }
            let endpoint = |port| DnsEndpoint { name: name.into(), port, weight: 1 };
            let names = |port| is_resolvable(name).then(|| endpoint(port)).into_iter().collect();
            let names = ports.iter().map(|port| (port.number, names(port.number))).collect();
            (Members::Dns(names), Vec::new())
        }
        ServiceAddress::Headless => {
            (Members::Slices { service: meta.name.clone(), headless: true }, Vec::new())
        }
        ServiceAddress::ClusterIp(addresses) => (
            Members::Slices { service: meta.name.clone(), headless: false },
            addresses.iter().map(|address| authority(*address)).collect(),
        ),
    };
    Host {
        name: name.into(),
        namespace: meta.namespace.clone(),
        source,
        ports,
        members,
        addresses,
        preference,
        created: meta.created.unwrap_or(0),
    }
}

fn distribution(service: &WithMeta<Service>, place: &Place, report: &mut Report) -> &'static [&'static str] {
    match service.spec.traffic_distribution.as_deref() {
        None => &[],
        Some("PreferClose" | "PreferSameZone") => &[REGION, ZONE],
        Some("PreferSameNode") => &[REGION, ZONE, HOSTNAME],
        Some(other) => {
            let message =
                format!("{other:?} is not a distribution of traffic; every endpoint is called alike");
            let problem = place.problem(Code::InvalidValue, message);
            report.add(problem.hint("use PreferSameZone or PreferSameNode"));
            &[]
        }
    }
}

/// An address as it stands in an `:authority`.
fn authority(address: std::net::IpAddr) -> Arc<str> {
    match address {
        std::net::IpAddr::V4(address) => address.to_string().into(),
        std::net::IpAddr::V6(address) => format!("[{address}]").into(),
    }
}

/// What is to be said of how a port declares its protocol.
fn port_problem(
    place: &Place,
    number: u16,
    name: &str,
    word: Option<&str>,
    declared: Declared,
) -> Option<Problem> {
    let rename = if name.is_empty() { "grpc".to_owned() } else { format!("grpc-{name}") };
    match declared.note? {
        Note::Undeclared => Some(
            place
                .problem(
                    Code::UndeclaredPort,
                    format!(
                        "port {number} (\"{name}\") declares no protocol, so it is opaque TCP: calls are balanced \
                         by connection, and routes, retries and timeouts do not apply"
                    ),
                )
                .hint(format!(
                    "set appProtocol: grpc on the port, or name it \"{rename}\", or set appProtocol: tcp if it is \
                     opaque TCP (http and http2 likewise)"
                )),
        ),
        Note::Unknown => Some(
            place
                .problem(
                    Code::UnknownProtocol,
                    format!(
                        "port {number} declares {:?}, which is not a protocol that is known, so it is {}",
                        word.unwrap_or_default(),
                        if declared.protocol == Protocol::Sniffed { "sniffed" } else { "opaque TCP" },
                    ),
                )
                .hint("use one of grpc, grpc-web, http2, http, https, tls, tcp"),
        ),
        Note::Alias => Some(place.problem(
            Code::ProtocolAlias,
            format!(
                "{:?} is taken as {}; other implementations may not know it",
                word.unwrap_or(name),
                match declared.protocol {
                    Protocol::Http2 => "http2",
                    Protocol::Http => "http",
                    _ => "https",
                }
            ),
        )),
    }
}
