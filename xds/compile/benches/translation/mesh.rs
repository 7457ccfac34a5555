//! A mesh of a given size: Services in namespaces of a hundred, ten endpoints each, with routes and rules for some.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use pilotage_watcher::resources::{
    ConnectionPool, Destination, DestinationRule, Endpoint, EndpointPort, EndpointSlice, HttpDestination,
    HttpMatch, HttpPool, HttpRetry, HttpRoute, Labels, Meta, Service, ServiceAddress, ServicePort, Span,
    StringMatch, Subset, TrafficPolicy, VirtualService, WithMeta,
};
use pilotage_watcher::{Object, World};

/// How many endpoints a Service has.
pub(crate) const ENDPOINTS: usize = 10;

/// The shape of a world.
pub(crate) struct Mesh {
    pub(crate) services: usize,
    /// How many of the VirtualServices name a host that is not there.
    pub(crate) problems: usize,
}

impl Mesh {
    pub(crate) fn world(&self) -> World {
        let mut world = World::default();
        for index in 0..self.services {
            world.apply(self.service(index));
            world.apply(self.slice(index, 0));
            if index % 10 == 0 {
                world.apply(self.rule(index, 0));
            }
            if index % 10 < 3 {
                world.apply(self.route(index, 0));
            }
        }
        world
    }

    pub(crate) fn namespace(&self, index: usize) -> String {
        format!("team-{:03}", index / 100)
    }

    fn meta(&self, index: usize) -> Meta {
        Meta {
            namespace: self.namespace(index).into(),
            name: format!("service-{index:05}").into(),
            ..Meta::default()
        }
    }

    pub(crate) fn service(&self, index: usize) -> Object {
        let [_, a, b, c] = u32::try_from(index).unwrap_or(0).to_be_bytes();
        let ports = vec![ServicePort { name: "grpc".into(), port: 50_051, ..ServicePort::default() }];
        let address = ServiceAddress::ClusterIp(vec![IpAddr::V4(Ipv4Addr::new(10, a, b, c))]);
        let spec = Service { address, ports, ..Service::default() };
        Object::Service(Arc::new(WithMeta { meta: self.meta(index), spec }))
    }

    /// The endpoints of a Service; of an odd `round` one is not ready.
    pub(crate) fn slice(&self, index: usize, round: usize) -> Object {
        let base = u32::try_from(index * 16).unwrap_or(0);
        let endpoint = |number: usize| {
            let [_, a, b, c] = (base + u32::try_from(number).unwrap_or(0)).to_be_bytes();
            let version = if number.is_multiple_of(2) { "v1" } else { "v2" };
            let ready = number != 0 || round.is_multiple_of(2);
            Endpoint {
                addresses: vec![IpAddr::V4(Ipv4Addr::new(11, a, b, c))],
                ready,
                serving: ready,
                terminating: false,
                node: None,
                zone: None,
                pod: None,
                labels: Some(Arc::new(Labels::from([("version".into(), version.into())]))),
            }
        };
        let spec = EndpointSlice {
            service: self.meta(index).name,
            ports: vec![EndpointPort { name: "grpc".into(), port: 8080, ..EndpointPort::default() }],
            endpoints: (0..ENDPOINTS).map(endpoint).collect(),
            mirrored: false,
        };
        Object::EndpointSlice(Arc::new(WithMeta { meta: self.meta(index), spec }))
    }

    /// The rules of a Service with two subsets; each `round` has another limit.
    pub(crate) fn rule(&self, index: usize, round: usize) -> Object {
        let subset = |name: &str| Subset {
            name: name.to_owned(),
            labels: [("version".to_owned(), name.to_owned())].into(),
            ..Subset::default()
        };
        let http = HttpPool { http2_max_requests: Some(1000 + round as i64), ..HttpPool::default() };
        let pool = ConnectionPool { http: Some(http), ..ConnectionPool::default() };
        let spec = DestinationRule {
            host: format!("service-{index:05}"),
            traffic_policy: Some(TrafficPolicy { connection_pool: Some(pool), ..TrafficPolicy::default() }),
            subsets: vec![subset("v1"), subset("v2")],
            ..DestinationRule::default()
        };
        Object::DestinationRule(Arc::new(WithMeta { meta: self.meta(index), spec }))
    }

    /// The routes of a Service, to its subsets where it has some; each `round` has another timeout.
    pub(crate) fn route(&self, index: usize, round: usize) -> Object {
        let missing = index / 10 * 3 + index % 10 < self.problems;
        let destination = |subset: Option<&str>, weight| HttpDestination {
            destination: Destination {
                host: format!("{}service-{index:05}", if missing { "missing-" } else { "" }),
                subset: subset.map(str::to_owned),
                ..Destination::default()
            },
            weight: Some(weight),
            ..HttpDestination::default()
        };
        let route = match index % 10 {
            0 => vec![destination(Some("v1"), 90), destination(Some("v2"), 10)],
            _ => vec![destination(None, 100)],
        };
        let uri = StringMatch { prefix: Some("/shop.Checkout/".to_owned()), ..StringMatch::default() };
        let http = HttpRoute {
            r#match: vec![HttpMatch { uri: Some(uri), ..HttpMatch::default() }],
            route: route.clone(),
            timeout: Some(Span(Duration::from_millis(1000 + round as u64))),
            retries: Some(HttpRetry {
                attempts: Some(3),
                retry_on: Some("unavailable,refused-stream".to_owned()),
                ..HttpRetry::default()
            }),
            ..HttpRoute::default()
        };
        let rest = HttpRoute { route, ..HttpRoute::default() };
        let spec = VirtualService {
            hosts: vec![format!("service-{index:05}")],
            http: vec![http, rest],
            ..VirtualService::default()
        };
        Object::VirtualService(Arc::new(WithMeta { meta: self.meta(index), spec }))
    }
}
