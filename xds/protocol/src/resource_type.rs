//! The table of resource types: what the xDS specification says about each, as data.

use std::fmt;
use std::sync::Arc;

/// A kind of xDS resource, identified on the wire by its type URL.
///
/// The order of the variants is the order in which responses are sent (R55); a type that this table does not know
/// is [`ResourceType::Other`] and is sent last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.cluster.v3.Cluster` (CDS).
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment` (EDS).
    Endpoint,
    /// `envoy.config.listener.v3.Listener` (LDS).
    Listener,
    /// `envoy.config.route.v3.ScopedRouteConfiguration` (SRDS).
    ScopedRoute,
    /// `envoy.config.route.v3.RouteConfiguration` (RDS).
    Route,
    /// `envoy.config.route.v3.VirtualHost` (VHDS).
    VirtualHost,
    /// `envoy.extensions.transport_sockets.tls.v3.Secret` (SDS).
    Secret,
    /// `envoy.service.runtime.v3.Runtime` (RTDS).
    Runtime,
    /// `envoy.config.core.v3.TypedExtensionConfig` (ECDS).
    ExtensionConfig,
    /// Any other type, by its full type URL.
    Other(Arc<str>),
}

impl ResourceType {
    /// Every type of the table, in the order in which they are sent.
    pub const KNOWN: [Self; 9] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::ScopedRoute,
        Self::Route,
        Self::VirtualHost,
        Self::Secret,
        Self::Runtime,
        Self::ExtensionConfig,
    ];

    /// The type URL, as it stands in requests, responses and `Any`.
    pub fn type_url(&self) -> &str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::ScopedRoute => "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::VirtualHost => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Runtime => "type.googleapis.com/envoy.service.runtime.v3.Runtime",
            Self::ExtensionConfig => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            Self::Other(url) => url,
        }
    }

    /// The type with this URL; one that the table does not know becomes [`ResourceType::Other`].
    pub fn from_type_url(url: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| known.type_url() == url)
            .unwrap_or_else(|| Self::Other(url.into()))
    }

    /// Whether a state-of-the-world response must list every subscribed resource, absence meaning deletion (R34).
    pub fn is_full_state_in_sotw(&self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }

    /// Whether a client whose resource refers to this type waits for it anew each time that resource changes, even
    /// if it has it already (R58): endpoints of a cluster, secrets of a cluster or listener. Routes are not waited
    /// for again (R59).
    pub fn is_sent_again_after_parent(&self) -> bool {
        matches!(self, Self::Endpoint | Self::Secret)
    }

    /// Whether an empty first request subscribes to everything (R26–R28). Envoy asks for virtual hosts so too, when it
    /// meets a route configuration that leaves them to VHDS.
    pub fn has_legacy_wildcard(&self) -> bool {
        matches!(self, Self::Cluster | Self::Listener | Self::ScopedRoute | Self::VirtualHost)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cluster => "Cluster",
            Self::Endpoint => "ClusterLoadAssignment",
            Self::Listener => "Listener",
            Self::ScopedRoute => "ScopedRouteConfiguration",
            Self::Route => "RouteConfiguration",
            Self::VirtualHost => "VirtualHost",
            Self::Secret => "Secret",
            Self::Runtime => "Runtime",
            Self::ExtensionConfig => "TypedExtensionConfig",
            Self::Other(url) => url,
        })
    }
}
