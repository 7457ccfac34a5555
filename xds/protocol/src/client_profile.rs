//! What kind of client is at the other end, where the protocol leaves room and clients differ.

/// A client implementation, told by the `user_agent_name` of its node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ClientProfile {
    /// Envoy.
    Envoy,
    /// A gRPC library: it never means a wildcard by an empty list (R29), and takes no more than 4 MiB (R31).
    Grpc,
    /// Anything else, served by the letter of the specification.
    #[default]
    Unknown,
}

impl ClientProfile {
    /// The profile behind a `user_agent_name`.
    ///
    /// gRPC libraries write `gRPC Go`, `gRPC Java`, `gRPC C-core…`, `gRPC Node Pure JS` or, from some wrappings,
    /// `grpc-…`; Envoy writes `envoy`.
    pub fn from_user_agent(name: &str) -> Self {
        match name.get(..4) {
            Some(start) if start.eq_ignore_ascii_case("grpc") => Self::Grpc,
            Some(start) if start.eq_ignore_ascii_case("envo") => Self::Envoy,
            _ => Self::Unknown,
        }
    }

    /// Whether an empty first request can mean "everything" (R29).
    pub fn has_legacy_wildcard(self) -> bool {
        self != Self::Grpc
    }
}
