//! The hosts that a namespace can call, by full name: Services and ServiceEntries, with the protocol of every port.
//!
//! A name is taken by one object only: a Service before a ServiceEntry, then one of the caller's own namespace, then
//! the older. Hosts that the namespace may not see are known by name, so that a reference to one can say so.

mod index;
mod name;
mod service;
mod service_entry;
mod table;
mod trace;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::resources::{Family, WorkloadEntry};
use pilotage_watcher::{Code, ObjectKey, Problem};

pub(crate) use index::{HostIndex, TouchedHosts};
pub(crate) use name::{expand, is_domain, is_resolvable, is_visible, nearest, wildcard_covers, wildcards};
pub(crate) use service_entry::{check_workloads, endpoint_port, tell_of_pipe};
pub(crate) use table::HostTable;
pub(crate) use trace::{Changes, Reads, Trace};

use crate::ir::DnsEndpoint;
use crate::protocol::{Declared, Note, Protocol};
use crate::report::Place;

/// One host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Host {
    /// The full name, in lower case.
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) source: ObjectKey,
    pub(crate) ports: Vec<Port>,
    pub(crate) members: Members,
    /// Other Services that are this host by another name.
    pub(crate) aliases: Vec<Alias>,
    /// Virtual addresses, by which a client may also name the host.
    pub(crate) addresses: Vec<Arc<str>>,
    /// Ranges of virtual addresses, with prefix lengths, the rest of each address 0.
    pub(crate) ranges: Vec<(std::net::IpAddr, u8)>,
    pub(crate) preference: Preference,
    /// Names of which the certificate of an endpoint must have one, where TLS is spoken and its rule names none.
    pub(crate) certificate_names: Arc<[Arc<str>]>,
    /// Seconds since 1970, where the object has an age; of two that claim one thing the older has it.
    pub(crate) created: i64,
}

/// A port of a host that is proxied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
}

/// Another name of a host: an ExternalName Service that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Alias {
    pub(crate) name: Arc<str>,
    pub(crate) namespace: Arc<str>,
    pub(crate) source: ObjectKey,
}

/// Which endpoints of a host its own object prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    /// Only endpoints on the caller's machine are called: `internalTrafficPolicy: Local`.
    pub(crate) only_same_node: bool,
    /// All calls of one client address go to one endpoint: `sessionAffinity: ClientIP`.
    pub(crate) same_for_client: bool,
    /// Labels of places, of which endpoints that share more with the caller come first: `trafficDistribution`.
    pub(crate) near: &'static [&'static str],
}

/// Where a host's endpoints come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Members {
    /// The EndpointSlices of a Service of the same namespace; of a Pod with an address of each family that of one is
    /// called.
    Slices { service: Arc<str>, headless: bool, family: Family },
    /// A list, with the port on the endpoint of each Service port.
    Listed { entries: Arc<[WorkloadEntry]>, targets: Arc<BTreeMap<u16, u16>> },
    /// The Pods and WorkloadEntries of the same namespace that have these labels.
    Selected { labels: Arc<BTreeMap<String, String>>, targets: Arc<BTreeMap<u16, u16>> },
    /// Whatever address a client connects to: the proxy of a workload whose connections are redirected knows it.
    Destination,
    /// Names to resolve, by port.
    Dns { names: BTreeMap<u16, Vec<DnsEndpoint>>, resolve: Resolve },
}

/// What becomes of the answers of a resolver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolve {
    /// Every address is an endpoint, as long as the answers have it.
    EveryAddress,
    /// A new connection goes to the first address of the latest answer; those there are stay.
    FirstAddress,
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

/// The hosts that a group can call, to be looked up by name; what is looked at is noted.
#[derive(Debug)]
pub(crate) struct Hosts<'a> {
    table: &'a HostTable,
    trace: Trace,
}

impl<'a> Hosts<'a> {
    pub(crate) fn new(table: &'a HostTable) -> Self {
        Self { table, trace: Trace::default() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a Host> {
        self.trace.note(name);
        let found = self.table.get(name);
        if let Some(found) = found.filter(|found| *found.name != *name) {
            self.trace.note(&found.name);
        }
        found
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a Host> {
        self.trace.note_all();
        self.table.iter()
    }

    /// Whether the name exists, whoever may see it.
    pub(crate) fn exists(&self, name: &str) -> bool {
        self.trace.note(name);
        self.table.exists(name)
    }

    /// Notes that something of a name was looked at elsewhere: its routes or its rules.
    pub(crate) fn note(&self, name: &str) {
        self.trace.note(name);
    }

    /// Notes that it matters which names VirtualServices own at all.
    pub(crate) fn note_owners(&self) {
        self.trace.note_owners();
    }

    /// Notes that all VirtualServices that bind to Gateways were looked at.
    pub(crate) fn note_claims(&self) {
        self.trace.note_claims();
    }

    /// Begins the part of a translation that is of this name.
    pub(crate) fn begin(&self, own: &Arc<str>) {
        self.trace.begin(own);
    }

    /// What was looked at since the part began.
    pub(crate) fn reads(&self) -> Reads {
        self.trace.take()
    }

    /// The problem of a reference to a host that is not there.
    pub(crate) fn unknown(&self, name: &str, place: &Place) -> Problem {
        if self.exists(name) {
            return place
                .problem(
                    Code::UnknownHost,
                    format!(
                        "host {name} exists but is not seen from here: an exportTo or a Sidecar leaves it out"
                    ),
                )
                .hint(
                    "export it to the namespace, and list it in the egress of its Sidecar if there is one",
                );
        }
        let problem =
            place.problem(Code::UnknownHost, format!("no Service or ServiceEntry has the host {name}"));
        self.trace.note_all();
        match nearest(name, self.table.near(name).into_iter()) {
            Some(known) => problem.hint(format!("did you mean {known}?")),
            None => problem.hint("create the Service or a ServiceEntry, or correct the name"),
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
