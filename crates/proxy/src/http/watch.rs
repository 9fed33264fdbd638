//! Deadlines of a client's connection: idle, from a head's first byte to its end, and while it
//! takes nothing of what is written to it; and a patient close.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use demilune_core::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much of what a refused client still sends is read and thrown away before the connection is
/// closed, so that it gets to read its refusal instead of a reset (RFC 9112 section 9.6).
const LINGER_BYTES: usize = 256 * 1024;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// What a connection is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of a head.
    Head,
    /// Nothing of ours: an exchange is under way and has its own deadlines.
    Busy,
}

/// What the codec's user tells the connection, and the connection its user.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: AtomicU8,
    since: AtomicU64,
}

impl Progress {
    fn new(now: Duration) -> Self {
        Self { phase: AtomicU8::new(0), since: AtomicU64::new(nanoseconds(now)) }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        }
    }

    pub(crate) fn enter(&self, phase: Phase, now: Duration) {
        let number = match phase {
            Phase::Idle => 0,
            Phase::Head => 1,
            Phase::Busy => 2,
        };
        self.phase.store(number, Ordering::Relaxed);
        self.since.store(nanoseconds(now), Ordering::Relaxed);
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// Without a request.
    pub(crate) idle: Duration,
    /// For a head; `None` for HTTP/2, where bytes come between requests too.
    pub(crate) head: Option<Duration>,
    /// While it takes nothing of what is written to it.
    pub(crate) write: Duration,
    /// Bytes a second of an answer, on average, that it must take while it is waited for.
    pub(crate) least_rate: u64,
}

/// A client's connection under watch. A timer is set again only when it fires too early.
pub(crate) struct Watched<T> {
    inner: T,
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    deadlines: Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer may be set for a longer wait than the one that has begun.
    stale: bool,
    write_timer: Option<Pin<Box<Sleep>>>,
    linger: Option<(usize, Pin<Box<Sleep>>)>,
}

impl<T> Watched<T> {
    pub(crate) fn new(
        inner: T,
        clock: Arc<dyn Clock>,
        deadlines: Deadlines,
    ) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::new(clock.monotonic()));
        let shared = Arc::clone(&progress);
        let (timer, stale, write_timer, linger) = (None, false, None, None);
        (Self { inner, clock, progress, deadlines, timer, stale, write_timer, linger }, shared)
    }

    /// How long is left until the deadline of the phase; `None` where it has none.
    fn left(&self) -> Option<Duration> {
        let limit = match self.progress.phase() {
            Phase::Idle => self.deadlines.idle,
            Phase::Head => self.deadlines.head?,
            Phase::Busy => return None,
        };
        let since = Duration::from_nanos(self.progress.since.load(Ordering::Relaxed));
        Some((since + limit).saturating_sub(self.clock.monotonic()))
    }

    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if std::mem::take(&mut self.stale) && self.progress.phase() == Phase::Head {
            self.timer = None;
        }
        loop {
            let left = self.left();
            if left.is_some_and(|left| left.is_zero()) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "the client was too slow");
                return Poll::Ready(error);
            }
            // Nothing is due while an exchange is under way. The timer is set all the same: when
            // the exchange has ended, nobody polls again for the sake of the idle deadline.
            let wait = left.unwrap_or(self.deadlines.idle);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
            ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
    }
}

impl<T> Watched<T> {
    /// The result of a write, or the error that the client has taken nothing for too long.
    fn unless_stalled<R>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if result.is_ready() {
            self.write_timer = None;
            return result;
        }
        let limit = self.deadlines.write;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(result) => {
                let begun = buffer.filled().len() > before && self.deadlines.head.is_some();
                if begun && self.progress.phase() == Phase::Idle {
                    self.progress.enter(Phase::Head, self.clock.monotonic());
                    self.stale = true;
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(cx).map(Err),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.unless_stalled(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        self.unless_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            // TLS still has a word to say, which nobody may be reading.
            let shut = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.unless_stalled(cx, shut))?;
        }
        let (read, timer) =
            this.linger.get_or_insert_with(|| (0, Box::pin(tokio::time::sleep(LINGER_TIME))));
        let mut bytes = [0_u8; 4096];
        while *read < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut this.inner).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    *read += buffer.filled().len();
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return timer.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use demilune_core::Moment;

    use super::*;

    struct Standing;

    impl Clock for Standing {
        fn now(&self) -> Moment {
            Moment::default()
        }
    }

    /// Takes nothing and gives nothing, like TLS towards a client that reads no more.
    struct Stuck;

    impl AsyncRead for Stuck {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Stuck {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[test]
    fn a_client_that_takes_nothing_cannot_hold_up_the_close_either() {
        let limit = Duration::from_millis(20);
        let deadlines = Deadlines { idle: limit, head: Some(limit), write: limit, least_rate: 1 };
        let (mut io, _) = Watched::new(Stuck, Arc::new(Standing), deadlines);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let closed = runtime.block_on(async {
            let closing = tokio::io::AsyncWriteExt::shutdown(&mut io);
            tokio::time::timeout(limit * 50, closing).await
        });
        assert_eq!(closed.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
