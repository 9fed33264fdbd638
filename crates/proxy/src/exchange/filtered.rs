//! An answer's body that hooks watch as it passes: its content coding undone, and each piece handed
//! from hook to hook before it is sent.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::pipeline::{Cut, ResponseChunks};
use demilune_core::{Clock, Denial, Stage};
use http::StatusCode;

use super::answer_body::{Incoming, undone};
use super::closing::{Closing, PANICKED};
use super::decode::{DecodeFailure, Decoder, Pulled};
use crate::http::WireError;
use crate::upstream::Lease;

/// A body under hooks.
pub(crate) struct Filtered {
    lease: Option<Lease>,
    idle: Duration,
    decoder: Decoder,
    chunks: ResponseChunks,
    clock: Arc<dyn Clock>,
    panicked: Box<dyn Fn()>,
    over: bool,
    /// Why we cut it off, where no hook did.
    denial: Option<Box<Denial>>,
}

impl Filtered {
    pub(super) fn new(
        incoming: Incoming,
        decoder: Decoder,
        chunks: ResponseChunks,
        closing: &Closing,
    ) -> Self {
        let Incoming { lease, idle, length: _, refusal: _ } = incoming;
        let (shared, id) = (Arc::clone(&closing.worker().shared), closing.id());
        Self {
            lease: Some(lease),
            idle,
            decoder,
            chunks,
            clock: Arc::clone(&shared.clock),
            panicked: Box::new(move || shared.telemetry.exchange_panicked(id)),
            over: false,
            denial: None,
        }
    }

    /// The next bytes for the client. An error that is `ours` is a cut of ours.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            let passed = match self.decoder.pull() {
                Err(failure) => return Poll::Ready(Some(Err(self.undone(failure)))),
                Ok(Pulled::Piece(piece)) => self.hooks(|chunks, clock| chunks.chunk(piece, clock)),
                Ok(Pulled::End) => {
                    self.over = true;
                    if let Some(lease) = self.lease.take() {
                        lease.release();
                    }
                    self.hooks(ResponseChunks::end)
                }
                Ok(Pulled::More) => match ready!(self.poll_upstream(cx)) {
                    Ok(()) => continue,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            };
            match passed {
                Err(Cut { code }) => {
                    return Poll::Ready(Some(Err(WireError::cut(code))));
                }
                Ok(bytes) if !bytes.is_empty() => return Poll::Ready(Some(Ok(bytes))),
                Ok(_) if self.over => return Poll::Ready(None),
                // Held back: the worker's other exchanges get their turn in between.
                Ok(_) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Runs the hooks. A panic in one of them costs this exchange, not the connection: the answer
    /// is cut off.
    fn hooks(
        &mut self,
        run: impl FnOnce(&mut ResponseChunks, &dyn Clock) -> Result<Bytes, Cut>,
    ) -> Result<Bytes, Cut> {
        let running = AssertUnwindSafe(|| run(&mut self.chunks, &*self.clock));
        std::panic::catch_unwind(running).unwrap_or_else(|_| {
            (self.panicked)();
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            self.denial = Some(Box::new(Denial::new(status, PANICKED, "")));
            Err(Cut { code: PANICKED })
        })
    }

    /// Gives the decoder what comes of the upstream.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), WireError>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(())) };
        let next = ready!(lease.connection.poll_data(cx, self.idle));
        Poll::Ready(match next {
            None => {
                self.decoder.end();
                Ok(())
            }
            Some(Ok(data)) => {
                self.decoder.push(data);
                Ok(())
            }
            Some(Err(error)) => Err(error),
        })
    }

    fn undone(&mut self, failure: DecodeFailure) -> WireError {
        let denial = self.denial.insert(undone(failure));
        WireError::cut(denial.code)
    }

    /// Writes down what was decided about it, now that it is over or was cut off.
    pub(super) fn close(self, closing: &mut Closing) {
        closing.exchange_mut().end_response_chunks(self.chunks);
        if let Some(denial) = self.denial {
            let by = if denial.code == PANICKED { "gateway" } else { "response" };
            closing.refuse(by, Stage::Response, *denial);
        }
    }
}
