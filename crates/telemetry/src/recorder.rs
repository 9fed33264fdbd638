//! One worker's way to tell of its exchanges.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::Arc;

use demilune_core::record::Record;

use crate::metrics::Cells;
use crate::redact::redact;
use crate::stamp::Stamp;
use crate::telemetry::Telemetry;
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
    request_id: String,
    client: String,
}

impl Recorder {
    pub(crate) fn new(telemetry: Arc<Telemetry>, buffer: Arc<Buffer>) -> Self {
        Self { telemetry, buffer, own: RefCell::default() }
    }

    /// Counts a closed exchange, writes its access line and the lines of its events. Does not
    /// wait and does not fail.
    pub fn record(&self, record: &Record<'_>) {
        let mut own = self.own.borrow_mut();
        let Own { cells, stamp, request_id, client } = &mut *own;
        cells.count(self.telemetry.metrics(), record);
        request_id.clear();
        client.clear();
        // Writing to a string does not fail.
        let _ = write!(request_id, "{}", record.id);
        let _ = write!(client, "{}", record.downstream.address());
        let time = stamp.text(record.started.wall);
        let scrubbed = Scrubbed::new(record, time, request_id, client);
        self.buffer.append(|lines| {
            lines.push(&access::Line::new(record, &scrubbed));
            for event in events::events(record) {
                lines.push(&events::Line::new(&event, record, &scrubbed));
            }
        });
    }
}

/// What the lines of one exchange have in common, as text; what came from outside is redacted.
pub(crate) struct Scrubbed<'a> {
    pub(crate) time: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) client: &'a str,
    pub(crate) method: Cow<'a, str>,
    pub(crate) host: Cow<'a, str>,
    pub(crate) path: Cow<'a, str>,
    pub(crate) user_agent: Cow<'a, str>,
    pub(crate) consumer: Option<Cow<'a, str>>,
}

impl<'a> Scrubbed<'a> {
    fn new(record: &Record<'a>, time: &'a str, request_id: &'a str, client: &'a str) -> Self {
        // The query is not part of the record; should one come along with a path as received, it
        // still is not written.
        let path = record.path.split('?').next().unwrap_or_default();
        Self {
            time,
            request_id,
            client,
            method: redact(record.method),
            host: redact(record.host),
            path: redact(path),
            user_agent: redact(beginning(record.user_agent, USER_AGENT_LIMIT)),
            // A subject comes from a token.
            consumer: record.identity.map(|identity| redact(&identity.subject)),
        }
    }
}

/// At most `limit` bytes, no character cut in two.
fn beginning(text: &str, limit: usize) -> &str {
    (0..=limit).rev().find_map(|end| text.get(..end.min(text.len()))).unwrap_or_default()
}
