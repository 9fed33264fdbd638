//! Connections to endpoints over HTTP/2, each shared by requests of one worker.
//!
//! A connection is one that takes requests only once the endpoint's SETTINGS have come: so that its
//! limit on streams is kept from the first one on, and nothing is sent to what speaks another
//! protocol. A task drives it until the last of its users is gone.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::client::{Builder, Connection, SendRequest};
use bytes::Bytes;
use tokio::sync::Notify;

use super::SEND_BUFFER;
use super::client_stream::{FIELDS_LIMIT, HEAD_SIZE, UpstreamStream};
use crate::http::stream::Stream;
use crate::timer::Timers;
use crate::worker::Tasks;

/// The most requests at once on one connection, whatever the endpoint allows.
const STREAMS_LIMIT: u16 = 100;
/// How much of an answer an endpoint may send ahead of what its client takes, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// As much for all streams together: a client that takes nothing of its answer must not hold up
/// the answers of others.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_LIMIT as u32;
/// How long an endpoint may take to end a connection that is not needed any more.
const FAREWELL: Duration = Duration::from_secs(1);

/// A connection to an endpoint.
#[derive(Clone)]
pub(crate) struct Http2Connection(Rc<Shared>);

struct Shared {
    send: SendRequest<Bytes>,
    timers: Timers,
    /// Whether it is within TLS.
    secure: bool,
    open: Cell<usize>,
    /// When the last request ended, or it was opened.
    idle_since: Cell<Duration>,
    /// How many requests have begun on it.
    served: Cell<u32>,
    /// Whether it is to get no further requests.
    retired: Cell<bool>,
    /// Told when nobody uses it any more.
    unused: Rc<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.unused.notify_one();
    }
}

impl Http2Connection {
    /// Begins to speak HTTP/2, and waits for the endpoint's SETTINGS. The connection is driven by
    /// one of `tasks`.
    ///
    /// # Errors
    /// Where the connection ends before, or what comes is not HTTP/2.
    pub(crate) async fn open(
        stream: Stream,
        timers: &Timers,
        tasks: &Tasks,
    ) -> Result<Self, String> {
        let secure = matches!(stream, Stream::Tls(_));
        let opened = builder().handshake::<_, Bytes>(stream).await;
        let (send, mut connection) = opened.map_err(|error| words(&error))?;
        std::future::poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err("the connection ended".to_owned())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(words(&error))),
            // None before the SETTINGS.
            Poll::Pending if send.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let unused = Rc::<Notify>::default();
        tasks.spawn(drive(connection, Rc::clone(&unused)));
        Ok(Self(Rc::new(Shared {
            send,
            timers: timers.clone(),
            secure,
            open: Cell::new(0),
            idle_since: Cell::new(timers.now()),
            served: Cell::new(0),
            retired: Cell::new(false),
            unused,
        })))
    }

    /// A stream for one request; `None` where it takes no more at this time.
    pub(crate) fn stream<B>(&self) -> Option<UpstreamStream<B>> {
        let open = self.0.open.get();
        let most = usize::from(STREAMS_LIMIT).min(self.0.send.current_max_send_streams());
        if !self.is_usable() || open >= most {
            return None;
        }
        self.0.open.set(open + 1);
        self.0.served.set(self.0.served.get().saturating_add(1));
        Some(UpstreamStream::new(Slot(self.clone())))
    }

    /// Whether requests may still begin on it: it is open, and no GOAWAY has come.
    pub(crate) fn is_usable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        let ready = self.0.send.clone().poll_ready(&mut cx);
        !self.0.retired.get() && matches!(ready, Poll::Ready(Ok(())))
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.open.get() > 0
    }

    /// Since when no request is under way; `None` where one is.
    pub(crate) fn idle_since(&self) -> Option<Duration> {
        (!self.is_busy()).then(|| self.0.idle_since.get())
    }

    /// How many requests have begun on it.
    pub(crate) fn served(&self) -> u32 {
        self.0.served.get()
    }

    /// Gets no further requests; those under way finish.
    pub(crate) fn retire(&self) {
        self.0.retired.set(true);
    }
}

/// The place of one stream among those of its connection.
pub(super) struct Slot(Http2Connection);

impl Slot {
    pub(super) fn send(&self) -> SendRequest<Bytes> {
        self.0.0.send.clone()
    }

    pub(super) fn timers(&self) -> &Timers {
        &self.0.0.timers
    }

    pub(super) fn is_secure(&self) -> bool {
        self.0.0.secure
    }

    pub(super) fn retire(&self) {
        self.0.retire();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Shared { open, idle_since, timers, .. } = &*self.0.0;
        open.set(open.get().saturating_sub(1));
        idle_since.set(timers.now());
    }
}

fn builder() -> Builder {
    // Each field is counted with 32 bytes more (RFC 9113 section 6.5.2).
    let fields = FIELDS_LIMIT.saturating_mul(32);
    let list = u32::try_from(HEAD_SIZE.saturating_add(fields)).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(0)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(list)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Until the endpoint ends the connection, or nobody uses it any more.
async fn drive(connection: Connection<Stream, Bytes>, unused: Rc<Notify>) {
    let unused = async {
        unused.notified().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        // Whoever waits for an answer learns of its failure there.
        _ = connection => {}
        () = unused => {}
    }
}

/// What went wrong, in words of the protocol: h2's own may quote what the endpoint sent.
pub(super) fn words(error: &::h2::Error) -> String {
    match (error.reason(), error.get_io()) {
        (Some(reason), _) if error.is_library() => {
            format!("it broke a rule of HTTP/2: {}", reason.description())
        }
        (Some(reason), _) => format!("it said: {}", reason.description()),
        (None, Some(io)) => io.to_string(),
        (None, None) => "the connection takes no request".to_owned(),
    }
}
