//! Bytes on their way out: a head and the first piece of a body leave in one write, and a large
//! piece is not copied.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use demilune_wire::write_chunk_head;
use tokio::io::AsyncWrite;

use crate::http::stream::Stream;

/// A piece of a body up to this size, in bytes, is copied behind its head: one slice is cheaper to
/// write than two.
const COPIED: usize = 4096;
/// How much of small pieces is gathered before they are written, in bytes.
const HEAD_LIMIT: usize = 16 * 1024;
/// What ends a body of chunks (RFC 9112 section 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// What is to be written: `head`, then `body`, then `tail`.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) head: Vec<u8>,
    sent: usize,
    body: Bytes,
    tail: &'static [u8],
    /// Whether TLS may still hold some of what was written.
    held: bool,
}

impl Outbox {
    /// Whether all has left.
    pub(super) fn is_empty(&self) -> bool {
        self.is_written() && !self.held
    }

    fn is_written(&self) -> bool {
        self.sent == self.head.len() && self.body.is_empty() && self.tail.is_empty()
    }

    /// Whether another piece can be put in.
    pub(super) fn takes(&self) -> bool {
        self.body.is_empty() && self.tail.is_empty() && self.head.len() < HEAD_LIMIT
    }

    /// Puts a piece of a body in. Only while it [`takes`](Self::takes) one.
    pub(super) fn put(&mut self, data: Bytes, chunked: bool) {
        if data.is_empty() {
            return;
        }
        if chunked {
            write_chunk_head(&mut self.head, data.len());
        }
        let end: &[u8] = if chunked { b"\r\n" } else { b"" };
        if data.len() <= COPIED {
            self.head.extend_from_slice(&data);
            self.head.extend_from_slice(end);
        } else {
            self.body = data;
            self.tail = end;
        }
    }

    /// Puts the end of a chunked body in.
    pub(super) fn put_last_chunk(&mut self) {
        if self.body.is_empty() {
            self.head.extend_from_slice(LAST_CHUNK);
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
    }

    /// Writes until all is written. `progressed` is told of each write how
    /// many bytes it took, and may end it.
    pub(super) fn poll_write(
        &mut self,
        stream: &mut Stream,
        cx: &mut Context<'_>,
        mut progressed: impl FnMut(usize) -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        while !self.is_written() {
            let head = self.head.get(self.sent..).unwrap_or_default();
            let written = if self.body.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, head))?
            } else {
                let slices =
                    [IoSlice::new(head), IoSlice::new(&self.body), IoSlice::new(self.tail)];
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
            self.held = matches!(stream, Stream::Tls(_));
            progressed(written)?;
        }
        if !self.head.is_empty() {
            // Nothing is held while a connection idles.
            *self = Self { held: self.held, ..Self::default() };
        }
        if self.held {
            ready!(Pin::new(stream).poll_flush(cx))?;
            self.held = false;
        }
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let of_head = written.min(self.head.len() - self.sent);
        self.sent += of_head;
        written -= of_head;
        let of_body = written.min(self.body.len());
        self.body.advance(of_body);
        written -= of_body;
        self.tail = self.tail.get(written..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(outbox: &Outbox) -> Vec<u8> {
        let head = outbox.head.get(outbox.sent..).unwrap_or_default();
        [head, &outbox.body, outbox.tail].concat()
    }

    #[test]
    fn pieces_are_framed_and_leave_in_order_however_little_is_taken() {
        for size in [1, COPIED, COPIED + 1] {
            let mut outbox = Outbox::default();
            outbox.head.extend_from_slice(b"head\r\n");
            outbox.put(Bytes::from(vec![b'x'; size]), true);
            let whole = all(&outbox);
            let end = format!("head\r\n{size:x}\r\n{}\r\n", "x".repeat(size));
            assert_eq!(whole, end.as_bytes());
            for taken in 1..=whole.len() {
                outbox.advance(1);
                assert_eq!(all(&outbox), &whole[taken..]);
            }
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn an_empty_piece_is_no_last_chunk() {
        let mut outbox = Outbox::default();
        outbox.put(Bytes::new(), true);
        assert!(outbox.is_empty());
        outbox.put_last_chunk();
        assert_eq!(all(&outbox), LAST_CHUNK);
    }
}
