//! The policy of one port and subset, out of a DestinationRule's top level, its subset and their port entries.
//!
//! Blocks are atomic: nothing inside one is merged. A port entry replaces the whole policy it stands in, so blocks
//! that it leaves out are at their defaults.

use pilotage_watcher::resources::{
    ClientTls, ConnectionPool, LoadBalancer, OutlierDetection, ProxyProtocol, RetryBudget, TrafficPolicy,
};

use crate::report::Place;
use crate::rules::HostRule;

/// A block and where it stands.
pub(crate) type Block<'w, T> = Option<(&'w T, Place)>;

/// What applies to one cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy<'w> {
    pub(crate) load_balancer: Block<'w, LoadBalancer>,
    pub(crate) connection_pool: Block<'w, ConnectionPool>,
    pub(crate) outlier_detection: Block<'w, OutlierDetection>,
    pub(crate) tls: Block<'w, ClientTls>,
    pub(crate) retry_budget: Block<'w, RetryBudget>,
    pub(crate) proxy_protocol: Block<'w, ProxyProtocol>,
    /// Blocks that are not served, for their problems.
    pub(crate) unserved: Vec<Place>,
    /// Whether the blocks come from a port entry, which leaves nothing of what it stands in.
    pub(crate) from_port: bool,
}

/// The policy of a port, and of a subset where one is named.
pub(crate) fn effective<'w>(rule: &'w HostRule, port: u16, subset: &str) -> Policy<'w> {
    let top = rule.policy().map(|(policy, place)| of_port(policy, place, port));
    let own = rule.subsets().find(|(known, _)| !subset.is_empty() && known.name == subset);
    let own = own.and_then(|(subset, place)| {
        Some(of_port(subset.traffic_policy.as_ref()?, &place.field("trafficPolicy"), port))
    });
    match (top, own) {
        (None, None) => Policy::default(),
        (Some(policy), None) | (None, Some(policy)) => policy,
        (Some(top), Some(own)) if own.from_port => Policy {
            retry_budget: top.retry_budget,
            proxy_protocol: top.proxy_protocol,
            unserved: [top.unserved, own.unserved].concat(),
            ..own
        },
        (Some(top), Some(own)) => Policy {
            load_balancer: own.load_balancer.or(top.load_balancer),
            connection_pool: own.connection_pool.or(top.connection_pool),
            outlier_detection: own.outlier_detection.or(top.outlier_detection),
            tls: own.tls.or(top.tls),
            retry_budget: own.retry_budget.or(top.retry_budget),
            proxy_protocol: own.proxy_protocol.or(top.proxy_protocol),
            unserved: [top.unserved, own.unserved].concat(),
            from_port: false,
        },
    }
}

/// The blocks of a policy for one port.
fn of_port<'w>(policy: &'w TrafficPolicy, place: &Place, port: u16) -> Policy<'w> {
    let entry =
        policy.port_level_settings.iter().enumerate().find(|(_, entry)| entry.port.number == u32::from(port));
    if let Some((index, entry)) = entry {
        let place = place.field("portLevelSettings").index(index);
        return Policy {
            load_balancer: entry.load_balancer.as_ref().map(|block| (block, place.field("loadBalancer"))),
            connection_pool: entry
                .connection_pool
                .as_ref()
                .map(|block| (block, place.field("connectionPool"))),
            outlier_detection: entry
                .outlier_detection
                .as_ref()
                .map(|block| (block, place.field("outlierDetection"))),
            tls: entry.tls.as_ref().map(|block| (block, place.field("tls"))),
            retry_budget: None,
            proxy_protocol: None,
            unserved: Vec::new(),
            from_port: true,
        };
    }
    let tunnel = policy.tunnel.as_ref().map(|_| place.field("tunnel"));
    Policy {
        load_balancer: policy.load_balancer.as_ref().map(|block| (block, place.field("loadBalancer"))),
        connection_pool: policy.connection_pool.as_ref().map(|block| (block, place.field("connectionPool"))),
        outlier_detection: policy
            .outlier_detection
            .as_ref()
            .map(|block| (block, place.field("outlierDetection"))),
        tls: policy.tls.as_ref().map(|block| (block, place.field("tls"))),
        retry_budget: policy.retry_budget.as_ref().map(|block| (block, place.field("retryBudget"))),
        proxy_protocol: policy.proxy_protocol.as_ref().map(|block| (block, place.field("proxyProtocol"))),
        unserved: tunnel.into_iter().collect(),
        from_port: false,
    }
}
