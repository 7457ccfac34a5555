//! Pods, of which only the labels, the addresses and the node are used.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What matters of a Pod; its labels are in its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// The addresses, once it has any.
    pub ips: Vec<IpAddr>,
    /// The node it runs on.
    pub node: Option<Arc<str>>,
    /// The phase, such as `Running`.
    pub phase: Option<Arc<str>>,
}
