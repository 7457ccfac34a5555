//! Services as hosts: by virtual addresses, by their Pods' addresses, or by a name that is elsewhere.

use std::net::IpAddr;

use pilotage_watcher::resources::{Service, ServiceAddress, WithMeta};
use pilotage_watcher::{Code, Kind, ObjectKey, Severity};

use super::{Family, Host, Members, Port, Preference, Resolve, authority, is_resolvable, port_problem};
use crate::Settings;
use crate::endpoints::{HOSTNAME, REGION, ZONE};
use crate::ir::DnsEndpoint;
use crate::protocol::{self, Protocol};
use crate::report::{Place, Report};

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
    if service.spec.client_ip_affinity {
        let message = "calls are balanced one by one: sessionAffinity: ClientIP does not hold for them";
        let problem = Place::new(source.clone(), "spec.sessionAffinity").problem(Code::NotSupported, message);
        report.add(problem.hint("hash calls by a header, with consistentHash in a DestinationRule"));
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
            (Members::Dns { names, resolve: Resolve::EveryAddress }, Vec::new())
        }
        ServiceAddress::Headless => {
            (Members::Slices { service: meta.name.clone(), headless: true, family: Family::V4 }, Vec::new())
        }
        ServiceAddress::ClusterIp(addresses) => (
            Members::Slices { service: meta.name.clone(), headless: false, family: family(addresses) },
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
fn family(addresses: &[IpAddr]) -> Family {
    match addresses.first() {
        Some(IpAddr::V6(_)) => Family::V6,
        Some(IpAddr::V4(_)) | None => Family::V4,
    }
}
