//! The heads of frames (RFC 9113 section 4.1), read from a stream of bytes without holding it.

/// What a client says before its first frame (RFC 9113 section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags, stream.
const HEAD: usize = 9;
/// How much is kept of the payloads that are looked into.
const KEPT: usize = 40;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;

/// Of DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x1;
/// Of DATA and HEADERS.
pub(super) const PADDED: u8 = 0x8;

/// What is known of a frame when its head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// Of the payload.
    pub(super) length: u32,
    /// The payload's beginning, where such frames are looked into.
    pub(super) payload: &'a [u8],
}

/// Finds the frames in what is read or written, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct FrameReader {
    /// Bytes to pass over: the preface, or the rest of a payload.
    skip: usize,
    held: [u8; HEAD + KEPT],
    filled: usize,
    wanted: usize,
    looks_into: fn(u8) -> bool,
}

impl FrameReader {
    /// For what a client sends, from its preface on.
    pub(super) fn of_client() -> Self {
        Self::new(PREFACE.len(), |_| false)
    }

    /// For what we send; keeps the beginnings of RST_STREAM and GOAWAY.
    pub(super) fn of_server() -> Self {
        Self::new(0, |kind| matches!(kind, RST_STREAM | GOAWAY))
    }

    fn new(skip: usize, looks_into: fn(u8) -> bool) -> Self {
        Self { skip, held: [0; HEAD + KEPT], filled: 0, wanted: HEAD, looks_into }
    }

    /// Takes the next bytes; `each` gets every frame whose head, and as much of its payload as is
    /// kept, is there.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let (passed, rest) = bytes.split_at(self.skip.min(bytes.len()));
                self.skip -= passed.len();
                bytes = rest;
                continue;
            }
            let missing = self.wanted.saturating_sub(self.filled);
            let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
            let end = self.filled + taken.len();
            if let Some(place) = self.held.get_mut(self.filled..end) {
                place.copy_from_slice(taken);
            }
            (self.filled, bytes) = (end, rest);
            self.emit(&mut each);
        }
    }

    fn emit(&mut self, each: &mut impl FnMut(Frame<'_>)) {
        if self.filled < self.wanted {
            return;
        }
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3, ..] = self.held;
        let length = u32::from_be_bytes([0, l0, l1, l2]);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        let kept = if (self.looks_into)(kind) { size.min(KEPT) } else { 0 };
        if self.filled < HEAD + kept {
            self.wanted = HEAD + kept;
            return;
        }
        let stream = u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]);
        let payload = self.held.get(HEAD..HEAD + kept).unwrap_or_default();
        each(Frame { kind, flags, stream, length, payload });
        (self.skip, self.filled, self.wanted) = (size - kept, 0, HEAD);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(mut reader: FrameReader, pieces: &[&[u8]]) -> Vec<(u8, u8, u32, u32, Vec<u8>)> {
        let mut all = Vec::new();
        for piece in pieces {
            reader.read(piece, |frame| {
                let Frame { kind, flags, stream, length, payload } = frame;
                all.push((kind, flags, stream, length, payload.to_vec()));
            });
        }
        all
    }

    const GOODBYE: &[u8] = b"\0\0\x0c\x07\0\0\0\0\0\0\0\0\x05\0\0\0\x0bcalm";

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut bytes = PREFACE.to_vec();
        bytes.extend(b"\0\0\x02\0\x01\x80\0\0\x03hi\0\0\0\x04\x01\0\0\0\0");
        bytes.extend(GOODBYE);
        let expected = [
            (DATA, END_STREAM, 3, 2, vec![]),
            (SETTINGS, 1, 0, 0, vec![]),
            (GOAWAY, 0, 0, 12, vec![]),
        ];
        assert_eq!(found(FrameReader::of_client(), &[&bytes]), expected);
        for size in 1..20 {
            let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
            assert_eq!(found(FrameReader::of_client(), &pieces), expected, "{size}");
        }
    }

    #[test]
    fn what_we_say_at_the_end_is_looked_into() {
        let payload = GOODBYE.split_at(HEAD).1.to_vec();
        let expected = [(GOAWAY, 0, 0, 12, payload)];
        assert_eq!(found(FrameReader::of_server(), &[GOODBYE]), expected);
        let pieces: Vec<&[u8]> = GOODBYE.chunks(1).collect();
        assert_eq!(found(FrameReader::of_server(), &pieces), expected);
        // Of a long one the beginning is kept, and what stands behind it is found.
        let mut long = vec![0, 0, 200, GOAWAY, 0, 0, 0, 0, 0];
        long.extend([7; 200]);
        long.extend(b"\0\0\0\x04\0\0\0\0\0");
        let all = found(FrameReader::of_server(), &[&long]);
        assert_eq!((all[0].4.len(), all[1].0), (KEPT, SETTINGS));
    }
}
