//! What the world means for a proxy: `World` × [`Group`] → clusters, endpoints, listeners and routes, and problems.
//!
//! Translation is total and pure: no IO, no clock, no panic; equal input gives equal versions and equal messages. It
//! returns problems in place of errors, and what is wrong with one object never costs its neighbours.
//!
//! `hosts`, `rules` and `routing` read the resources, once for everyone, into a `catalog`; `outline` is what one group
//! is told of it, as plain data (`ir`), in parts that note what they look at; `envoy` turns the data into messages, and
//! `compiled` keeps those that did not change. An edit makes those parts anew that it reaches: there is no list of who
//! depends on whom, and a full translation is the same steps from nothing.

#![forbid(unsafe_code)]

mod access_log;
mod blueprint;
mod catalog;
mod check;
mod clusters;
mod compiled;
mod credentials;
mod edge;
mod egress;
mod endpoints;
mod envoy;
mod group;
mod hosts;
mod inbound;
mod interception;
mod ir;
mod methods;
mod outline;
mod parts;
mod passage;
mod pattern;
mod policy;
mod protocol;
mod proxyless;
mod raw;
mod report;
mod rope;
mod routing;
mod rules;
mod settings;
mod sidecar;
mod sources;
mod table;
mod workload;

pub use catalog::Catalog;
pub use check::{Checkup, check};
pub use compiled::{Compiled, compile, compile_endpoints, compile_secrets};
pub use group::{DEFAULT_EGRESS_PORT, Group, LabelKeys, Location, ProxyKind, pod_names};
pub use settings::{
    AccessLogs, DefaultRetries, H2UpgradePolicy, Keepalive, LocalityLoadBalancing, LogFormat,
    OutboundTrafficPolicy, RegionFailover, Retries, Settings, UndeclaredPorts, UnknownMethods,
};
pub use sources::Sources;
pub use table::{ENCODER_REVISION, pretend_encoder_revision};
