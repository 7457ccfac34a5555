//! Waiting for what will be true, instead of for a time that is hoped to be long enough.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};

/// How long a condition may take. It is long because a loaded machine is slow, not because anything should be.
pub const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(10);

/// Waits until `condition` gives a value.
///
/// # Errors
/// It gives none within [`PATIENCE`].
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> Result<T> {
    let met = async {
        let mut ticks = tokio::time::interval(POLL);
        loop {
            ticks.tick().await;
            if let Some(value) = condition().await {
                return value;
            }
        }
    };
    tokio::time::timeout(PATIENCE, met).await.with_context(|| format!("not within {PATIENCE:?}: {what}"))
}
