//! The client side of the wire: HTTP/1.1 to upstreams.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::error::{Side, WireError};
use super::{ReplyBody, Upgrading};
use crate::worker::Tasks;

/// The most header fields of an answer.
const HEADERS_LIMIT: usize = 128;
/// Size of an answer's head, in bytes.
const HEAD_SIZE: usize = 64 * 1024;

/// A connection to an endpoint, for one request at a time.
pub(crate) struct ClientConnection<B> {
    sender: http1::SendRequest<B>,
}

/// The head of an answer, with its body to be read.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ReplyBody,
    pub(crate) upgrade: Upgrading,
}

/// A request that got no answer.
pub(crate) struct SendFailure<B> {
    /// The request, where none of it was written: it may be sent elsewhere.
    pub(crate) unsent: Option<Request<B>>,
    pub(crate) error: WireError,
}

impl<B> ClientConnection<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    /// Takes over an open connection; its reading and writing runs as a task of the worker.
    pub(crate) async fn open<T>(io: T, tasks: &Tasks) -> Result<Self, WireError>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_LIMIT)
            .max_buf_size(HEAD_SIZE)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| WireError::from_hyper(Side::Upstream, &error))?;
        tasks.spawn(async move {
            // Its failure reaches whoever waits for an answer.
            let _ = connection.with_upgrades().await;
        });
        Ok(Self { sender })
    }

    /// Whether a request can be sent now.
    pub(crate) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether it will never be ready again.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(&mut self, request: Request<B>) -> Result<Reply, Box<SendFailure<B>>> {
        if let Err(error) = self.sender.ready().await {
            let error = WireError::from_hyper(Side::Upstream, &error);
            return Err(Box::new(SendFailure { unsent: Some(request), error }));
        }
        match self.sender.try_send_request(request).await {
            Ok(mut response) => {
                let upgrade = Upgrading(hyper::upgrade::on(&mut response));
                let (parts, body) = response.into_parts();
                let body = ReplyBody(body);
                Ok(Reply { status: parts.status, headers: parts.headers, body, upgrade })
            }
            Err(mut failure) => {
                let unsent = failure.take_message();
                let error = WireError::from_hyper(Side::Upstream, failure.error());
                Err(Box::new(SendFailure { unsent, error }))
            }
        }
    }
}
