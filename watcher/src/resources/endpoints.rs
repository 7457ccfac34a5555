//! EndpointSlices, and Endpoints objects read as EndpointSlices.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Labels, Transport, WithMeta};

/// What matters of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// The Service, from the label `kubernetes.io/service-name`; empty where the label is missing.
    pub service: Arc<str>,
    /// The ports that every endpoint of the slice has.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Whether this was a `v1` Endpoints object, which yields to any real slice of its Service.
    pub mirrored: bool,
}

impl WithMeta<EndpointSlice> {
    /// The region of the endpoints, from the label or annotation `topology.kubernetes.io/region` of the slice. In a
    /// cluster regions are labels of nodes; in a folder there are no nodes.
    pub fn region(&self) -> Option<&Arc<str>> {
        const REGION: &str = "topology.kubernetes.io/region";
        self.meta.labels.get(REGION).or_else(|| self.meta.annotations.get(REGION))
    }
}

/// A port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPort {
    /// The name of the Service port that leads here.
    pub name: Arc<str>,
    /// The number on the endpoint.
    pub port: u16,
    /// The transport.
    pub transport: Transport,
}

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its addresses; they are equivalent, the first is used.
    pub addresses: Vec<IpAddr>,
    /// Takes new calls. Unset counts as true.
    pub ready: bool,
    /// Still answers. Unset counts as `ready`.
    pub serving: bool,
    /// Is shutting down.
    pub terminating: bool,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// The Pod, from `targetRef`.
    pub pod: Option<Arc<str>>,
    /// Labels written on the slice itself, for a folder that holds no Pods; they stand in for the Pod's. They come from
    /// the annotation `pilotage.dev/endpoint-labels: "version=v1,track=stable"` and hold for all endpoints of the slice.
    pub labels: Option<Arc<Labels>>,
}
