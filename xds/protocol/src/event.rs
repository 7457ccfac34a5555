//! What the session tells its driver beside the responses.

use crate::response::Nonce;
use crate::{Name, Rejection, Resource, ResourceType, Revision, Version};

/// Something that happened on a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// The client accepted a response.
    Acked(Answered),
    /// The client rejected a response. It keeps what it had, and is not sent the suspects again until they change
    /// (R16); a full list whose suspects it does not name, not until anything in the list changes.
    Nacked {
        /// The response.
        response: Answered,
        /// The client's words.
        rejection: Rejection,
        /// The new resources of the response that the client's words name, or all of them where it names none.
        suspects: Vec<Resource>,
    },
    /// Names were asked for that the snapshot does not hold; they are remembered and sent once they exist (R32).
    Missing {
        /// The type.
        resource_type: ResourceType,
        /// The names, sorted.
        names: Vec<Name>,
    },
    /// A type was asked for that neither the table nor the snapshot knows; it is not answered (H3).
    UnknownType(ResourceType),
}

/// The response that an answer of the client is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its nonce.
    pub nonce: Nonce,
    /// Its version.
    pub version: Version,
    /// The event that it was the consequence of.
    pub revision: Revision,
}
