//! The discovery messages of `envoy.service.discovery.v3`, with resource bodies as [`Bytes`] that are shared, not copied.
//!
//! Wire-compatible with the published definitions; fields that no server uses are left out and skipped when read.

use std::collections::HashMap;

use bytes::Bytes;

pub use envoy_types::pb::envoy::config::core::v3::{ControlPlane, Node};
pub use envoy_types::pb::google::protobuf::Duration;
pub use envoy_types::pb::google::rpc::Status;

/// `google.protobuf.Any` with a shared body.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Any {
    /// The type of the message in `value`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// A state-of-the-world request.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DiscoveryRequest {
    /// The version last accepted; empty at first.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// Who asks; guaranteed on the first request of a stream only (R5).
    #[prost(message, optional, tag = "2")]
    pub node: Option<Node>,
    /// The complete set of names (R23).
    #[prost(string, repeated, tag = "3")]
    pub resource_names: Vec<String>,
    /// The type asked for.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// The nonce of the response that this answers; empty where it answers none.
    #[prost(string, tag = "5")]
    pub response_nonce: String,
    /// Set when the response was rejected (R14).
    #[prost(message, optional, tag = "6")]
    pub error_detail: Option<Status>,
}

/// A state-of-the-world response.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DiscoveryResponse {
    /// The version of the type's resources.
    #[prost(string, tag = "1")]
    pub version_info: String,
    /// The resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Any>,
    /// Their type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// What the answer must quote.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Who answers (R7).
    #[prost(message, optional, tag = "6")]
    pub control_plane: Option<ControlPlane>,
}

/// An incremental request.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaDiscoveryRequest {
    /// Who asks; guaranteed on the first request of a stream only (R5).
    #[prost(message, optional, tag = "1")]
    pub node: Option<Node>,
    /// The type asked for.
    #[prost(string, tag = "2")]
    pub type_url: String,
    /// Names added to the subscription.
    #[prost(string, repeated, tag = "3")]
    pub resource_names_subscribe: Vec<String>,
    /// Names taken out of the subscription.
    #[prost(string, repeated, tag = "4")]
    pub resource_names_unsubscribe: Vec<String>,
    /// What the client holds, on the first request of a type (R49).
    #[prost(map = "string, string", tag = "5")]
    pub initial_resource_versions: HashMap<String, String>,
    /// The nonce of the response that this answers; empty where it answers none.
    #[prost(string, tag = "6")]
    pub response_nonce: String,
    /// Set when the response was rejected.
    #[prost(message, optional, tag = "7")]
    pub error_detail: Option<Status>,
}

/// An incremental response.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct DeltaDiscoveryResponse {
    /// For debugging only.
    #[prost(string, tag = "1")]
    pub system_version_info: String,
    /// Added and changed resources.
    #[prost(message, repeated, tag = "2")]
    pub resources: Vec<Resource>,
    /// Their type.
    #[prost(string, tag = "4")]
    pub type_url: String,
    /// What the answer must quote.
    #[prost(string, tag = "5")]
    pub nonce: String,
    /// Names that do not exist, or no longer do.
    #[prost(string, repeated, tag = "6")]
    pub removed_resources: Vec<String>,
    /// Who answers (R7).
    #[prost(message, optional, tag = "7")]
    pub control_plane: Option<ControlPlane>,
}

/// A resource with its own version.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct Resource {
    /// The version of this resource.
    #[prost(string, tag = "1")]
    pub version: String,
    /// The resource; absent in a heartbeat (R62).
    #[prost(message, optional, tag = "2")]
    pub resource: Option<Any>,
    /// The name.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Other names (R54).
    #[prost(string, repeated, tag = "4")]
    pub aliases: Vec<String>,
    /// How long the client may keep it (R61).
    #[prost(message, optional, tag = "6")]
    pub ttl: Option<Duration>,
}
