//! Assignments as `ClusterLoadAssignment`.

use pilotage_protos::envoy::core;
use pilotage_protos::envoy::endpoint::lb_endpoint::HostIdentifier;
use pilotage_protos::envoy::endpoint::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};

use super::{address, socket, uint};
use crate::ir::{Address, Assignment, DnsEndpoint, Health, Locality, LocalityEndpoints};

pub(crate) fn assignment(assignment: &Assignment) -> ClusterLoadAssignment {
    ClusterLoadAssignment {
        cluster_name: assignment.cluster.to_string(),
        endpoints: assignment.localities.iter().map(locality).collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// The endpoints of a cluster whose names are resolved by the proxy.
pub(super) fn dns(cluster: &str, names: &[DnsEndpoint]) -> ClusterLoadAssignment {
    let endpoints: Vec<_> = names
        .iter()
        .map(|name| {
            let at = socket(&name.name, name.port);
            endpoint(at, core::HealthStatus::Unknown, name.weight)
        })
        .collect();
    let group = LocalityLbEndpoints { lb_endpoints: endpoints, ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: if names.is_empty() { Vec::new() } else { vec![group] },
        ..ClusterLoadAssignment::default()
    }
}

/// The one endpoint of a cluster that is known beforehand.
pub(super) fn fixed(cluster: &str, at: &Address) -> ClusterLoadAssignment {
    let endpoint = Endpoint { address: Some(address(at)), ..Endpoint::default() };
    let endpoint =
        LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..LbEndpoint::default() };
    let group = LocalityLbEndpoints { lb_endpoints: vec![endpoint], ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![group],
        ..ClusterLoadAssignment::default()
    }
}

fn locality(group: &LocalityEndpoints) -> LocalityLbEndpoints {
    let Locality { region, zone, subzone } = &group.locality;
    let total = group.endpoints.iter().fold(0u32, |total, endpoint| total.saturating_add(endpoint.weight));
    LocalityLbEndpoints {
        // gRPC clients want a locality, even an empty one, and skip one without a weight.
        locality: Some(core::Locality {
            region: region.to_string(),
            zone: zone.to_string(),
            sub_zone: subzone.to_string(),
        }),
        load_balancing_weight: Some(uint(group.weight.unwrap_or(total).max(1))),
        priority: group.priority,
        lb_endpoints: group
            .endpoints
            .iter()
            .map(|member| {
                let health = match member.health {
                    Health::Healthy => core::HealthStatus::Healthy,
                    Health::Draining => core::HealthStatus::Draining,
                    Health::Unhealthy => core::HealthStatus::Unhealthy,
                };
                endpoint(address(&member.at), health, member.weight)
            })
            .collect(),
        ..LocalityLbEndpoints::default()
    }
}

fn endpoint(at: core::Address, health: core::HealthStatus, weight: u32) -> LbEndpoint {
    LbEndpoint {
        health_status: health as i32,
        load_balancing_weight: Some(uint(weight)),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint {
            address: Some(at),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}
