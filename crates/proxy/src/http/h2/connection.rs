//! What the task of a connection, the tasks of its streams and its bytes share.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use demilune_core::Clock;
use smallvec::SmallVec;

use super::super::watch::Progress;
use super::super::{Phase, Unparsed};
use super::budget::{ResetBudget, Standing};
use super::frames::{Frame, FrameReader, GOAWAY, HEADERS, RST_STREAM};
use super::meter::{Flood, FrameMeter};

/// The most streams whose head has come and that h2 has not given us; it keeps far fewer.
const UNSEEN_LIMIT: usize = 1024;

/// REFUSED_STREAM (RFC 9113 section 7).
const REFUSED_STREAM: u32 = 7;
/// ENHANCE_YOUR_CALM.
const ENHANCE_YOUR_CALM: u32 = 11;

/// One connection.
pub(super) struct Shared {
    pub(super) clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    open: Cell<usize>,
    budget: RefCell<ResetBudget>,
    /// Streams that wait to begin.
    waiting: RefCell<Vec<Waker>>,
    meter: RefCell<FrameMeter>,
    written: RefCell<FrameReader>,
    /// Streams whose head has come, until h2 gives them to us or answers them itself.
    unseen: RefCell<SmallVec<[u32; 8]>>,
    /// What h2 refused by itself and nobody has been told of.
    refused: RefCell<Vec<Unparsed>>,
    /// Whether the client has sent a byte.
    touched: Cell<bool>,
    /// Why the connection is to end: its client is a flood.
    verdict: Cell<Option<&'static str>>,
    /// Why h2 ends it by itself.
    goodbye: Cell<Option<&'static str>>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    pub(super) fn new(clock: Arc<dyn Clock>, progress: Arc<Progress>) -> Rc<Self> {
        Rc::new(Self {
            clock,
            progress,
            open: Cell::new(0),
            budget: RefCell::default(),
            waiting: RefCell::default(),
            meter: RefCell::new(FrameMeter::new()),
            written: RefCell::new(FrameReader::of_server()),
            unseen: RefCell::default(),
            refused: RefCell::default(),
            touched: Cell::new(false),
            verdict: Cell::new(None),
            goodbye: Cell::new(None),
            waker: RefCell::default(),
        })
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Why the connection is to end; if it is not, whoever polls is woken when it is.
    pub(super) fn verdict(&self, cx: &Context<'_>) -> Option<&'static str> {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        self.verdict.get()
    }

    /// What the client did, where the connection ended for that.
    pub(super) fn reproach(&self) -> Option<&'static str> {
        self.verdict.get().or(self.goodbye.get())
    }

    /// Whether nothing more is read.
    pub(super) fn is_condemned(&self) -> bool {
        self.verdict.get().is_some()
    }

    fn condemn(&self, code: &'static str) {
        if self.verdict.get().is_none() {
            self.verdict.set(Some(code));
            if let Some(waker) = &*self.waker.borrow() {
                waker.wake_by_ref();
            }
        }
    }

    /// Bytes came from the client.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.touched.set(true);
        let opened = |stream| {
            let mut unseen = self.unseen.borrow_mut();
            if unseen.len() < UNSEEN_LIMIT {
                unseen.push(stream);
            }
        };
        let result = self.meter.borrow_mut().read(bytes, || self.now(), opened);
        if let Err(Flood(code)) = result {
            self.condemn(code);
        }
    }

    /// Bytes went to the client. What h2 answers by itself can be seen nowhere else.
    pub(super) fn wrote(&self, bytes: &[u8]) {
        self.written.borrow_mut().read(bytes, |frame| match frame.kind {
            HEADERS if self.seen(frame.stream) => self.refuse(431, "http.head_too_large"),
            RST_STREAM if self.seen(frame.stream) => match number(frame.payload, 0) {
                Some(REFUSED_STREAM) => self.refuse(0, "http2.streams"),
                _ => self.refuse(0, "http2.malformed"),
            },
            GOAWAY => {
                let before = self.goodbye.get();
                self.goodbye.set(before.or_else(|| goodbye(&frame)));
            }
            _ => {}
        });
    }

    /// A request was refused below the exchange.
    pub(super) fn refuse(&self, status: u16, code: &'static str) {
        if !self.is_condemned() {
            let public = "the request is malformed";
            self.refused.borrow_mut().push(Unparsed { status, code, public });
        }
    }

    /// What is to be told of.
    pub(super) fn refused(&self) -> Vec<Unparsed> {
        std::mem::take(&mut *self.refused.borrow_mut())
    }

    /// The stream was given to us, or answered. True where it is the first time.
    pub(super) fn seen(&self, stream: u32) -> bool {
        let mut unseen = self.unseen.borrow_mut();
        let at = unseen.iter().position(|other| *other == stream);
        at.map(|at| unseen.remove(at)).is_some()
    }

    /// Whether a stream is open.
    pub(super) fn is_busy(&self) -> bool {
        self.open.get() > 0
    }

    pub(super) fn was_touched(&self) -> bool {
        self.touched.get()
    }

    /// Whether the client's SETTINGS have come.
    pub(super) fn has_begun(&self) -> bool {
        self.meter.borrow().has_begun()
    }

    /// The last stream that began.
    pub(super) fn last_stream(&self) -> u32 {
        self.meter.borrow().last_stream()
    }

    /// A piece of an answer was handed over; `cut` where the window made it smaller.
    pub(super) fn sent(&self, bytes: usize, cut: bool) {
        self.meter.borrow_mut().sent(bytes, cut);
    }

    /// Whether a stream may begin its exchange; it then has. If not, whoever polls is woken when
    /// it may. True in `Err` where time alone can make room.
    pub(super) fn begin(&self, cx: &Context<'_>) -> Result<(), bool> {
        let mut budget = self.budget.borrow_mut();
        if budget.begin(self.now()) {
            return Ok(());
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Err(budget.owes())
    }

    pub(super) fn answered(&self) {
        self.budget.borrow_mut().answered();
        self.make_room();
    }

    pub(super) fn completed(&self) {
        self.budget.borrow_mut().completed();
        self.make_room();
    }

    /// A stream was reset; `provoked` where by us, for what the client sent.
    pub(super) fn lost(&self, standing: Standing, provoked: bool) {
        if self.is_condemned() {
            return;
        }
        if self.budget.borrow_mut().lost(standing, self.now()) {
            self.condemn(if provoked { "http2.provoked_reset" } else { "http2.rapid_reset" });
        }
        self.make_room();
    }

    fn make_room(&self) {
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

/// The four bytes from `at` on.
fn number(payload: &[u8], at: usize) -> Option<u32> {
    let bytes = payload.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Why h2 ends a connection by itself: the debug data behind the reason says which of its limits
/// was passed.
fn goodbye(frame: &Frame<'_>) -> Option<&'static str> {
    let reason = number(frame.payload, 4)?;
    let debug = frame.payload.get(8..).unwrap_or_default();
    match (reason, debug) {
        (0, _) => None,
        (ENHANCE_YOUR_CALM, b"too_many_resets") => Some("http2.rapid_reset"),
        (ENHANCE_YOUR_CALM, b"too_many_internal_resets") => Some("http2.provoked_reset"),
        (ENHANCE_YOUR_CALM, b"too_many_continuations") => Some("http2.continuation_flood"),
        (ENHANCE_YOUR_CALM, b"too_many_data_frames") => Some("http2.data_flood"),
        (ENHANCE_YOUR_CALM, b"header_list_way_too_large") => Some("http2.header_bomb"),
        (ENHANCE_YOUR_CALM, _) => Some("http2.control_flood"),
        _ => Some("http2.protocol"),
    }
}

/// One open stream: keeps its connection busy until it is dropped.
pub(super) struct Open(Rc<Shared>);

impl Open {
    pub(super) fn new(shared: &Rc<Shared>) -> Self {
        shared.open.set(shared.open.get() + 1);
        shared.progress.enter(Phase::Busy, shared.now());
        Self(Rc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let open = self.0.open.get().saturating_sub(1);
        self.0.open.set(open);
        if open == 0 {
            self.0.progress.enter(Phase::Idle, self.0.now());
        }
    }
}
