//! The services that serve one type each, beside the aggregated one (R1).
//!
//! Each request of such a stream is about the service's type, whether it says so or not (R3). What is held back for
//! the sake of another type is so only on aggregated streams: across streams there is no order (R60).

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use pilotage_protocol::ResourceType;
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::service::Routes;

use crate::GroupKey;
use crate::ads::{Shared, no_such_method, open};

struct Family {
    service: &'static str,
    sotw: Option<&'static str>,
    delta: &'static str,
    resource_type: ResourceType,
}

const FAMILIES: [Family; 9] = [
    Family {
        service: "envoy.service.cluster.v3.ClusterDiscoveryService",
        sotw: Some("StreamClusters"),
        delta: "DeltaClusters",
        resource_type: ResourceType::Cluster,
    },
    Family {
        service: "envoy.service.endpoint.v3.EndpointDiscoveryService",
        sotw: Some("StreamEndpoints"),
        delta: "DeltaEndpoints",
        resource_type: ResourceType::Endpoint,
    },
    Family {
        service: "envoy.service.listener.v3.ListenerDiscoveryService",
        sotw: Some("StreamListeners"),
        delta: "DeltaListeners",
        resource_type: ResourceType::Listener,
    },
    Family {
        service: "envoy.service.route.v3.RouteDiscoveryService",
        sotw: Some("StreamRoutes"),
        delta: "DeltaRoutes",
        resource_type: ResourceType::Route,
    },
    Family {
        service: "envoy.service.route.v3.ScopedRoutesDiscoveryService",
        sotw: Some("StreamScopedRoutes"),
        delta: "DeltaScopedRoutes",
        resource_type: ResourceType::ScopedRoute,
    },
    Family {
        service: "envoy.service.route.v3.VirtualHostDiscoveryService",
        sotw: None,
        delta: "DeltaVirtualHosts",
        resource_type: ResourceType::VirtualHost,
    },
    Family {
        service: "envoy.service.secret.v3.SecretDiscoveryService",
        sotw: Some("StreamSecrets"),
        delta: "DeltaSecrets",
        resource_type: ResourceType::Secret,
    },
    Family {
        service: "envoy.service.runtime.v3.RuntimeDiscoveryService",
        sotw: Some("StreamRuntime"),
        delta: "DeltaRuntime",
        resource_type: ResourceType::Runtime,
    },
    Family {
        service: "envoy.service.extension.v3.ExtensionConfigDiscoveryService",
        sotw: Some("StreamExtensionConfigs"),
        delta: "DeltaExtensionConfigs",
        resource_type: ResourceType::ExtensionConfig,
    },
];

/// The service of the family at a place of the table.
struct Single<K, const FAMILY: usize>(Arc<Shared<K>>);

/// Adds all of them to a router.
pub(crate) fn add_all<K: GroupKey>(routes: Routes, shared: &Arc<Shared<K>>) -> Routes {
    routes
        .add_service(Single::<K, 0>(shared.clone()))
        .add_service(Single::<K, 1>(shared.clone()))
        .add_service(Single::<K, 2>(shared.clone()))
        .add_service(Single::<K, 3>(shared.clone()))
        .add_service(Single::<K, 4>(shared.clone()))
        .add_service(Single::<K, 5>(shared.clone()))
        .add_service(Single::<K, 6>(shared.clone()))
        .add_service(Single::<K, 7>(shared.clone()))
        .add_service(Single::<K, 8>(shared.clone()))
}

impl<K, const FAMILY: usize> NamedService for Single<K, FAMILY> {
    const NAME: &'static str = FAMILIES[FAMILY].service;
}

impl<K, const FAMILY: usize> Clone for Single<K, FAMILY> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: GroupKey, const FAMILY: usize> Service<http::Request<Body>> for Single<K, FAMILY> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let family = &FAMILIES[FAMILY];
        let method = request.uri().path().rsplit('/').next();
        let only = || Some(family.resource_type.clone());
        ready(Ok(if method == family.sotw && method.is_some() {
            open::<K, DiscoveryRequest>(&self.0, request, only())
        } else if method == Some(family.delta) {
            open::<K, DeltaDiscoveryRequest>(&self.0, request, only())
        } else {
            no_such_method()
        }))
    }
}
