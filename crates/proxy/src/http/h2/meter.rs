//! What a client's frames may cost beside the requests they carry: PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, empty DATA and frames that nobody knows cost the sender nothing and us work.
//!
//! Each frame has a price. A connection has an allowance, which work renews (each request that
//! begins, each piece of an answer that is taken in good order) and time renews slowly. Honest
//! clients stay far above zero; who spends it all is a flood. No I/O and no clock in here.

use std::time::Duration;

use super::frames::{
    DATA, END_STREAM, Frame, FrameReader, HEADERS, PADDED, PING, PRIORITY, RST_STREAM, SETTINGS,
    WINDOW_UPDATE,
};

/// What a connection may spend at once.
const ALLOWANCE: u32 = 1000;
/// What each second renews of it.
const RENEWED_A_SECOND: u128 = 100;
/// What a request renews: its client may update windows, set priorities and ping.
const RENEWED_BY_REQUEST: u32 = 8;
/// What a piece of an answer renews, large or small: two windows, twice.
const RENEWED_BY_PIECE: u32 = 4;
/// For so many bytes of a piece one more is renewed.
const BYTES_TO_RENEW_ONE: usize = 1024;
/// A piece that the client's window cut smaller than this renews nothing.
const SMALL_PIECE: usize = 1024;

/// The price of a frame that changes something or is answered.
const DEAR: u32 = 10;
/// The price of any other.
const CHEAP: u32 = 1;

/// Padding alone is at most so long.
const PADDING_LIMIT: u32 = 256;

/// The account of one connection.
#[derive(Debug)]
pub(super) struct FrameMeter {
    frames: FrameReader,
    allowance: u32,
    renewed: Option<Duration>,
    seen: bool,
    highest: u32,
}

/// What a client did too much of: the stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flood(pub(super) &'static str);

impl FrameMeter {
    pub(super) fn new() -> Self {
        Self {
            frames: FrameReader::of_client(),
            allowance: ALLOWANCE,
            renewed: None,
            seen: false,
            highest: 0,
        }
    }

    /// Takes what was read at the time that `now` tells. `opened` gets the number of each stream
    /// that begins.
    ///
    /// # Errors
    /// Where the allowance is spent.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        now: impl Fn() -> Duration,
        mut opened: impl FnMut(u32),
    ) -> Result<(), Flood> {
        let Self { frames, allowance, renewed, seen, highest } = self;
        let renewed = renewed.get_or_insert_with(&now);
        let mut flood = None;
        frames.read(bytes, |frame| {
            *seen = true;
            if frame.kind == HEADERS && frame.stream > *highest {
                *highest = frame.stream;
                *allowance = allowance.saturating_add(RENEWED_BY_REQUEST).min(ALLOWANCE);
                opened(frame.stream);
            }
            let price = price(&frame);
            if price > *allowance {
                *allowance = renew(*allowance, renewed, now());
            }
            match allowance.checked_sub(price) {
                Some(left) => *allowance = left,
                None => flood = flood.or(Some(Flood(code(frame.kind)))),
            }
        });
        flood.map_or(Ok(()), Err)
    }

    /// A piece of an answer was sent; `cut` where the client's window made it smaller than it
    /// was.
    pub(super) fn sent(&mut self, bytes: usize, cut: bool) {
        if cut && bytes < SMALL_PIECE {
            return;
        }
        let more = u32::try_from(bytes / BYTES_TO_RENEW_ONE).unwrap_or(ALLOWANCE);
        let renewed = more.saturating_add(RENEWED_BY_PIECE);
        self.allowance = self.allowance.saturating_add(renewed).min(ALLOWANCE);
    }

    /// The last stream that began.
    pub(super) fn last_stream(&self) -> u32 {
        self.highest
    }

    /// Whether the first frame, the client's SETTINGS, has come.
    pub(super) fn has_begun(&self) -> bool {
        self.seen
    }
}

fn renew(allowance: u32, renewed: &mut Duration, now: Duration) -> u32 {
    let since = now.saturating_sub(std::mem::replace(renewed, now));
    let gained = since.as_millis().saturating_mul(RENEWED_A_SECOND) / 1000;
    allowance.saturating_add(u32::try_from(gained).unwrap_or(ALLOWANCE)).min(ALLOWANCE)
}

fn price(frame: &Frame<'_>) -> u32 {
    match frame.kind {
        DATA if frame.flags & END_STREAM != 0 => 0,
        DATA if frame.length == 0 => DEAR,
        DATA if frame.flags & PADDED != 0 && frame.length <= PADDING_LIMIT => CHEAP,
        DATA | HEADERS => 0,
        SETTINGS => DEAR,
        _ => CHEAP,
    }
}

fn code(kind: u8) -> &'static str {
    match kind {
        DATA => "http2.empty_data_flood",
        PRIORITY => "http2.priority_flood",
        RST_STREAM => "http2.rapid_reset",
        SETTINGS => "http2.settings_flood",
        PING => "http2.ping_flood",
        WINDOW_UPDATE => "http2.window_flood",
        _ => "http2.control_flood",
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::PREFACE;
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: u32) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().split_at(1).1.to_vec();
        bytes.extend([kind, flags]);
        bytes.extend(stream.to_be_bytes());
        bytes.resize(9 + usize::try_from(length).unwrap(), 0);
        bytes
    }

    fn begun() -> FrameMeter {
        let mut meter = FrameMeter::new();
        assert_eq!(read(&mut meter, PREFACE, 0), Ok(()));
        assert!(!meter.has_begun());
        assert_eq!(read(&mut meter, &frame(SETTINGS, 0, 0, 0), 0), Ok(()));
        assert!(meter.has_begun());
        meter
    }

    fn read(meter: &mut FrameMeter, bytes: &[u8], millis: u64) -> Result<(), Flood> {
        meter.read(bytes, || Duration::from_millis(millis), |_| {})
    }

    /// How many of these frames are taken.
    fn taken(frame: &[u8], between: impl Fn(&mut FrameMeter)) -> (usize, &'static str) {
        let mut meter = begun();
        for count in 0..100_000 {
            if let Err(Flood(code)) = read(&mut meter, frame, 0) {
                return (count, code);
            }
            between(&mut meter);
        }
        (usize::MAX, "")
    }

    #[test]
    fn each_kind_of_flood_ends_and_has_its_name() {
        for (bytes, count, code) in [
            (frame(PING, 0, 0, 8), 990, "http2.ping_flood"),
            (frame(PING, 1, 0, 8), 990, "http2.ping_flood"),
            (frame(SETTINGS, 0, 0, 6), 99, "http2.settings_flood"),
            (frame(PRIORITY, 0, 3, 5), 990, "http2.priority_flood"),
            (frame(WINDOW_UPDATE, 0, 0, 4), 990, "http2.window_flood"),
            (frame(RST_STREAM, 0, 1, 4), 990, "http2.rapid_reset"),
            (frame(DATA, 0, 1, 0), 99, "http2.empty_data_flood"),
            (frame(DATA, PADDED, 1, 256), 990, "http2.empty_data_flood"),
            (frame(9, 0, 1, 100), 990, "http2.control_flood"),
            (frame(0x10, 0, 0, 7), 990, "http2.control_flood"),
        ] {
            assert_eq!(taken(&bytes, |_| {}), (count, code));
        }
    }

    #[test]
    fn what_carries_requests_costs_nothing() {
        for bytes in [
            frame(DATA, 0, 1, 1),
            frame(DATA, 0, 1, 16_384),
            frame(DATA, PADDED, 1, 257),
            frame(DATA, END_STREAM, 1, 0),
            frame(HEADERS, END_STREAM, 1, 20),
        ] {
            assert_eq!(taken(&bytes, |_| {}), (usize::MAX, ""));
        }
    }

    #[test]
    fn a_window_is_paid_for_by_what_it_lets_through() {
        let update = frame(WINDOW_UPDATE, 0, 1, 4);
        assert_eq!(taken(&update, |meter| meter.sent(20, false)).0, usize::MAX);
        assert_eq!(taken(&update, |meter| meter.sent(1024, true)).0, usize::MAX);
        // A byte at a time, and the client says so itself.
        assert_eq!(taken(&update, |meter| meter.sent(1, true)), (990, "http2.window_flood"));
    }

    #[test]
    fn requests_and_time_renew_the_allowance() {
        let mut meter = begun();
        let ping = frame(PING, 0, 0, 8);
        for second in 0..100 {
            for _ in 0..100 {
                assert_eq!(read(&mut meter, &ping, second * 1000), Ok(()), "{second}");
            }
        }
        let mut meter = begun();
        for request in 0..1000 {
            let request = frame(HEADERS, END_STREAM, request * 2 + 1, 20);
            assert_eq!(read(&mut meter, &[request, ping.repeat(8)].concat(), 0), Ok(()));
        }
    }

    #[test]
    fn each_stream_is_told_once() {
        let mut streams = Vec::new();
        let mut meter = begun();
        let all = [1, 3, 3, 1, 7].map(|stream| frame(HEADERS, 0, stream, 4)).concat();
        let told = meter.read(&all, Duration::default, |stream| streams.push(stream));
        assert_eq!((told, streams), (Ok(()), vec![1, 3, 7]));
    }
}
