//! The requests of one stream: gRPC messages out of an HTTP body, each handed out as soon as it is whole.
//!
//! Invariant: no more is buffered than one request, and a buffer that a large request needed goes with
//! the request. tonic's own decoder keeps it for the life of the stream.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use prost::Message;
use tonic::Status;
use tonic::body::Body;

/// A flag for compression, and the length.
const HEADER: usize = 5;
/// How much of a message may be made room for before it arrives.
const ROOM: usize = 256 << 10;

pub(crate) struct Requests {
    body: Body,
    buffer: BytesMut,
    limit: usize,
    is_at_end: bool,
}

impl Requests {
    /// The requests in a body, none of which may be longer than `limit` bytes.
    pub(crate) fn new(body: Body, limit: usize) -> Self {
        Self { body, buffer: BytesMut::new(), limit, is_at_end: false }
    }

    /// Waits for the first bytes of a request, or for the end.
    pub(crate) async fn begun(&mut self) -> Result<(), Status> {
        while self.buffer.is_empty() && !self.is_at_end {
            if let Some(data) = self.read().await? {
                self.buffer.extend_from_slice(&data);
            }
        }
        Ok(())
    }

    /// The next request; `None` when the client has said all. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            if let Some(len) = self.whole()? {
                self.buffer.advance(HEADER);
                if self.buffer.len() == len {
                    return Ok(Some(std::mem::take(&mut self.buffer).freeze()));
                }
                return Ok(Some(self.buffer.split_to(len).freeze()));
            }
            if self.is_at_end {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(Status::invalid_argument("the stream ends within a request"))
                };
            }
            let Some(data) = self.read().await? else {
                continue;
            };
            // Most requests are a frame of their own and need no buffer.
            if self.buffer.is_empty() && frame_len(&data, self.limit)? == Some(data.len()) {
                return Ok(Some(data.slice(HEADER..)));
            }
            self.make_room(data.len())?;
            self.buffer.extend_from_slice(&data);
        }
    }

    /// Makes room for the message that has begun, so that it is not moved again and again while it grows: for more of
    /// it only as it arrives, since a length is easily said.
    fn make_room(&mut self, more: usize) -> Result<(), Status> {
        if self.buffer.capacity() - self.buffer.len() < more
            && let Some(len) = frame_len(&self.buffer, self.limit)?
        {
            self.buffer.reserve(len.saturating_sub(self.buffer.len()).min(ROOM).max(more));
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Status> {
        match self.body.frame().await {
            Some(frame) => Ok(frame?.into_data().ok().filter(|data| !data.is_empty())),
            None => {
                self.is_at_end = true;
                Ok(None)
            }
        }
    }

    /// The length of the message that the buffer begins with, if all of it is there.
    fn whole(&self) -> Result<Option<usize>, Status> {
        let len = frame_len(&self.buffer, self.limit)?;
        Ok(len.filter(|len| *len <= self.buffer.len()).map(|len| len - HEADER))
    }
}

/// The length of the frame that begins here, its header included.
fn frame_len(mut data: &[u8], limit: usize) -> Result<Option<usize>, Status> {
    if data.len() < HEADER {
        return Ok(None);
    }
    match data.get_u8() {
        0 => {}
        1 => return Err(Status::unimplemented("requests may not be compressed")),
        flag => return Err(Status::invalid_argument(format!("{flag} is no flag of a gRPC message"))),
    }
    let len = data.get_u32() as usize;
    if len > limit {
        let message = format!("a request of {len} bytes exceeds the limit of {limit}");
        return Err(Status::resource_exhausted(message));
    }
    Ok(Some(HEADER + len))
}

/// Decodes a request.
pub(crate) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Status> {
    M::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("the request is not a discovery request: {error}")))
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use pilotage_protos::discovery::DiscoveryRequest;

    use super::*;

    fn frame(flag: u8, version: &str) -> Vec<u8> {
        let request = DiscoveryRequest { version_info: version.to_owned(), ..DiscoveryRequest::default() };
        let message = request.encode_to_vec();
        let mut frame = vec![flag];
        frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
        frame.extend_from_slice(&message);
        frame
    }

    fn whole(bytes: Vec<u8>) -> Requests {
        Requests::new(Body::new(Full::new(Bytes::from(bytes))), 1000)
    }

    #[tokio::test]
    async fn frames_are_found_however_they_are_cut() {
        let text: Vec<u8> = ["a", &"b".repeat(500), ""].iter().flat_map(|text| frame(0, text)).collect();
        for size in [1, 3, 6, 100, text.len()] {
            let pieces: Vec<_> = text
                .chunks(size)
                .map(|piece| Ok::<_, Status>(http_body::Frame::data(Bytes::copy_from_slice(piece))))
                .collect();
            let body = Body::new(StreamBody::new(tokio_stream::iter(pieces)));
            let mut requests = Requests::new(body, 1000);
            requests.begun().await.expect("bytes");
            for length in [1, 500, 0] {
                let message = requests.next().await.expect("no error").expect("a request");
                let request: DiscoveryRequest = decode(&message).expect("a discovery request");
                assert_eq!(request.version_info.len(), length);
            }
            assert!(requests.next().await.expect("no error").is_none());
            assert_eq!(requests.buffer.capacity(), 0, "the buffer is given back");
        }
    }

    #[tokio::test]
    async fn a_compressed_request_is_refused() {
        let status = whole(frame(1, "a")).next().await.expect_err("a refusal");
        assert_eq!(status.code(), tonic::Code::Unimplemented);
    }

    #[tokio::test]
    async fn what_is_no_frame_is_refused() {
        let mut cut = frame(0, "abc");
        cut.pop();
        assert_eq!(whole(cut).next().await.expect_err("cut").code(), tonic::Code::InvalidArgument);
        assert_eq!(whole(vec![0, 0]).next().await.expect_err("cut").code(), tonic::Code::InvalidArgument);
        assert_eq!(whole(frame(7, "a")).next().await.expect_err("flag").code(), tonic::Code::InvalidArgument);
        let long = whole(vec![0, 0xff, 0xff, 0xff, 0xff]).next().await;
        assert_eq!(long.expect_err("too long").code(), tonic::Code::ResourceExhausted);
    }
}
