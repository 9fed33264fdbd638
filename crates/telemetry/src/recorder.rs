//! One worker's way to tell of its exchanges.

use std::cell::RefCell;
use std::sync::Arc;

use demilune_core::record::Record;

use crate::json::{Json, Text, closer};
use crate::metrics::{Cells, Written};
use crate::scan::Joined;
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
    texts: Joined,
    trail: Vec<u8>,
}

impl Recorder {
    pub(crate) fn new(telemetry: Arc<Telemetry>, buffer: Arc<Buffer>) -> Self {
        Self { telemetry, buffer, own: RefCell::default() }
    }

    /// Counts a closed exchange, writes its access line and the lines of its events. Does not
    /// wait and does not fail.
    pub fn record(&self, record: &Record<'_>) {
        let mut own = self.own.borrow_mut();
        let Own { cells, stamp, texts, trail } = &mut *own;
        let (metrics, refusal) = (self.telemetry.metrics(), refusal(record.trail));
        cells.count(metrics, record, refusal.as_ref());
        trail.clear();
        cells.count_steps(metrics, record.trail.steps(), &mut Json::new(trail));
        let shared = Shared {
            time: stamp.bytes(record.started.wall),
            written: cells.written(record),
            trail,
            refusal,
            outside: Outside::new(record, texts),
        };
        self.buffer.append(|lines| {
            lines.write(|line| access::write(line, record, &shared));
            for event in events::with_refusal(record, refusal) {
                lines.write(|line| events::write(line, &event, record, &shared));
            }
        });
    }
}

/// What the lines of one exchange have in common.
pub(crate) struct Shared<'a> {
    pub(crate) time: &'a [u8],
    pub(crate) written: Written<'a>,
    /// The steps as the access line shows them.
    pub(crate) trail: &'a [u8],
    pub(crate) refusal: Option<Refusal<'a>>,
    pub(crate) outside: Outside<'a>,
}

/// What came from outside, redacted.
pub(crate) struct Outside<'a> {
    pub(crate) method: Text<'a>,
    pub(crate) host: Text<'a>,
    pub(crate) path: Text<'a>,
    pub(crate) user_agent: Text<'a>,
    /// A subject comes from a token.
    pub(crate) consumer: Option<Text<'a>>,
}

impl<'a> Outside<'a> {
    fn new(record: &Record<'a>, texts: &mut Joined) -> Self {
        let Record { method, host, mut path, .. } = *record;
        let user_agent = beginning(record.user_agent, USER_AGENT_LIMIT);
        let consumer = record.identity.map(|identity| &*identity.subject);
        texts.clear();
        for text in [method, host, path, user_agent, consumer.unwrap_or_default()] {
            texts.push(text);
        }
        let text = if texts.any(closer) {
            // The query is not part of the record; should one come along with a path as received,
            // it still is not written.
            path = path.split('?').next().unwrap_or_default();
            Text::outside
        } else {
            Text::plain
        };
        Self {
            method: text(method),
            host: text(host),
            path: text(path),
            user_agent: text(user_agent),
            consumer: consumer.map(text),
        }
    }
}

/// At most `limit` bytes, no character cut in two.
fn beginning(text: &str, limit: usize) -> &str {
    (0..=limit).rev().find_map(|end| text.get(..end.min(text.len()))).unwrap_or_default()
}
