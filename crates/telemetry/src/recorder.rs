//! One worker's way to tell of its exchanges.

use std::cell::RefCell;
use std::sync::Arc;

use demilune_core::record::Record;

use crate::json::Outside;
use crate::metrics::Cells;
use crate::stamp::Stamp;
use crate::telemetry::Telemetry;
use crate::verdict::{Refusal, refusal};
use crate::writer::Buffer;
use crate::{access, events};

/// The most bytes of a `User-Agent` that are logged.
const USER_AGENT_LIMIT: usize = 256;

/// Records the exchanges of one worker. It may move to the worker's thread, but belongs to one
/// thread at a time: that is what makes its counters and its buffer its own.
#[derive(Debug)]
pub struct Recorder {
    telemetry: Arc<Telemetry>,
    buffer: Arc<Buffer>,
    own: RefCell<Own>,
}

#[derive(Debug, Default)]
struct Own {
    cells: Cells,
    stamp: Stamp,
}

impl Recorder {
    pub(crate) fn new(telemetry: Arc<Telemetry>, buffer: Arc<Buffer>) -> Self {
        Self { telemetry, buffer, own: RefCell::default() }
    }

    /// Counts a closed exchange, writes its access line and the lines of its events. Does not
    /// wait and does not fail.
    pub fn record(&self, record: &Record<'_>) {
        let mut own = self.own.borrow_mut();
        let Own { cells, stamp } = &mut *own;
        let shared = Shared::new(record, stamp.text(record.started.wall));
        cells.count(self.telemetry.metrics(), record, shared.refusal.as_ref());
        self.buffer.append(|lines| {
            lines.write(|line| access::write(line, record, &shared));
            for event in events::events(record) {
                lines.write(|line| events::write(line, &event, record, &shared));
            }
        });
    }
}

/// What the lines of one exchange have in common; what came from outside is redacted.
pub(crate) struct Shared<'a> {
    pub(crate) time: &'a str,
    pub(crate) method: Outside<'a>,
    pub(crate) host: Outside<'a>,
    pub(crate) path: Outside<'a>,
    pub(crate) user_agent: Outside<'a>,
    pub(crate) consumer: Option<Outside<'a>>,
    pub(crate) refusal: Option<Refusal<'a>>,
}

impl<'a> Shared<'a> {
    fn new(record: &Record<'a>, time: &'a str) -> Self {
        Self {
            time,
            method: Outside::new(record.method),
            host: Outside::new(record.host),
            // The query is not part of the record; should one come along with a path as received,
            // it still is not written.
            path: Outside::path(record.path),
            user_agent: Outside::new(beginning(record.user_agent, USER_AGENT_LIMIT)),
            // A subject comes from a token.
            consumer: record.identity.map(|identity| Outside::new(&identity.subject)),
            refusal: refusal(record.trail),
        }
    }
}

/// At most `limit` bytes, no character cut in two.
fn beginning(text: &str, limit: usize) -> &str {
    (0..=limit).rev().find_map(|end| text.get(..end.min(text.len()))).unwrap_or_default()
}
