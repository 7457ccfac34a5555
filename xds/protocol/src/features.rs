//! What a client says that it understands, in the `client_features` of its node.

/// Features that change what a client is sent; a client that lists none is sent none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientFeatures {
    /// `xds.config.supports-resource-ttl`: times to live, and the heartbeats that extend them (R61, R62).
    pub ttl: bool,
    /// `xds.config.resource-in-sotw`: resources in a wrapper, without which SotW has no place for a time to live.
    pub wrapped_in_sotw: bool,
}

impl ClientFeatures {
    /// The features among the strings that a node lists.
    ///
    /// ```
    /// use pilotage_protocol::ClientFeatures;
    ///
    /// let features = ClientFeatures::listed(["xds.config.supports-resource-ttl", "something.else"]);
    /// assert!(features.ttl && !features.wrapped_in_sotw);
    /// ```
    pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut features = Self::default();
        for name in names {
            match name {
                "xds.config.supports-resource-ttl" => features.ttl = true,
                "xds.config.resource-in-sotw" => features.wrapped_in_sotw = true,
                _ => {}
            }
        }
        features
    }
}
