//! Health and metrics over HTTP, for probes and scrapers: `/healthz`, `/readyz`, `/metrics`; and `/outcomes`, for the
//! replica that writes status.
//!
//! Nothing here tells what is served, but for the names of objects: that is for pages of another listener, on loopback
//! alone.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use pilotage_compile::Group;
use pilotage_server::Streams;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::status::Answer;

mod metrics;
mod readiness;

pub(crate) use metrics::Currency;
pub use metrics::Metrics;
pub use readiness::{Readiness, Task};

/// What the pages show.
#[derive(Clone)]
pub struct Pages {
    /// Whether there is something to serve.
    pub readiness: Readiness,
    /// Counters and times.
    pub metrics: Metrics,
    /// The open streams.
    pub streams: Streams<Group>,
    /// What became of objects at these streams, for other replicas; none where nobody asks.
    pub(crate) outcomes: Option<Answer>,
}

/// Serves the pages until `shutdown`.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, pages: Pages, shutdown: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .route("/outcomes", get(outcomes))
        .with_state(pages);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn ready(State(pages): State<Pages>) -> impl IntoResponse {
    let status = if pages.readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, pages.readiness.to_string())
}

async fn outcomes(State(pages): State<Pages>) -> impl IntoResponse {
    let Some(outcomes) = &pages.outcomes else {
        return (StatusCode::NOT_FOUND, "status is not written here\n".to_owned());
    };
    // A tree of names and numbers can always be written.
    (StatusCode::OK, serde_json::to_string(&*outcomes.get()).unwrap_or_default())
}

async fn scrape(State(pages): State<Pages>) -> impl IntoResponse {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], pages.metrics.page(pages.streams.len()))
}
