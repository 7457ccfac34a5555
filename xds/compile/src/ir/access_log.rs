//! Access logs: the form of a line, and which calls have one.

/// A log on the standard output of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccessLog {
    pub(crate) encoding: LogEncoding,
    /// Only calls whose status is so; all of them where unset.
    pub(crate) only: Option<Comparison>,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LogEncoding {
    Text,
    Json,
}

/// A comparison with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Comparison {
    AtLeast(u32),
    AtMost(u32),
    Equal(u32),
}
