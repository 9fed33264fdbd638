//! The seam between the wire and everything above it. Only this folder knows which HTTP library
//! speaks on the wire; above it there are our own types.

mod body;
mod client;
mod error;
mod server;
mod simple;
mod watch;

pub(crate) use body::{ReplyBody, RequestBody};
pub(crate) use client::{ClientConnection, Reply, SendFailure};
pub(crate) use error::{Side, WireError};
pub(crate) use server::{Protocol, Terms, serve};
pub use simple::{SimpleRequest, SimpleResponse, serve_simple};
pub(crate) use watch::{Deadlines, Phase, Watched};

use http::{HeaderMap, Method, StatusCode, Uri, Version};
use tokio::io::{AsyncRead, AsyncWrite};

/// A request as the codec read it: parsed, but not yet judged.
pub(crate) struct WireRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// The body's length where the framing declares it; `Some(0)` where there is no body.
    pub(crate) content_length: Option<u64>,
    /// Becomes the connection's bytes, should the answer be 101.
    pub(crate) upgrade: Upgrading,
}

/// An answer for the codec to write.
pub(crate) struct WireResponse<B> {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: B,
}

/// A connection that may become a tunnel.
pub(crate) struct Upgrading(hyper::upgrade::OnUpgrade);

impl Upgrading {
    /// The connection's bytes, once the 101 is on its way.
    pub(crate) async fn finish(self) -> Result<impl AsyncRead + AsyncWrite + Unpin, WireError> {
        let upgraded = self.0.await.map_err(|error| WireError::from_hyper(Side::Ours, &error))?;
        Ok(hyper_util::rt::TokioIo::new(upgraded))
    }
}

/// Why a connection's bytes were not understood: what the client was told, and the refusal's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unparsed {
    /// The status that was sent; 0 where the connection was closed without an answer.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: &'static str,
}
