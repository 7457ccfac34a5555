//! Pods.

use std::net::IpAddr;

use k8s_openapi::api::core::v1;

use super::meta;
use crate::resources::{Pod, WithMeta};

/// What matters of a Pod. Addresses that do not parse are left out; a kubelet writes none such.
pub fn pod(pod: v1::Pod) -> WithMeta<Pod> {
    let status = pod.status.unwrap_or_default();
    let listed = status.pod_ips.into_iter().flatten().map(|ip| ip.ip);
    let mut ips: Vec<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(status.pod_ip.and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    WithMeta {
        meta: meta("v1", pod.metadata),
        spec: Pod {
            ips,
            node: pod.spec.and_then(|spec| spec.node_name).map(Into::into),
            phase: status.phase.map(Into::into),
        },
    }
}
