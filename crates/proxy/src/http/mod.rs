//! The seam between the wire and everything above it. Only this folder knows which HTTP library
//! speaks on the wire; above it there are our own types.

mod body;
mod error;
mod h1;
mod h2;
mod server;
mod simple;
mod stream;
mod watch;

pub(crate) use body::RequestBody;
pub(crate) use error::WireError;
pub(crate) use h1::{Reply, STALLED, SendFailure, Sending, UpstreamConnection};
pub(crate) use h2::{Http2Connection, UpstreamStream, frames, protocol_of};
pub(crate) use server::{Protocol, Terms, serve};
pub use simple::{SimpleRequest, SimpleResponse, serve_simple};
pub(crate) use stream::{Begun, Stream};
pub(crate) use watch::Deadlines;
use watch::{Phase, Watched};

use http::{HeaderMap, Method, StatusCode, Uri, Version};
use tokio::sync::oneshot;

/// A request as the codec read it: parsed, but not yet judged.
pub(crate) struct WireRequest {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) body: RequestBody,
    /// The body's length where the framing declares it; `Some(0)` where there is no body.
    pub(crate) content_length: Option<u64>,
    /// Becomes the connection's bytes, should the answer be 101; there where an upgrade was asked
    /// for.
    pub(crate) upgrade: Option<Upgrading>,
}

/// An answer for the codec to write.
pub(crate) struct WireResponse<B> {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body's length, where it is known; also where it is only told, as to HEAD.
    pub(crate) length: Option<u64>,
    /// Whether the connection is to end with it, over HTTP/1.
    pub(crate) close: bool,
    pub(crate) body: B,
}

/// A client's connection that may become a tunnel.
pub(crate) struct Upgrading(oneshot::Receiver<Begun>);

impl Upgrading {
    /// The connection, once the 101 was written; `None` where it was not.
    pub(crate) async fn finish(self) -> Option<Begun> {
        self.0.await.ok()
    }
}

/// Why a connection's bytes were not understood: what the client was told, and the refusal's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unparsed {
    /// The status that was sent; 0 where the connection was closed without an answer.
    pub(crate) status: u16,
    /// The stable code.
    pub(crate) code: &'static str,
    /// What the client may read.
    pub(crate) public: &'static str,
}
