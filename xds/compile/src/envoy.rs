//! From plain data to Envoy's messages; no other module of this crate names a configuration message.
//!
//! What is written here serves gRPC clients as well: where their rules are stricter (R-numbers and A-numbers in the
//! comments), the shape that both accept is used.

mod access_log;
mod capture;
mod cluster;
mod endpoint;
mod filter;
mod listener;
mod metadata;
mod route;
mod tls;

use std::time::Duration;

use pilotage_protos::envoy::core::address::Address as Where;
use pilotage_protos::envoy::core::config_source::ConfigSourceSpecifier;
use pilotage_protos::envoy::core::socket_address::PortSpecifier;
use pilotage_protos::envoy::core::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, Pipe, SocketAddress,
};
use pilotage_protos::envoy::{protobuf, types};

pub(crate) use cluster::cluster;
pub(crate) use endpoint::assignment;
use filter::fraction;
pub(crate) use listener::listener;
pub(crate) use route::{add_virtual_host, route_configuration, virtual_host};
pub(crate) use tls::secret;

use crate::ir;

/// The most bytes that a direct response may have.
pub(crate) const MAX_BODY: usize = 1024 * 1024;

/// Envoy counts time in nanoseconds of 64 bits and refuses what does not fit; a hundred years are for ever.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

fn duration(duration: Duration) -> protobuf::Duration {
    let duration = duration.min(FOREVER);
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or(0),
    }
}

fn uint(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

fn boolean(value: bool) -> protobuf::BoolValue {
    protobuf::BoolValue { value }
}

fn percent(value: f64) -> types::v3::Percent {
    types::v3::Percent { value }
}

/// "From the stream that this came by", which keeps the order between types.
fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        // Never give up on what is still to come: an empty answer in its place would be served.
        initial_fetch_timeout: Some(duration(Duration::ZERO)),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn socket(host: &str, port: u16) -> Address {
    Address { address: Some(Where::SocketAddress(socket_address(host, port))) }
}

fn socket_address(host: &str, port: u16) -> SocketAddress {
    SocketAddress {
        address: host.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(u32::from(port))),
        ..SocketAddress::default()
    }
}

fn address(address: &ir::Address) -> Address {
    match address {
        ir::Address::Socket(host, port) => socket(&host.to_string(), *port),
        ir::Address::Pipe(path) => {
            Address { address: Some(Where::Pipe(Pipe { path: path.to_string(), ..Pipe::default() })) }
        }
    }
}
