//! What a client has of a resource, for people who want to know.

use crate::{Resource, ResourceType};

/// One resource on one stream.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Its type.
    pub resource_type: ResourceType,
    /// The resource: what was sent last, or what was rejected.
    pub resource: Resource,
    /// Where it stands.
    pub standing: Standing,
}

/// Where a resource stands with a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The client has accepted it.
    Accepted,
    /// It was sent, and the client has not answered.
    Sent,
    /// The client has rejected it, or is spared it because others have.
    Rejected,
    /// It waits for something that it refers to, or for the search for a bad neighbour.
    Withheld,
}
