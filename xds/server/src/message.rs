//! The discovery requests, as the session understands them.

use pilotage_protocol::{Dialect, Names, Rejection, Request, ResourceType};
use pilotage_protos::discovery::{DeltaDiscoveryRequest, DiscoveryRequest, Node, Status};

/// A request message of either dialect.
pub(crate) trait DiscoveryMessage: prost::Message + Default + 'static {
    /// The dialect that the message belongs to.
    const DIALECT: Dialect;

    /// The node, if the message has one.
    fn take_node(&mut self) -> Option<Node>;

    /// The type asked for; empty where the client left it out.
    fn type_url(&self) -> &str;

    /// The message without its protobuf form.
    fn into_request(self) -> Request;
}

impl DiscoveryMessage for DiscoveryRequest {
    const DIALECT: Dialect = Dialect::Sotw;

    fn take_node(&mut self) -> Option<Node> {
        self.node.take()
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn into_request(self) -> Request {
        Request {
            resource_type: ResourceType::from_type_url(&self.type_url),
            nonce: self.response_nonce,
            error: self.error_detail.map(rejection),
            names: Names::Exactly { names: self.resource_names, version: self.version_info },
        }
    }
}

impl DiscoveryMessage for DeltaDiscoveryRequest {
    const DIALECT: Dialect = Dialect::Delta;

    fn take_node(&mut self) -> Option<Node> {
        self.node.take()
    }

    fn type_url(&self) -> &str {
        &self.type_url
    }

    fn into_request(self) -> Request {
        Request {
            resource_type: ResourceType::from_type_url(&self.type_url),
            nonce: self.response_nonce,
            error: self.error_detail.map(rejection),
            names: Names::Change {
                subscribe: self.resource_names_subscribe,
                unsubscribe: self.resource_names_unsubscribe,
                initial_versions: self.initial_resource_versions,
            },
        }
    }
}

fn rejection(status: Status) -> Rejection {
    Rejection { code: status.code, message: status.message }
}
