//! The HTTP body of a stream's responses.
//!
//! Invariant: what a response shares with those of other streams is handed to HTTP/2 as it is; only the nonce at its
//! end is the stream's own.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tonic::Status;

/// A rendered response: the shared part and the nonce, which a short response has in its shared part.
pub(crate) struct Parts {
    pub(crate) shared: Bytes,
    pub(crate) own: Bytes,
}

/// What a stream sends until it ends, with an error or without.
pub(crate) struct Outflow {
    parts: mpsc::Receiver<Result<Parts, Status>>,
    /// The rest of a response whose first part is on its way.
    rest: Option<Bytes>,
    has_ended: bool,
}

impl Outflow {
    pub(crate) fn new(parts: mpsc::Receiver<Result<Parts, Status>>) -> Self {
        Self { parts, rest: None, has_ended: false }
    }

    fn end(&mut self, status: Option<&Status>) -> Frame<Bytes> {
        self.has_ended = true;
        let mut trailers = HeaderMap::new();
        // A status whose words cannot be a header is told by its code alone.
        if status.is_none_or(|status| status.add_header(&mut trailers).is_err()) {
            let code = status.map_or(0, |status| status.code() as i32);
            trailers.insert("grpc-status", HeaderValue::from(code));
        }
        Frame::trailers(trailers)
    }
}

impl Body for Outflow {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Some(Ok(Frame::data(rest))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(self.parts.poll_recv(context)) {
            Some(Ok(Parts { shared, own })) => {
                self.rest = Some(own).filter(|own| !own.is_empty());
                Frame::data(shared)
            }
            Some(Err(status)) => self.end(Some(&status)),
            None => self.end(None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
