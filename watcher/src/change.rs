//! What a source can say, and what an applied change affected.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize, Serializer};

use crate::Problem;
use crate::resources::{
    Descriptors, DestinationRule, EndpointSlice, EnvoyResources, Gateway, Meta, Node, Pod, Secret, Service,
    ServiceEntry, Sidecar, Telemetry, VirtualService, WithMeta, WorkloadEntry,
};

/// The name of a source, such as `directory:manifests`.
pub type SourceName = Arc<str>;

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io` EndpointSlice; a `v1` Endpoints object is read as one.
    EndpointSlice,
    /// `v1` Pod.
    Pod,
    /// `v1` Node.
    Node,
    /// `networking.istio.io` VirtualService.
    VirtualService,
    /// `networking.istio.io` DestinationRule.
    DestinationRule,
    /// `networking.istio.io` Gateway.
    Gateway,
    /// `networking.istio.io` ServiceEntry.
    ServiceEntry,
    /// `networking.istio.io` WorkloadEntry.
    WorkloadEntry,
    /// `networking.istio.io` Sidecar.
    Sidecar,
    /// `telemetry.istio.io` Telemetry.
    Telemetry,
    /// `pilotage.dev` EnvoyResources.
    EnvoyResources,
    /// `v1` Secret.
    Secret,
    /// Protobuf descriptors of gRPC services: a file in a folder, or a `v1` ConfigMap with the label
    /// `pilotage.dev/descriptors: "true"` in a cluster.
    Descriptors,
}

/// The identity of an object: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// The key of an object.
    pub fn new(kind: Kind, namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

/// `Kind namespace/name`, as it is printed everywhere; `Kind name` for what has no namespace.
impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.namespace {
            // A Node, or a file of a folder that is no manifest.
            "" => write!(f, "{:?} {}", self.kind, self.name),
            namespace => write!(f, "{:?} {namespace}/{}", self.kind, self.name),
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An object of one of the kinds that are read. All but Secrets can be written and read again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A Service.
    Service(Arc<WithMeta<Service>>),
    /// An EndpointSlice, or an Endpoints object read as one.
    EndpointSlice(Arc<WithMeta<EndpointSlice>>),
    /// A Pod.
    Pod(Arc<WithMeta<Pod>>),
    /// A Node.
    Node(Arc<WithMeta<Node>>),
    /// A VirtualService.
    VirtualService(Arc<WithMeta<VirtualService>>),
    /// A DestinationRule.
    DestinationRule(Arc<WithMeta<DestinationRule>>),
    /// A Gateway.
    Gateway(Arc<WithMeta<Gateway>>),
    /// A ServiceEntry.
    ServiceEntry(Arc<WithMeta<ServiceEntry>>),
    /// A WorkloadEntry.
    WorkloadEntry(Arc<WithMeta<WorkloadEntry>>),
    /// A Sidecar.
    Sidecar(Arc<WithMeta<Sidecar>>),
    /// A Telemetry.
    Telemetry(Arc<WithMeta<Telemetry>>),
    /// An EnvoyResources.
    EnvoyResources(Arc<WithMeta<EnvoyResources>>),
    /// A Secret.
    #[serde(skip)]
    Secret(Arc<WithMeta<Secret>>),
    /// Descriptors.
    Descriptors(Arc<WithMeta<Descriptors>>),
}

impl Object {
    /// The kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::Node(_) => Kind::Node,
            Self::VirtualService(_) => Kind::VirtualService,
            Self::DestinationRule(_) => Kind::DestinationRule,
            Self::Gateway(_) => Kind::Gateway,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::WorkloadEntry(_) => Kind::WorkloadEntry,
            Self::Sidecar(_) => Kind::Sidecar,
            Self::Telemetry(_) => Kind::Telemetry,
            Self::EnvoyResources(_) => Kind::EnvoyResources,
            Self::Secret(_) => Kind::Secret,
            Self::Descriptors(_) => Kind::Descriptors,
        }
    }

    /// The metadata.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Service(object) => &object.meta,
            Self::EndpointSlice(object) => &object.meta,
            Self::Pod(object) => &object.meta,
            Self::Node(object) => &object.meta,
            Self::VirtualService(object) => &object.meta,
            Self::DestinationRule(object) => &object.meta,
            Self::Gateway(object) => &object.meta,
            Self::ServiceEntry(object) => &object.meta,
            Self::WorkloadEntry(object) => &object.meta,
            Self::Sidecar(object) => &object.meta,
            Self::Telemetry(object) => &object.meta,
            Self::EnvoyResources(object) => &object.meta,
            Self::Secret(object) => &object.meta,
            Self::Descriptors(object) => &object.meta,
        }
    }

    /// Whether two are one and the same, which is quick to see; equal ones may still be two.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Service(a), Self::Service(b)) => Arc::ptr_eq(a, b),
            (Self::EndpointSlice(a), Self::EndpointSlice(b)) => Arc::ptr_eq(a, b),
            (Self::Pod(a), Self::Pod(b)) => Arc::ptr_eq(a, b),
            (Self::Node(a), Self::Node(b)) => Arc::ptr_eq(a, b),
            (Self::VirtualService(a), Self::VirtualService(b)) => Arc::ptr_eq(a, b),
            (Self::DestinationRule(a), Self::DestinationRule(b)) => Arc::ptr_eq(a, b),
            (Self::Gateway(a), Self::Gateway(b)) => Arc::ptr_eq(a, b),
            (Self::ServiceEntry(a), Self::ServiceEntry(b)) => Arc::ptr_eq(a, b),
            (Self::WorkloadEntry(a), Self::WorkloadEntry(b)) => Arc::ptr_eq(a, b),
            (Self::Sidecar(a), Self::Sidecar(b)) => Arc::ptr_eq(a, b),
            (Self::Telemetry(a), Self::Telemetry(b)) => Arc::ptr_eq(a, b),
            (Self::EnvoyResources(a), Self::EnvoyResources(b)) => Arc::ptr_eq(a, b),
            (Self::Secret(a), Self::Secret(b)) => Arc::ptr_eq(a, b),
            (Self::Descriptors(a), Self::Descriptors(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The identity.
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey { kind: self.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

/// What a source can say.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object exists with this content.
    Apply(Object),
    /// An object is gone.
    Delete(ObjectKey),
    /// All that is wrong with one scope of a source (a file, an object), replacing what was said of it before.
    Problems {
        /// The scope, such as a file's path.
        scope: Arc<str>,
        /// Its problems; empty when all is well again.
        problems: Vec<Problem>,
    },
    /// The source has told everything that it knew at its start.
    Synced(SourceName),
}

/// Changes that a source learned of at once and that should be served together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// When the source first saw something of them; latency is counted from here.
    pub seen: Instant,
    /// The changes; in this order, objects that are gone last.
    pub changes: Vec<Change>,
}

/// What applied changes affected, for the compiler to do no more than that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Services (namespace, name) of which only endpoints changed.
    pub endpoints: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Secrets (namespace, name) of which only the content changed, so that what refers to them stays as it is.
    pub secrets: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Objects of every other kind that changed.
    pub config: BTreeSet<ObjectKey>,
}

impl Touched {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.secrets.is_empty() && self.config.is_empty()
    }

    /// Adds what another change affected.
    pub fn merge(&mut self, other: Self) {
        self.endpoints.extend(other.endpoints);
        self.secrets.extend(other.secrets);
        self.config.extend(other.config);
    }
}
