//! One HTTP GET, for the admin interfaces of programs on this machine.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;

/// Why a GET gave nothing of use.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Nothing listens there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The path is not one.
    #[error("`{path}` is not a path")]
    Path {
        /// The path.
        path: String,
        /// Why.
        source: http::Error,
    },
    /// The connection broke.
    #[error("GET http://{address}{path}")]
    Exchange {
        /// Where.
        address: SocketAddr,
        /// The path.
        path: String,
        /// Why.
        source: hyper::Error,
    },
    /// It answered with something else than 200.
    #[error("GET http://{address}{path}: {status}: {body}")]
    Status {
        /// Where.
        address: SocketAddr,
        /// The path.
        path: String,
        /// The status.
        status: StatusCode,
        /// The answer.
        body: String,
    },
}

/// The body of `http://<address><path>`, where the answer is 200.
pub async fn http_get(address: SocketAddr, path: &str) -> Result<Bytes, HttpError> {
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new())
        .map_err(|source| HttpError::Path { path: path.into(), source })?;
    let socket =
        TcpStream::connect(address).await.map_err(|source| HttpError::Connect { address, source })?;
    let broken = |source| HttpError::Exchange { address, path: path.into(), source };
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(broken)?;
    // The connection makes progress only while it is polled; it ends when the sender is dropped.
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, hyper::Error>((status, body))
    };
    let mut exchange = std::pin::pin!(exchange);
    let (status, body) = tokio::select! {
        answer = &mut exchange => answer,
        // A server may close as soon as it has answered: what it sent is still there to be read.
        _ = connection => exchange.await,
    }
    .map_err(broken)?;
    if status == StatusCode::OK {
        return Ok(body);
    }
    let body = String::from_utf8_lossy(&body).trim().to_owned();
    Err(HttpError::Status { address, path: path.into(), status, body })
}
