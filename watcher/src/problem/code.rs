//! The list of problem codes: a stable name, the usual severity, and the Istio analyzer's number where one exists.

use std::fmt;

use serde::{Serialize, Serializer};

use super::Severity;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident $(, $ist:literal)?;)*) => {
        /// Which kind of problem; the name is stable and may be searched for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)* }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, such as `undeclared-port`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity at which this code is raised unless the place says otherwise.
            pub fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// The number under which `istioctl analyze` reports the same thing.
            pub fn istio(self) -> Option<&'static str> {
                match self { $(Self::$variant => codes!(@ist $($ist)?),)* }
            }
        }
    };
    (@ist) => { None };
    (@ist $ist:literal) => { Some($ist) };
}

codes! {
    /// A file or folder cannot be read.
    Unreadable = "unreadable", Error;
    /// A kind that the API server does not let us read.
    Forbidden = "forbidden", Error;
    /// A file is empty, or became empty: what it held stays.
    EmptyFile = "empty-file", Warning;
    /// The folder holds nothing that is served.
    EmptyFolder = "empty-folder", Warning;
    /// A file or document is larger than the limit.
    TooLarge = "too-large", Error;
    /// Text that is not YAML or not JSON.
    Syntax = "syntax", Error;
    /// A tab where YAML wants spaces.
    TabIndent = "tab-indent", Error;
    /// The same key twice in one mapping.
    DuplicateKey = "duplicate-key", Error;
    /// Aliases that would expand past the budget.
    AnchorBomb = "anchor-bomb", Error;
    /// The text was pasted without its indentation.
    LostIndentation = "lost-indentation", Error;
    /// A document without `apiVersion`, `kind` or a name.
    NotAnObject = "not-an-object", Error, "IST0106";
    /// An API group that looks like one that is read.
    UnknownGroup = "unknown-group", Error;
    /// A version that its group does not serve.
    UnknownVersion = "unknown-version", Error;
    /// A kind that is not known in a group that is read.
    UnknownKind = "unknown-kind", Error;
    /// A field that the kind does not have.
    UnknownField = "unknown-field", Warning, "IST0106";
    /// A value of the wrong type.
    WrongType = "wrong-type", Error, "IST0106";
    /// A value outside what the field allows.
    InvalidValue = "invalid-value", Error, "IST0106";
    /// A field that must be there and is not.
    MissingField = "missing-field", Error, "IST0106";
    /// Fields that exclude each other.
    ConflictingFields = "conflicting-fields", Error, "IST0106";
    /// Two objects of one kind, namespace and name.
    DuplicateObject = "duplicate-object", Error;
    /// A file no longer parses: its objects keep their last good version.
    KeptLastGood = "kept-last-good", Warning;

    /// A port that declares no protocol.
    UndeclaredPort = "undeclared-port", Info, "IST0118";
    /// A protocol name that is accepted as an alias.
    ProtocolAlias = "protocol-alias", Info;
    /// A protocol name that is not known.
    UnknownProtocol = "unknown-protocol", Warning, "IST0118";
    /// HTTP routes for a port that is opaque TCP.
    RoutesIgnored = "routes-ignored", Warning;
    /// A host that no Service or ServiceEntry has.
    UnknownHost = "unknown-host", Error, "IST0101";
    /// A port that its host does not have.
    UnknownPort = "unknown-port", Error, "IST0101";
    /// A destination without a port, on a host with several.
    PortRequired = "port-required", Error, "IST0112";
    /// A subset that no DestinationRule defines.
    UnknownSubset = "unknown-subset", Error, "IST0101";
    /// A subset that selects no endpoint.
    EmptySubset = "empty-subset", Warning, "IST0173";
    /// A DestinationRule for a host that does not exist.
    UnusedRule = "unused-rule", Warning, "IST0174";
    /// A Gateway that does not exist.
    UnknownGateway = "unknown-gateway", Error, "IST0101";
    /// A VirtualService host that none of its Gateways' servers has.
    HostNotOnGateway = "host-not-on-gateway", Warning, "IST0132";
    /// A rule delegates to a VirtualService that is not there, or is no delegate.
    UnknownDelegate = "unknown-delegate", Error, "IST0101";
    /// A VirtualService without hosts that nothing delegates to.
    UnusedDelegate = "unused-delegate", Warning;
    /// Two ServiceEntries, or one and a Service, have one host.
    DuplicateHost = "duplicate-host", Warning, "IST0177";
    /// Two Sidecars are for the same workloads.
    ConflictingSidecars = "conflicting-sidecars", Error, "IST0110";
    /// Two VirtualServices claim one host on the mesh.
    ConflictingHosts = "conflicting-hosts", Error, "IST0109";
    /// Two DestinationRules for one host, merged.
    MergedRules = "merged-rules", Warning;
    /// Two DestinationRules define one subset.
    DuplicateSubset = "duplicate-subset", Warning;
    /// Gateway servers that cannot share a port.
    ConflictingGateways = "conflicting-gateways", Error, "IST0145";
    /// A port of a Gateway that no Service in front of the gateway has.
    UnexposedPort = "unexposed-port", Warning, "IST0162";
    /// Gateways that share a certificate, so that clients may take a connection to one for a connection to the other.
    SharedCertificate = "shared-certificate", Warning, "IST0138";
    /// Rules for a host on the mesh that calls by a Gateway pass by.
    BypassedRules = "bypassed-rules", Warning, "IST0140";
    /// A selector that no workload has the labels of.
    UnmatchedSelector = "unmatched-selector", Warning, "IST0127";
    /// A rule that no request can reach.
    UnreachableRule = "unreachable-rule", Warning, "IST0130";
    /// A plaintext protocol with TLS settings.
    TlsOnPlaintext = "tls-on-plaintext", Warning;
    /// A Secret that does not exist where it is looked for.
    UnknownSecret = "unknown-secret", Error, "IST0101";
    /// A Secret without what is wanted of it, or with a certificate or key that cannot be used.
    InvalidSecret = "invalid-secret", Error, "IST0161";
    /// A certificate that has ended.
    ExpiredCertificate = "expired-certificate", Warning, "IST0161";
    /// TLS to endpoints whose certificates nobody checks.
    UnverifiedServer = "unverified-server", Warning, "IST0128";
    /// Something that is read but not served.
    NotSupported = "not-supported", Warning;
    /// Something that only a sidecar can do to which connections are redirected.
    NeedsInterception = "needs-interception", Warning;
    /// Services of one workload that declare different protocols for one of its ports.
    ConflictingPorts = "conflicting-ports", Warning, "IST0116";
    /// A setting that has no effect where it stands.
    NoEffect = "no-effect", Warning;
    /// A field or form that its API has given up for another.
    Deprecated = "deprecated", Info, "IST0002";
    /// A retry condition that never fires as written.
    RetryNeverFires = "retry-never-fires", Warning;
    /// A retry that may do twice what must be done once.
    RetryMayRepeat = "retry-may-repeat", Warning;
    /// A retry by a gRPC status, which a proxy sees only where no message came before it.
    RetryNeedsTrailersOnly = "retry-needs-trailers-only", Info;
    /// A method that its service's descriptors do not have.
    UnknownMethod = "unknown-method", Warning;
    /// A match on a gRPC content type that misses its variants.
    ExactContentType = "exact-content-type", Warning;
    /// A setting that makes gRPC calls fail.
    HarmfulForGrpc = "harmful-for-grpc", Warning;
    /// Something that a proxyless gRPC client cannot do.
    NotForGrpcClients = "not-for-grpc-clients", Warning;
    /// A resource in Envoy's words that Envoy's API does not have so.
    InvalidResource = "invalid-resource", Error;
    /// Protobuf descriptors that cannot be read.
    InvalidDescriptors = "invalid-descriptors", Error;
    /// Two resources of one type and name.
    DuplicateResource = "duplicate-resource", Error;
    /// A client rejected what an object was translated to.
    RejectedByClient = "rejected-by-client", Error;
    /// An endpoint that cannot be used.
    InvalidEndpoint = "invalid-endpoint", Warning;
}

impl Code {
    /// The code that a mistaken name most likely means, if any is near.
    pub fn nearest(name: &str) -> Option<Self> {
        let near = crate::manifest::nearest(name, Self::ALL.iter().map(|code| code.name()))?;
        Self::ALL.iter().copied().find(|code| code.name() == near)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
