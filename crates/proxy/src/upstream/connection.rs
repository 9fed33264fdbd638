//! A connection to an endpoint as an exchange uses it, whatever is spoken on it.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::Upload;
use super::pool::{PooledConnection, SharedConnection};
use crate::http::{Begun, Reply, SendFailure, Sending, UpstreamStream, WireError};

/// A connection that was opened.
pub(crate) enum Connected {
    Http1(Box<PooledConnection>),
    Http2(SharedConnection),
}

impl Connected {
    /// For one request; `None` where the endpoint takes none on it.
    pub(crate) fn begin(self) -> Option<Carried> {
        match self {
            Self::Http1(connection) => Some(Carried::Http1(connection)),
            Self::Http2(connection) => {
                connection.wire.stream().map(|stream| Carried::Http2(Box::new(stream)))
            }
        }
    }
}

/// What carries one request: a connection of its own, or one stream of a shared one.
pub(crate) enum Carried {
    Http1(Box<PooledConnection>),
    Http2(Box<UpstreamStream<Upload>>),
}

impl Carried {
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        sending: Sending<'_>,
        body: Upload,
    ) -> Result<Reply, Box<SendFailure<Upload>>> {
        match self {
            Self::Http1(connection) => connection.send(sending, body).await,
            // Boxed: HTTP/1 is the usual case, and should not carry what only HTTP/2 needs.
            Self::Http2(stream) => Box::pin(stream.send(sending, body)).await,
        }
    }

    /// The next piece of the answer's body; fails where nothing comes for `idle`.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        match self {
            Self::Http1(connection) => connection.poll_data(cx, idle),
            Self::Http2(stream) => stream.poll_data(cx, idle),
        }
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_over(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_over(),
            Self::Http2(stream) => stream.is_over(),
        }
    }

    /// How many bytes of the answer's body are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Http1(connection) => connection.left(),
            Self::Http2(stream) => stream.left(),
        }
    }

    /// The answer's trailers, at its end; those of HTTP/1 were dropped.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(stream) => stream.take_trailers(),
        }
    }

    /// The connection, for the protocol it was switched to; `None` where it is shared.
    pub(crate) fn into_begun(self) -> Option<Begun> {
        match self {
            Self::Http1(connection) => Some(connection.wire.into_begun()),
            Self::Http2(_) => None,
        }
    }
}
