//! Rendered responses, shared by all streams that are told the same.
//!
//! Invariant: two responses share a slab only when type, version, contents and removals are equal. Few slabs are kept,
//! and only for as long as others are likely to need them: a publication reaches all its streams at once, and so do
//! the reconnects after a restart.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{BufMut, Bytes, BytesMut};
use pilotage_protocol::{Dialect, Fingerprint, Response};

use crate::outflow::Parts;
use crate::render;

/// Bytes of slabs that are kept; the newest is kept whatever its size.
const KEPT_BYTES: usize = 16 << 20;
/// Responses of so many bytes are sent in one piece with their nonce.
const JOINED: usize = 4096;
/// Slabs that are kept.
const KEPT: usize = 64;

/// Renders responses in the name of one control plane.
pub(crate) struct Slabs {
    identifier: Box<str>,
    kept: Mutex<VecDeque<Arc<Slab>>>,
}

struct Slab {
    dialect: Dialect,
    fingerprint: Fingerprint,
    bytes: OnceLock<Bytes>,
}

impl Slab {
    fn len(&self) -> usize {
        self.bytes.get().map_or(0, Bytes::len)
    }
}

impl Slabs {
    pub(crate) fn new(identifier: &str) -> Self {
        Self { identifier: identifier.into(), kept: Mutex::default() }
    }

    /// The response as bytes, rendered only if no equal one was rendered lately.
    pub(crate) fn parts(&self, dialect: Dialect, response: &Response) -> Parts {
        let slab = self.slab(dialect, response.fingerprint());
        // Rendered outside of the lock; whoever wants the same meanwhile waits for it.
        let shared = slab.bytes.get_or_init(|| render::shared(response, dialect, &self.identifier)).clone();
        if shared.len() > JOINED {
            return Parts { shared, own: render::own(response) };
        }
        // A frame of its own costs more than to copy so little.
        let mut joined = BytesMut::with_capacity(shared.len() + render::NONCE_LEN);
        joined.put_slice(&shared);
        render::write_own(response, &mut joined);
        Parts { shared: joined.freeze(), own: Bytes::new() }
    }

    fn slab(&self, dialect: Dialect, fingerprint: &Fingerprint) -> Arc<Slab> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let is_equal = |slab: &&Arc<Slab>| slab.fingerprint == *fingerprint && slab.dialect == dialect;
        if let Some(slab) = kept.iter().rev().find(is_equal) {
            return slab.clone();
        }
        let slab = Arc::new(Slab { dialect, fingerprint: fingerprint.clone(), bytes: OnceLock::new() });
        let mut bytes: usize = kept.iter().map(|slab| slab.len()).sum();
        while (bytes > KEPT_BYTES || kept.len() >= KEPT)
            && let Some(oldest) = kept.pop_front()
        {
            bytes -= oldest.len();
        }
        kept.push_back(slab.clone());
        slab
    }
}
