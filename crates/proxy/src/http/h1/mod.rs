//! HTTP/1.1 on both sides, on the strict codec of the `wire` crate. One task carries a client's
//! connection, the exchange on it, and the upstream connection that the exchange borrows.

mod client;
mod inbound;
mod outbox;
mod server;

pub(super) use client::{INTERIM_LIMIT, means_a_body, not_as_declared, stalled, unexpected};
pub(crate) use client::{Reply, STALLED, SendFailure, Sending, UpstreamConnection};
pub(super) use server::IncomingBody;
pub(crate) use server::{Serving, serve};

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, ReadBuf};

use super::stream::Stream;

/// How much is read at once where a head may come, in bytes; a TLS record holds as much.
const HEAD_PIECE: usize = 16 * 1024;

thread_local! {
    /// Where heads arrive: so that no connection holds a buffer while it waits.
    static ARRIVALS: RefCell<Vec<u8>> = RefCell::new(vec![0; HEAD_PIECE]);
}

/// Reads what is there, and appends it to `buffer`, which takes no more room than it needs.
fn read_head(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    ARRIVALS.with_borrow_mut(|arrivals| {
        let mut read = ReadBuf::new(arrivals);
        ready!(Pin::new(stream).poll_read(cx, &mut read))?;
        buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}
