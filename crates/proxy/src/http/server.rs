//! The server side of the wire: HTTP/1.1 and HTTP/2 from clients.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use demilune_core::Clock;
use demilune_wire::HeadLimits;
use http_body::Body;

use super::{Begun, Deadlines, Unparsed, WireError, WireRequest, WireResponse, h1, h2};
use crate::curfew::CurfewGuard;
use crate::timer::Timers;
use crate::worker::Tasks;

/// The most header fields of a request.
const HEADERS_LIMIT: usize = 100;

/// What is spoken on a connection, as ALPN or its first bytes settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What a connection needs besides its bytes.
pub(crate) struct Terms {
    pub(crate) protocol: Protocol,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timers: Timers,
    pub(crate) deadlines: Deadlines,
    /// For HTTP/2's preface, and for the frame behind it.
    pub(crate) preface: Duration,
    /// Size of a request's head, in bytes.
    pub(crate) head_size: usize,
    /// Called when no further request may begin.
    pub(crate) curfew: CurfewGuard,
    /// Where the tasks of HTTP/2 streams live.
    pub(crate) tasks: Tasks,
}

/// Serves one connection to its end. `exchange` answers each request; `refused` gives the answer
/// to what is no request, and writes it down.
///
/// Boxed: a connection of HTTP/1 should not carry the room for one of HTTP/2.
pub(crate) fn serve<'a, F, R, B>(
    begun: Begun,
    terms: Terms,
    exchange: F,
    refused: impl Fn(Unparsed) -> WireResponse<B> + 'a,
) -> Pin<Box<dyn Future<Output = ()> + 'a>>
where
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    match terms.protocol {
        Protocol::Http1 => {
            let Terms { timers, deadlines, head_size, curfew, .. } = terms;
            // A target has half of it at most: the fields need their room too.
            let line = head_size / 2;
            let limits = HeadLimits { line, size: head_size, fields: HEADERS_LIMIT };
            let serving = h1::Serving { timers, deadlines, limits, curfew: Some(curfew) };
            Box::pin(h1::serve(begun, serving, exchange, refused))
        }
        // What h2 refuses it has answered.
        Protocol::Http2 => Box::pin(async move {
            h2::serve(begun, terms, exchange, &|refusal| drop(refused(refusal))).await;
        }),
    }
}
