//! What happens on the streams, as it happens: for logs, metrics and audits of an embedder's own.
//!
//! An observer is called on the stream's own task and so must not block. What the owner of the cache has to act upon
//! comes as [`crate::Events`] instead, which wait until they are read.

use pilotage_protocol::{Request, Response};

use crate::{Outcome, StreamId, StreamStatus};

/// Is told of every stream and all that is said on it; each method does nothing unless it is written.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use pilotage_server::{Observer, StreamId, StreamStatus};
///
/// #[derive(Default)]
/// struct Gauge(AtomicUsize);
///
/// impl Observer<String> for Gauge {
///     fn opened(&self, _stream: &StreamStatus<String>) {
///         self.0.fetch_add(1, Ordering::Relaxed);
///     }
///     fn closed(&self, _stream: StreamId) {
///         self.0.fetch_sub(1, Ordering::Relaxed);
///     }
/// }
/// ```
pub trait Observer<K>: Send + Sync + 'static {
    /// A stream's first request told who the client is.
    fn opened(&self, _stream: &StreamStatus<K>) {}

    /// A request arrived, and has not been acted upon.
    fn requested(&self, _stream: StreamId, _request: &Request) {}

    /// A response is on its way.
    fn responded(&self, _stream: StreamId, _response: &Response) {}

    /// The client accepted a response, or it is known what it rejects.
    fn answered(&self, _outcome: &Outcome<K>) {}

    /// A stream that was opened has ended.
    fn closed(&self, _stream: StreamId) {}
}

/// Nobody watches.
impl<K> Observer<K> for () {}
