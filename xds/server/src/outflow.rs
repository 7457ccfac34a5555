//! The HTTP body of a stream's responses, and how they get there.
//!
//! Invariant: what a response shares with those of other streams is handed to HTTP/2 as it is; only the nonce at its
//! end is the stream's own. One response at most waits for the transport, and the end of the stream waits behind it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};
use tonic::Status;

/// A rendered response: the shared part and the nonce, which a short response has in its shared part.
pub(crate) struct Parts {
    pub(crate) shared: Bytes,
    pub(crate) own: Bytes,
}

/// Where a response waits. A channel would do, but even an empty one of tokio's has room for 32, for every stream.
#[derive(Default)]
struct Berth {
    state: Mutex<State>,
    stream: AtomicWaker,
    body: AtomicWaker,
}

#[derive(Default)]
struct State {
    waiting: Option<Parts>,
    /// Whether the stream has ended, and with which error.
    end: Option<Option<Status>>,
    /// Whether nobody will send anything any more.
    is_abandoned: bool,
}

impl Berth {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held; if something did, the state would still be whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream's side: where it puts responses. Dropping it ends the stream.
pub(crate) struct Outlet(Arc<Berth>);

/// Nobody will send anything any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Abandoned;

/// What a stream sends until it ends, with an error or without.
pub(crate) struct Outflow {
    berth: Arc<Berth>,
    /// The rest of a response whose first part is on its way.
    rest: Option<Bytes>,
    has_ended: bool,
}

/// The two sides of a stream's responses.
pub(crate) fn outflow() -> (Outlet, Outflow) {
    let berth = Arc::<Berth>::default();
    (Outlet(berth.clone()), Outflow { berth, rest: None, has_ended: false })
}

impl Outlet {
    /// Whether a response can be sent now.
    pub(crate) fn has_room(&self) -> Result<bool, Abandoned> {
        let state = self.0.state();
        if state.is_abandoned { Err(Abandoned) } else { Ok(state.waiting.is_none()) }
    }

    /// Sends a response, for which there must be room.
    pub(crate) fn send(&self, parts: Parts) {
        self.0.state().waiting = Some(parts);
        self.0.body.wake();
    }

    /// Ends the stream behind what was sent.
    pub(crate) fn end(&self, status: Option<Status>) {
        self.0.state().end.get_or_insert(status);
        self.0.body.wake();
    }

    /// Waits until there is room, where that is wanted, or until nobody will send anything any more.
    pub(crate) fn poll(&self, context: &Context<'_>, wants_room: bool) -> Poll<Result<(), Abandoned>> {
        self.0.stream.register(context.waker());
        match self.has_room() {
            Ok(true) if wants_room => Poll::Ready(Ok(())),
            Ok(_) => Poll::Pending,
            Err(abandoned) => Poll::Ready(Err(abandoned)),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl Outflow {
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
        self.berth.body.register(context.waker());
        let mut state = self.berth.state();
        let frame = if let Some(Parts { shared, own }) = state.waiting.take() {
            drop(state);
            self.berth.stream.wake();
            self.rest = Some(own).filter(|own| !own.is_empty());
            Frame::data(shared)
        } else if let Some(status) = state.end.take() {
            drop(state);
            self.end(status.as_ref())
        } else {
            return Poll::Pending;
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        let mut state = self.berth.state();
        state.is_abandoned = true;
        let waiting = state.waiting.take();
        drop(state);
        drop(waiting);
        self.berth.stream.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body_util::BodyExt;

    use super::*;

    fn parts(shared: &'static str, own: &'static str) -> Parts {
        Parts { shared: Bytes::from_static(shared.as_bytes()), own: Bytes::from_static(own.as_bytes()) }
    }

    async fn next(outflow: &mut Outflow) -> Result<Bytes, HeaderMap> {
        let frame = outflow.frame().await.expect("a frame").expect("no error");
        frame.into_data().map_err(|frame| frame.into_trailers().expect("trailers"))
    }

    #[tokio::test]
    async fn one_response_waits_and_the_end_behind_it() {
        let (outlet, mut outflow) = outflow();
        assert_eq!(outlet.has_room(), Ok(true));
        outlet.send(parts("shared", "own"));
        assert_eq!(outlet.has_room(), Ok(false));
        let taken = tokio::spawn(async move {
            let first = (next(&mut outflow).await, next(&mut outflow).await);
            (first, next(&mut outflow).await, next(&mut outflow).await)
        });
        poll_fn(|context| outlet.poll(context, true)).await.expect("somebody who sends");
        outlet.send(parts("more", ""));
        outlet.end(Some(Status::unavailable("gone")));
        drop(outlet);
        let (first, second, end) = taken.await.expect("no panic");
        assert_eq!(first, (Ok(Bytes::from("shared")), Ok(Bytes::from("own"))));
        assert_eq!(second, Ok(Bytes::from("more")));
        assert_eq!(end.expect_err("the end")["grpc-status"], "14");
    }

    #[tokio::test]
    async fn the_end_is_told_once() {
        for (status, code) in [(None, "0"), (Some(Status::unavailable("gone")), "14")] {
            let (outlet, mut outflow) = outflow();
            outlet.send(parts("last", ""));
            outlet.end(status);
            drop(outlet);
            assert_eq!(next(&mut outflow).await, Ok(Bytes::from("last")));
            let trailers = next(&mut outflow).await.expect_err("the end");
            assert_eq!(trailers["grpc-status"], code);
            assert!(outflow.is_end_stream() && outflow.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn the_stream_hears_that_nobody_sends() {
        let (outlet, outflow) = outflow();
        let heard = tokio::spawn(async move { poll_fn(|context| outlet.poll(context, false)).await });
        tokio::task::yield_now().await;
        drop(outflow);
        assert_eq!(heard.await.expect("no panic"), Err(Abandoned));
    }
}
