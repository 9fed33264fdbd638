//! HTTP/2 with prior knowledge (RFC 9113 section 3.3): a client of a plain listener says so by
//! its first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::{Begun, Protocol};
use super::frames::PREFACE;
use crate::curfew::Curfew;

/// Reads until it is clear what the client speaks; no longer than until `curfew`. What was read
/// stands before the rest.
///
/// # Errors
/// Where the connection fails or ends before, or nobody is to speak any more.
pub(crate) async fn protocol_of(begun: &mut Begun, curfew: &Curfew) -> io::Result<Protocol> {
    let mut first = First { bytes: [0; PREFACE.len()], read: 0 };
    let protocol = std::future::poll_fn(|cx| first.poll(cx, &mut begun.stream, curfew)).await?;
    begun.before = bytes::Bytes::copy_from_slice(first.so_far());
    Ok(protocol)
}

/// What was read of the first bytes.
struct First {
    bytes: [u8; PREFACE.len()],
    read: usize,
}

impl First {
    fn so_far(&self) -> &[u8] {
        self.bytes.get(..self.read).unwrap_or_default()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
        curfew: &Curfew,
    ) -> Poll<io::Result<Protocol>> {
        loop {
            if !PREFACE.starts_with(self.so_far()) {
                return Poll::Ready(Ok(Protocol::Http1));
            }
            if self.read == PREFACE.len() {
                return Poll::Ready(Ok(Protocol::Http2));
            }
            if curfew.is_called(cx) && self.read == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            let mut buffer = ReadBuf::new(self.bytes.get_mut(self.read..).unwrap_or_default());
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            let more = buffer.filled().len();
            if more == 0 {
                return Poll::Ready(match self.read {
                    0 => Err(io::ErrorKind::UnexpectedEof.into()),
                    // HTTP/1 says what is wrong with it.
                    _ => Ok(Protocol::Http1),
                });
            }
            self.read += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// What is found in `bytes`, and how much was read for it.
    fn found(mut bytes: &[u8]) -> (Option<Protocol>, usize) {
        let mut first = First { bytes: [0; PREFACE.len()], read: 0 };
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(found) = first.poll(&mut cx, &mut bytes, &Curfew::default()) else {
            return (None, first.read);
        };
        (found.ok(), first.read)
    }

    #[test]
    fn the_first_bytes_decide() {
        let whole = [PREFACE, b"more"].concat();
        assert_eq!(found(&whole), (Some(Protocol::Http2), PREFACE.len()));
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nSN\r\n", b"PRI", b"x"]
        {
            let read = bytes.len().min(PREFACE.len());
            assert_eq!(found(bytes), (Some(Protocol::Http1), read));
        }
        assert_eq!(found(b""), (None, 0));
    }
}
