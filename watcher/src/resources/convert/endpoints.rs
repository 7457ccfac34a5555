//! EndpointSlices, and Endpoints objects read as EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::{core, discovery};

use super::service::transport;
use super::{meta, port};
use crate::resources::{Endpoint, EndpointPort, EndpointSlice, Labels, Meta, WithMeta};
use crate::{Code, Kind, ObjectKey, Problem};

/// The label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The annotation that gives labels to every endpoint of a slice where no Pod does: `version=v1,track=stable`.
const ENDPOINT_LABELS: &str = "pilotage.dev/endpoint-labels";

/// What matters of an EndpointSlice, and what is wrong with it.
pub fn endpoint_slice(slice: discovery::v1::EndpointSlice) -> (WithMeta<EndpointSlice>, Vec<Problem>) {
    let meta = meta("discovery.k8s.io/v1", slice.metadata);
    let key = ObjectKey::new(Kind::EndpointSlice, meta.namespace.clone(), meta.name.clone());
    let mut problems = Vec::new();
    let mut report = |problem: Problem, path: String| problems.push(problem.on(key.clone(), path));
    let service = meta.labels.get(SERVICE_NAME).cloned().unwrap_or_default();
    if service.is_empty() {
        let problem = Problem::new(Code::InvalidEndpoint, "the slice belongs to no Service")
            .hint(format!("add the label `{SERVICE_NAME}: <name of the Service>`"));
        report(problem, "metadata.labels".to_owned());
    }
    let mut ports = Vec::new();
    for (index, found) in slice.ports.into_iter().flatten().enumerate() {
        // A slice port without a number means every port, which no list of endpoints can express.
        let Some(number) = found.port else { continue };
        match endpoint_port(found.name, number, found.protocol.as_deref()) {
            Ok(port) => ports.push(port),
            Err(problem) => {
                let path = format!("ports[{index}].{}", problem.path);
                report(*problem, path);
            }
        }
    }
    let labels = endpoint_labels(&meta, &mut report);
    let mut endpoints = Vec::new();
    let names = slice.address_type == "FQDN";
    if names {
        let problem = Problem::new(Code::InvalidEndpoint, "slices of addressType FQDN are not used")
            .hint("write IP addresses, or a ServiceEntry with resolution DNS");
        report(problem, "addressType".to_owned());
    }
    for (index, found) in slice.endpoints.into_iter().enumerate().filter(|_| !names) {
        let addresses = addresses(&found.addresses, |at, problem| {
            report(problem, format!("endpoints[{index}].addresses[{at}]"));
        });
        if addresses.is_empty() {
            continue;
        }
        let conditions = found.conditions.unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        let pod = found.target_ref.filter(|target| target.kind.as_deref().is_none_or(|kind| kind == "Pod"));
        endpoints.push(Endpoint {
            addresses,
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
            node: found.node_name.map(Into::into),
            zone: found.zone.map(Into::into),
            pod: pod.and_then(|target| target.name).map(Into::into),
            labels: labels.clone(),
        });
    }
    (WithMeta { meta, spec: EndpointSlice { service, ports, endpoints, mirrored: false } }, problems)
}

/// An Endpoints object as slices: one for each of its subsets, as Kubernetes mirrors them.
///
/// Their names begin with `endpoints/`, which no slice's own name can.
pub fn endpoints(found: core::v1::Endpoints) -> (Vec<WithMeta<EndpointSlice>>, Vec<Problem>) {
    let meta = meta("v1", found.metadata);
    let service = meta.name.clone();
    let key = |index: usize| mirrored_key(&meta.namespace, &service, index);
    let mut problems = Vec::new();
    let labels = endpoint_labels(&meta, &mut |problem, path| problems.push(problem.on(key(0), path)));
    let mut slices = Vec::new();
    let subsets = found.subsets.unwrap_or_default();
    // Without a subset there still is a slice: the Service has endpoints, and they are none.
    for (index, subset) in subsets.into_iter().chain([Default::default()]).enumerate() {
        let last = subset == core::v1::EndpointSubset::default();
        if last && index > 0 {
            continue;
        }
        let mut report = |problem: Problem, path: String| {
            problems.push(problem.on(key(index), format!("subsets[{index}].{path}")));
        };
        let mut ports = Vec::new();
        for (at, found) in subset.ports.into_iter().flatten().enumerate() {
            match endpoint_port(found.name, found.port, found.protocol.as_deref()) {
                Ok(port) => ports.push(port),
                Err(problem) => {
                    let path = format!("ports[{at}].{}", problem.path);
                    report(*problem, path);
                }
            }
        }
        let ready =
            subset.addresses.into_iter().flatten().enumerate().map(|entry| ("addresses", true, entry));
        let waiting = subset
            .not_ready_addresses
            .into_iter()
            .flatten()
            .enumerate()
            .map(|entry| ("notReadyAddresses", false, entry));
        let mut endpoints = Vec::new();
        for (field, ready, (at, found)) in ready.chain(waiting) {
            let addresses = addresses(&[found.ip], |_, problem| report(problem, format!("{field}[{at}].ip")));
            if addresses.is_empty() {
                continue;
            }
            let pod =
                found.target_ref.filter(|target| target.kind.as_deref().is_none_or(|kind| kind == "Pod"));
            endpoints.push(Endpoint {
                addresses,
                ready,
                serving: ready,
                terminating: false,
                node: found.node_name.map(Into::into),
                zone: None,
                pod: pod.and_then(|target| target.name).map(Into::into),
                labels: labels.clone(),
            });
        }
        slices.push(WithMeta {
            meta: Meta { name: key(index).name, ..meta.clone() },
            spec: EndpointSlice { service: service.clone(), ports, endpoints, mirrored: true },
        });
    }
    (slices, problems)
}

/// The key of the slice that stands for a subset of an Endpoints object.
pub fn mirrored_key(namespace: &str, service: &str, subset: usize) -> ObjectKey {
    let suffix = if subset == 0 { String::new() } else { format!("/{subset}") };
    ObjectKey::new(Kind::EndpointSlice, namespace, format!("endpoints/{service}{suffix}"))
}

fn endpoint_port(
    name: Option<String>,
    number: i32,
    protocol: Option<&str>,
) -> Result<EndpointPort, Box<Problem>> {
    Ok(EndpointPort {
        name: name.unwrap_or_default().into(),
        port: port("port", number)?,
        transport: transport(protocol)?,
    })
}

/// The addresses that parse; one that does not costs its endpoint, not the slice.
fn addresses(found: &[String], mut report: impl FnMut(usize, Problem)) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for (index, text) in found.iter().enumerate() {
        match text.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => {
                let message = format!("{text:?} is not an IP address; the endpoint is left out");
                let problem = Problem::new(Code::InvalidEndpoint, message);
                report(index, problem.hint("for a DNS name write a ServiceEntry with resolution DNS"));
            }
        }
    }
    addresses
}

fn endpoint_labels(meta: &Meta, report: &mut impl FnMut(Problem, String)) -> Option<Arc<Labels>> {
    let text = meta.annotations.get(ENDPOINT_LABELS)?;
    let mut labels = Labels::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                labels.insert(key.trim().into(), value.trim().into());
            }
            _ => {
                let problem = Problem::new(Code::InvalidValue, format!("{pair:?} is not a label"))
                    .hint("write labels as `version=v1,track=stable`");
                report(problem, format!("metadata.annotations[{ENDPOINT_LABELS:?}]"));
            }
        }
    }
    Some(Arc::new(labels))
}
