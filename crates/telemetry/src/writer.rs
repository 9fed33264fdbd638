//! From the workers' buffers to the sink: one thread that empties them.
//!
//! A worker appends its lines to a buffer that nobody else writes to; every [`INTERVAL`], or when
//! a buffer has grown, the thread swaps the buffers for empty ones and writes what was in them. A
//! sink that blocks or fails never holds a worker up: beyond [`BUFFER_LIMIT`] lines are dropped,
//! and a line says how many as soon as lines get through again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use demilune_core::time::Clock;
use prometheus_client::metrics::counter::Counter;
use serde::Serialize;

use crate::json::Json;
use crate::lock::lock;
use crate::log::{Level, Line};
use crate::stamp::Stamp;

/// How much one buffer holds before lines are dropped.
pub(crate) const BUFFER_LIMIT: usize = 8 << 20;
/// A buffer that has grown to this is emptied at once.
const BUFFER_FULL_ENOUGH: usize = 256 << 10;
/// A buffer that once grew beyond this is not kept.
const BUFFER_KEPT: usize = 1 << 20;
const INTERVAL: Duration = Duration::from_millis(50);
/// How long the last lines may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long a sink that does not block may say that it would.
const WOULD_BLOCK: (u32, Duration) = (500, Duration::from_millis(10));

/// Lines of one worker that the sink has not got yet.
#[derive(Debug)]
pub(crate) struct Buffer {
    lines: Mutex<Lines>,
    dropped: Counter,
    writer: Thread,
}

/// The lines themselves.
#[derive(Debug)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl Buffer {
    /// Lets `append` push lines.
    pub(crate) fn append(&self, append: impl FnOnce(&mut Lines)) {
        let mut lines = lock(&self.lines);
        let (length, dropped) = (lines.bytes.len(), lines.dropped);
        append(&mut lines);
        let grown = length < BUFFER_FULL_ENOUGH && lines.bytes.len() >= BUFFER_FULL_ENOUGH;
        let lost = lines.dropped - dropped;
        drop(lines);
        if lost > 0 {
            self.dropped.inc_by(lost);
        }
        if grown {
            self.writer.unpark();
        }
    }
}

impl Lines {
    /// Adds the line that `write` writes, or drops it where there is no room.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Json<'_>)) {
        if self.bytes.len() < self.limit {
            write(&mut Json::new(&mut self.bytes));
            self.bytes.push(b'\n');
        } else {
            self.dropped += 1;
        }
    }

    /// Adds one line, or drops it where there is no room.
    pub(crate) fn push(&mut self, line: &impl Serialize) {
        let start = self.bytes.len();
        let written = start < self.limit && serde_json::to_writer(&mut self.bytes, line).is_ok();
        if written {
            self.bytes.push(b'\n');
        } else {
            self.bytes.truncate(start);
            self.dropped += 1;
        }
    }
}

/// The thread that writes, and what it shares with the buffers.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Thread,
}

#[derive(Debug)]
struct Shared {
    buffers: Mutex<Vec<Arc<Buffer>>>,
    closing: AtomicBool,
    ended: (Mutex<bool>, Condvar),
    dropped: Counter,
}

impl Writer {
    /// Starts the thread. `dropped` counts lines lost, `errors` failures of the sink.
    pub(crate) fn start(
        sink: Box<dyn Write + Send>,
        clock: Arc<dyn Clock>,
        dropped: Counter,
        errors: Counter,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            buffers: Mutex::default(),
            closing: AtomicBool::new(false),
            ended: (Mutex::new(false), Condvar::new()),
            dropped,
        });
        let mut output = Output {
            sink,
            clock,
            errors,
            shared: Arc::clone(&shared),
            spare: Vec::new(),
            lost: 0,
            torn: false,
        };
        let builder = thread::Builder::new().name("demilune-log".to_owned());
        let handle = builder.spawn(move || output.run())?;
        Ok(Self { shared, thread: handle.thread().clone() })
    }

    /// A new buffer that the thread will empty until its owner drops it.
    pub(crate) fn buffer(&self, limit: usize) -> Arc<Buffer> {
        let buffer = Arc::new(Buffer {
            lines: Mutex::new(Lines { bytes: Vec::new(), limit, dropped: 0 }),
            dropped: self.shared.dropped.clone(),
            writer: self.thread.clone(),
        });
        lock(&self.shared.buffers).push(Arc::clone(&buffer));
        buffer
    }

    /// Writes what is buffered and ends the thread; gives up where the sink takes longer than
    /// [`FAREWELL`]. Lines appended later are lost.
    pub(crate) fn shutdown(&self) {
        self.shared.closing.store(true, Ordering::Release);
        self.thread.unpark();
        let (ended, changed) = &self.shared.ended;
        // A panic of the sink has been told of; there is nothing left to wait for.
        drop(changed.wait_timeout_while(lock(ended), FAREWELL, |ended| !*ended));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The thread's own side.
struct Output {
    sink: Box<dyn Write + Send>,
    clock: Arc<dyn Clock>,
    errors: Counter,
    shared: Arc<Shared>,
    spare: Vec<u8>,
    /// Lines lost that no line has told of yet.
    lost: u64,
    /// Whether the sink got the beginning of a line but not its end.
    torn: bool,
}

impl Output {
    fn run(&mut self) {
        let _farewell = Farewell(Arc::clone(&self.shared));
        loop {
            let closing = self.shared.closing.load(Ordering::Acquire);
            self.round(closing);
            if closing {
                return;
            }
            thread::park_timeout(INTERVAL);
        }
    }

    /// Empties all buffers once.
    fn round(&mut self, last: bool) {
        let mut buffers = Vec::new();
        lock(&self.shared.buffers).retain(|buffer| {
            // Without an owner it gets no more lines: this is its last time.
            let owned = Arc::strong_count(buffer) > 1;
            buffers.push(Arc::clone(buffer));
            owned
        });
        let mut through = false;
        let mut bytes = std::mem::take(&mut self.spare);
        for buffer in buffers {
            bytes.clear();
            let mut lines = lock(&buffer.lines);
            std::mem::swap(&mut lines.bytes, &mut bytes);
            self.lost += std::mem::take(&mut lines.dropped);
            drop(lines);
            if !bytes.is_empty() {
                through = self.write(&bytes);
            }
            if bytes.capacity() > BUFFER_KEPT {
                bytes = Vec::new();
            }
        }
        self.spare = bytes;
        if self.lost > 0 && (through || last) {
            self.tell_lost();
        }
        if through && self.sink.flush().is_err() {
            self.errors.inc();
        }
    }

    fn tell_lost(&mut self) {
        let mut stamp = Stamp::default();
        let lost = self.lost.to_string();
        let fields = [("lines", lost.as_str())];
        let message = "lines were lost: the log's sink was too slow or failed";
        let time = stamp.text(self.clock.now().wall);
        let line = Line::new(time, Level::Warn, "telemetry.lines_lost", message, &fields);
        let Ok(mut bytes) = serde_json::to_vec(&line) else { return };
        bytes.push(b'\n');
        match self.put(&bytes) {
            Ok(()) => self.lost = 0,
            // Its own loss is none of anybody's line.
            Err(_) => {
                self.errors.inc();
            }
        }
    }

    /// Whether all of `bytes` got through. Lines that did not are counted.
    fn write(&mut self, bytes: &[u8]) -> bool {
        let Err(rest) = self.put(bytes) else { return true };
        let lines = rest.iter().filter(|byte| **byte == b'\n').count();
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        self.errors.inc();
        self.lost += lines;
        self.shared.dropped.inc_by(lines);
        false
    }

    /// # Errors
    /// What did not get through.
    fn put<'a>(&mut self, bytes: &'a [u8]) -> Result<(), &'a [u8]> {
        if self.torn && self.write_all(b"\n") == 0 {
            return Err(bytes);
        }
        let written = self.write_all(bytes);
        let (through, rest) = bytes.split_at_checked(written).unwrap_or((bytes, b""));
        self.torn = through.last().is_some_and(|byte| *byte != b'\n');
        if rest.is_empty() { Ok(()) } else { Err(rest) }
    }

    /// How many bytes the sink took before it failed.
    fn write_all(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        let mut patience = WOULD_BLOCK.0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => break,
                Ok(more) => {
                    written += more;
                    patience = WOULD_BLOCK.0;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe that was made non-blocking by whoever shares it.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && patience > 0 => {
                    patience -= 1;
                    thread::sleep(WOULD_BLOCK.1);
                }
                Err(_) => break,
            }
        }
        written
    }
}

/// Says that the thread has ended, however it did.
struct Farewell(Arc<Shared>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let (ended, changed) = &self.0.ended;
        *lock(ended) = true;
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests;
