//! Between tonic and the session: requests are decoded with prost, responses are rendered into tonic's buffer.

use std::marker::PhantomData;
use std::sync::Arc;

use pilotage_protocol::{Dialect, Response};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::render;

/// The codec of one dialect, for requests of type `M`.
pub(crate) struct DiscoveryCodec<M> {
    renderer: Renderer,
    request: PhantomData<fn() -> M>,
}

/// Renders responses, in the name of one control plane.
#[derive(Clone)]
pub(crate) struct Renderer {
    pub(crate) dialect: Dialect,
    pub(crate) identifier: Arc<str>,
}

pub(crate) struct RequestDecoder<M>(PhantomData<fn() -> M>);

impl<M> DiscoveryCodec<M> {
    pub(crate) fn new(renderer: Renderer) -> Self {
        Self { renderer, request: PhantomData }
    }
}

impl<M: Message + Default + 'static> Codec for DiscoveryCodec<M> {
    type Encode = Response;
    type Decode = M;
    type Encoder = Renderer;
    type Decoder = RequestDecoder<M>;

    fn encoder(&mut self) -> Renderer {
        self.renderer.clone()
    }

    fn decoder(&mut self) -> RequestDecoder<M> {
        RequestDecoder(PhantomData)
    }
}

impl Encoder for Renderer {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        // One reservation instead of a growing buffer, which would copy what is already in it.
        out.reserve(render::rendered_len(&response, self.dialect, &self.identifier));
        render::render(&response, self.dialect, &self.identifier, out);
        Ok(())
    }
}

impl<M: Message + Default> Decoder for RequestDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        M::decode(buffer).map(Some).map_err(|error| {
            Status::invalid_argument(format!("the request is not a discovery request: {error}"))
        })
    }
}
