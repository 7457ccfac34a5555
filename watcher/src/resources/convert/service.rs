//! Services.

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::metadata::shared;
use super::{below, invalid, meta, port};
use crate::resources::{Family, Service, ServiceAddress, ServicePort, TargetPort, Transport, WithMeta};
use crate::{Code, Kind, ObjectKey, Problem};

/// What matters of a Service, and what is wrong with it.
pub fn service(service: v1::Service) -> (WithMeta<Service>, Vec<Problem>) {
    let meta = meta("v1", service.metadata);
    let key = ObjectKey::new(Kind::Service, meta.namespace.clone(), meta.name.clone());
    let spec = service.spec.unwrap_or_default();
    let mut problems = Vec::new();
    let mut ports = Vec::new();
    let listed = spec.ports.as_ref().is_some_and(|ports| !ports.is_empty());
    for (index, found) in spec.ports.into_iter().flatten().enumerate() {
        match service_port(found) {
            Ok(port) => ports.push(port),
            Err(problem) => problems.push(below(*problem, &key, &format!("spec.ports[{index}]"))),
        }
    }
    let external = spec.type_.as_deref() == Some("ExternalName");
    let addresses = spec.cluster_ips.into_iter().flatten();
    let addresses: Vec<_> = addresses.chain(spec.cluster_ip).filter(|ip| !ip.is_empty()).collect();
    let address = if external {
        match spec.external_name.filter(|name| !name.is_empty()) {
            Some(name) => ServiceAddress::ExternalName(name.trim_end_matches('.').into()),
            None => {
                let problem =
                    Problem::new(Code::MissingField, "a Service of type ExternalName needs `externalName`");
                problems.push(problem.on(key.clone(), "spec"));
                ServiceAddress::default()
            }
        }
    } else if addresses.iter().any(|ip| ip == "None") {
        ServiceAddress::Headless
    } else {
        let mut ips = Vec::new();
        for text in addresses {
            match text.parse() {
                Ok(ip) if ips.contains(&ip) => {}
                Ok(ip) => ips.push(ip),
                Err(_) => {
                    let problem = Problem::new(Code::InvalidValue, format!("{text:?} is not an IP address"));
                    problems
                        .push(problem.hint("write an address, or `None`").on(key.clone(), "spec.clusterIP"));
                }
            }
        }
        ServiceAddress::ClusterIp(ips)
    };
    if !listed && matches!(address, ServiceAddress::ClusterIp(_)) {
        let problem = Problem::new(
            Code::MissingField,
            "the Service has no `ports`; only a headless one may do without",
        );
        problems.push(problem.on(key.clone(), "spec.ports"));
    }
    if ports.len() > 1 {
        for (index, _) in ports.iter().enumerate().filter(|(_, port)| port.name.is_empty()) {
            let problem =
                Problem::new(Code::MissingField, "a port of a Service with several ports needs a name")
                    .hint("add a `name` that says the protocol, such as `grpc-api`");
            problems.push(problem.on(key.clone(), format!("spec.ports[{index}]")));
        }
    }
    let of_client = spec.session_affinity_config.and_then(|config| config.client_ip);
    let families = families(spec.ip_families.unwrap_or_default(), &key, &mut problems);
    let spec = Service {
        address,
        ports,
        families,
        selector: shared(spec.selector),
        internal_traffic_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        traffic_distribution: spec.traffic_distribution.map(Into::into),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        client_ip_affinity: spec.session_affinity.as_deref() == Some("ClientIP"),
        client_ip_seconds: of_client.and_then(|of_client| of_client.timeout_seconds),
        external_traffic_local: spec.external_traffic_policy.as_deref() == Some("Local"),
    };
    (WithMeta { meta, spec }, problems)
}

fn families(written: Vec<String>, key: &ObjectKey, problems: &mut Vec<Problem>) -> Vec<Family> {
    let mut families = Vec::new();
    for (index, family) in written.iter().enumerate() {
        match family.as_str() {
            "IPv4" => families.push(Family::V4),
            "IPv6" => families.push(Family::V6),
            other => {
                let problem =
                    Problem::new(Code::InvalidValue, format!("{other:?} is not a family of addresses"));
                let place = format!("spec.ipFamilies[{index}]");
                problems.push(problem.hint("write IPv4 or IPv6").on(key.clone(), place));
            }
        }
    }
    families
}

fn service_port(found: v1::ServicePort) -> Result<ServicePort, Box<Problem>> {
    let target = match found.target_port {
        None | Some(IntOrString::Int(0)) => TargetPort::Same,
        Some(IntOrString::Int(number)) => TargetPort::Number(port("targetPort", number)?),
        // A number in quotes is a number, as kubectl reads it.
        Some(IntOrString::String(text)) => match text.parse() {
            Ok(number) => TargetPort::Number(port("targetPort", number)?),
            Err(_) if text.is_empty() => TargetPort::Same,
            Err(_) => TargetPort::Name(text.into()),
        },
    };
    Ok(ServicePort {
        name: found.name.unwrap_or_default().into(),
        port: port("port", found.port)?,
        target,
        transport: transport(found.protocol.as_deref())?,
        app_protocol: found.app_protocol.map(Into::into),
    })
}

/// TCP where nothing is said.
pub(super) fn transport(text: Option<&str>) -> Result<Transport, Box<Problem>> {
    match text {
        None | Some("" | "TCP") => Ok(Transport::Tcp),
        Some("UDP") => Ok(Transport::Udp),
        Some("SCTP") => Ok(Transport::Sctp),
        Some(other) => {
            let message = format!("{other:?} is not a transport protocol; the choices are TCP, UDP and SCTP");
            Err(invalid(
                "protocol",
                message,
                "say the application protocol by the port's name or by `appProtocol`",
            ))
        }
    }
}
