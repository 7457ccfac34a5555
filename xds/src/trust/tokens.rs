//! Service-account tokens: reviewed by the API server, and what it said remembered for a while.
//!
//! Tokens are known here by their hashes. The memory is bounded, and so is how many reviews are under way; a token
//! that has plainly ended is refused without one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::HeaderValue;
use pilotage_watcher::kubernetes::{Connection, Review, review_token};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tonic::Status;

use super::identity::Identity;
use crate::pipeline::unix_time;

/// How long a review counts; a token may have been revoked since. Never longer than the token itself.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// How long a refusal counts: a client that tries again and again costs one review in this time.
const BAD_FOR: Duration = Duration::from_secs(10);
/// Tokens that are remembered.
const REMEMBERED: usize = 16_384;
/// Reviews that are under way at a time; further ones wait.
const AT_ONCE: usize = 16;
/// No token is longer: it has to fit into a header.
const LONGEST: usize = 16 * 1024;

type Hash = [u8; 32];

/// Reviews tokens.
pub(super) struct Tokens {
    cluster: Connection,
    audiences: Vec<String>,
    known: Mutex<HashMap<Hash, Known>>,
    under_way: Semaphore,
}

/// What a review said.
#[derive(Clone)]
struct Known {
    until: Instant,
    verdict: Result<Identity, String>,
}

/// The part of a token's payload that is looked at before it is believed.
#[derive(Deserialize)]
struct Payload {
    exp: Option<i64>,
}

impl Tokens {
    pub(super) fn new(cluster: Connection, audiences: Vec<String>) -> Self {
        let (known, under_way) = (Mutex::default(), Semaphore::new(AT_ONCE));
        Self { cluster, audiences, known, under_way }
    }

    /// Whose token the header `authorization` has.
    pub(super) async fn identity(&self, authorization: &HeaderValue) -> Result<Identity, Status> {
        let token = authorization.to_str().ok().and_then(bearer).filter(|token| token.len() <= LONGEST);
        let token = token.ok_or_else(|| {
            Status::unauthenticated(
                "the header authorization does not have a token: write it as Bearer TOKEN",
            )
        })?;
        let ends = payload(token).and_then(|payload| payload.exp);
        let left = ends.map(|ends| ends - unix_time());
        if let Some(left) = left
            && left <= 0
        {
            return Err(Status::unauthenticated(format!("the token ended {} s ago", -left)));
        }
        let hash = hash(token);
        if let Some(verdict) = self.remembered(&hash) {
            return verdict.map_err(Status::unauthenticated);
        }
        let _permit = self.under_way.acquire().await.map_err(|_| Status::unavailable("ending"))?;
        // Another stream of the same client may have asked meanwhile.
        if let Some(verdict) = self.remembered(&hash) {
            return verdict.map_err(Status::unauthenticated);
        }
        let verdict = match review_token(&self.cluster, token, &self.audiences).await {
            // Its end is believed, now that the token is.
            Ok(Review::Good { user, pod }) => Identity::of_account(&user, pod.as_deref())
                .map(|identity| Identity { ends, ..identity })
                .ok_or_else(|| format!("the token is of {user}, which is no service account")),
            Ok(Review::Bad(reason)) => Err(format!("the API server does not accept the token: {reason}")),
            Err(error) => {
                return Err(Status::unavailable(format!(
                    "the token could not be checked, try again: {error}"
                )));
            }
        };
        let good_for = left.and_then(|left| u64::try_from(left).ok()).map_or(GOOD_FOR, Duration::from_secs);
        let for_now = if verdict.is_ok() { good_for.min(GOOD_FOR) } else { BAD_FOR };
        self.remember(hash, Known { until: Instant::now() + for_now, verdict: verdict.clone() });
        verdict.map_err(Status::unauthenticated)
    }

    fn remembered(&self, hash: &Hash) -> Option<Result<Identity, String>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(hash).filter(|known| known.until > Instant::now()).map(|known| known.verdict.clone())
    }

    fn remember(&self, hash: Hash, new: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            let now = Instant::now();
            known.retain(|_, known| known.until > now);
        }
        if known.len() >= REMEMBERED {
            // Refusals are made up by whoever likes; what is good is worth more.
            known.retain(|_, known| known.verdict.is_ok());
        }
        if known.len() < REMEMBERED {
            known.insert(hash, new);
        }
    }
}

/// What it knows stays out.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn payload(token: &str) -> Option<Payload> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

fn hash(token: &str) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_told_from_anything_else() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        for other in ["Bearer", "Bearer ", "Basic abc", "abc", ""] {
            assert_eq!(bearer(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_end_of_a_token_is_read_and_nonsense_has_none() {
        let of = |text: &str| payload(&format!("x.{}.y", BASE64_URL_SAFE_NO_PAD.encode(text)));
        assert_eq!(of(r#"{"exp": 17, "sub": "a"}"#).and_then(|payload| payload.exp), Some(17));
        assert_eq!(of("{}").and_then(|payload| payload.exp), None);
        assert!(of("[").is_none() && payload("opaque").is_none() && payload("a.*.b").is_none());
    }
}
