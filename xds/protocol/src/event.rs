//! What the session tells its driver beside the responses.

use crate::response::Nonce;
use crate::{Name, Rejection, Resource, ResourceType, Revision, Version};

/// Something that happened on a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// The client accepted a response.
    Acked {
        /// The response.
        response: Answered,
        /// How many resources of the type the client still refuses, so that the response was without them.
        refused: usize,
    },
    /// The client rejected a response, and it is known whom that leaves to blame. The client keeps what it had of the
    /// suspects, and is not sent them again until they change (R16); what else was in the response is sent again
    /// without them. A rejection is reported once, whatever it took to find out.
    Nacked {
        /// The response.
        response: Answered,
        /// The client's words.
        rejection: Rejection,
        /// The resources that are to blame, or that may be.
        suspects: Vec<Resource>,
        /// Whether each of the suspects is to blame.
        blame: Blame,
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

/// What is known of the suspects of a rejection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// Each of them is bad: the client named it, or rejected it alone.
    Certain,
    /// Any of them may be bad: the client rejects whatever it is sent, or a full list that cannot be taken apart.
    Shared,
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
