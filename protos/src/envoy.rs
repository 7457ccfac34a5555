//! Envoy's configuration messages, by the names that the Envoy documentation uses.

pub use envoy_types::pb::google::protobuf::{
    BoolValue, DoubleValue, Duration, Struct, UInt32Value, UInt64Value, Value,
};
pub use envoy_types::pb::google::{protobuf, rpc};
pub use envoy_types::util::pack_any;

pub use envoy_types::pb::envoy::admin::v3 as admin;
pub use envoy_types::pb::envoy::config::accesslog::v3 as accesslog;
pub use envoy_types::pb::envoy::config::cluster::v3 as cluster;
pub use envoy_types::pb::envoy::config::common::matcher::v3 as matcher;
pub use envoy_types::pb::envoy::config::core::v3 as core;
pub use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;
pub use envoy_types::pb::envoy::config::listener::v3 as listener;
pub use envoy_types::pb::envoy::config::route::v3 as route;
pub use envoy_types::pb::envoy::extensions;
pub use envoy_types::pb::envoy::service::status::v3 as status;
pub use envoy_types::pb::envoy::r#type as types;
