//! Services as hosts: by virtual addresses, by their Pods' addresses, or by a name that is elsewhere.

use std::net::IpAddr;

use pilotage_watcher::resources::{Family, Service, ServiceAddress, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity};

use super::{Host, Members, Port, Preference, Resolve, authority, is_resolvable, port_problem};
use crate::Settings;
use crate::endpoints::{HOSTNAME, REGION, ZONE};
use crate::ir::DnsEndpoint;
use crate::protocol::{self, Protocol};
use crate::report::{Place, Report};

/// What API servers fill in for how long a client keeps its endpoint, in seconds.
const USUAL_AFFINITY: i32 = 10_800;

/// The host of a Service.
pub(super) fn host(service: &WithMeta<Service>, settings: &Settings, report: &mut Report) -> Host {
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
        if declared.protocol == Protocol::Datagram {
            let message =
                format!("port {} is not TCP, which is all that is proxied: it is not served", port.port);
            report.add(place.problem(Code::NotSupported, message).severity(Severity::Info));
        }
        if declared.protocol != Protocol::Datagram && port.port != 0 && !known {
            ports.push(Port { number: port.port, name: port.name.clone(), protocol: declared.protocol });
        }
    }
    tell_of_nodes(service, &source, report);
    let preference = Preference {
        only_same_node: service.spec.internal_traffic_local,
        same_for_client: service.spec.client_ip_affinity,
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
            (Members::Dns { names, resolve: Resolve::EveryAddress }, Vec::new())
        }
        ServiceAddress::Headless => {
            let family = family(&[], &service.spec.families);
            (Members::Slices { service: meta.name.clone(), headless: true, family }, Vec::new())
        }
        ServiceAddress::ClusterIp(addresses) => (
            Members::Slices {
                service: meta.name.clone(),
                headless: false,
                family: family(addresses, &service.spec.families),
            },
            addresses.iter().map(|address| authority(*address)).collect(),
        ),
    };
    Host {
        name: name.into(),
        namespace: meta.namespace.clone(),
        source,
        ports,
        members,
        aliases: Vec::new(),
        addresses,
        ranges: Vec::new(),
        preference,
        certificate_names: std::sync::Arc::default(),
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

/// The name that an ExternalName Service leads to.
pub(super) fn external_name(service: &WithMeta<Service>) -> Option<String> {
    match &service.spec.address {
        ServiceAddress::ExternalName(target) => Some(target.trim_end_matches('.').to_ascii_lowercase()),
        ServiceAddress::ClusterIp(_) | ServiceAddress::Headless => None,
    }
}

/// The family that a Service puts first.
fn family(addresses: &[IpAddr], families: &[Family]) -> Family {
    match addresses.first() {
        Some(IpAddr::V6(_)) => Family::V6,
        Some(IpAddr::V4(_)) => Family::V4,
        None => families.first().copied().unwrap_or_default(),
    }
}

/// What the nodes keep for connections that do not come by a proxy, and a proxy does otherwise.
fn tell_of_nodes(service: &WithMeta<Service>, source: &ObjectKey, report: &mut Report) {
    let spec = &service.spec;
    let mut tell = |path: &str, message: String, hint: &str| {
        let problem = Place::new(source.clone(), path).problem(Code::NoEffect, message);
        report.add(problem.severity(Severity::Info).hint(hint));
    };
    if spec.external_traffic_local && !spec.internal_traffic_local {
        let message = "it is for connections from outside of the cluster, which the nodes take in: proxies inside call \
                       endpoints on every node";
        let hint = "set internalTrafficPolicy: Local if proxies are to call those of their own node alone";
        tell("spec.externalTrafficPolicy", message.to_owned(), hint);
    }
    if let Some(seconds) = spec.client_ip_seconds.filter(|seconds| *seconds != USUAL_AFFINITY) {
        let message = format!(
            "clients keep their endpoint for as long as there are the same ones, and not for {seconds} s without a call"
        );
        tell("spec.sessionAffinityConfig.clientIP.timeoutSeconds", message, "leave it out");
    }
}
