//! A client for HTTP/2 without TLS whose every frame a test decides.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::ops::{Deref, DerefMut};

use crate::wire::Wire;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered to the end.
    Answered(u16, Vec<u8>),
    /// The stream was reset with this code, after so much of an answer: its status (0 for none)
    /// and its body.
    Reset(u32, u16, Vec<u8>),
    /// The connection was ended with this code.
    GoneAway(u32),
    /// The connection was ended without a word.
    Ended,
}

/// A frame that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// One connection; what can be done with its bytes is a [`Wire`]'s.
pub struct Http2 {
    wire: Wire,
    next: u32,
    /// Answers that have begun.
    begun: BTreeMap<u32, (u16, Vec<u8>)>,
    done: BTreeMap<u32, Outcome>,
    /// Room for bodies that was given and not asked for yet.
    granted: BTreeMap<u32, usize>,
    gone: Option<Outcome>,
}

impl Deref for Http2 {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Http2 {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

impl Http2 {
    /// Connects, and says nothing yet.
    #[must_use]
    pub fn silent(address: SocketAddr) -> Self {
        let wire = Wire::new(TcpStream::connect(address).unwrap());
        let (begun, done, granted) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { wire, next: 1, begun, done, granted, gone: None }
    }

    /// Connects and sends the preface and SETTINGS: of the header table, which is off, and these.
    #[must_use]
    pub fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut this = Self::silent(address);
        let mut payload = vec![0, 1, 0, 0, 0, 0];
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        this.send(PREFACE);
        this.send(Self::frame(4, 0, 0, &payload));
        this
    }

    /// The bytes of a frame.
    #[must_use]
    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut bytes = vec![length[1], length[2], length[3], kind, flags];
        bytes.extend(stream.to_be_bytes());
        bytes.extend(payload);
        bytes
    }

    /// A block of fields, without compression.
    #[must_use]
    pub fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                number(&mut block, text.len());
                block.extend(text.as_bytes());
            }
        }
        block
    }

    /// A request's fields: the pseudo-headers of `GET path`, and more.
    #[must_use]
    pub fn request(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
        let mut all = vec![
            (":method", method),
            (":scheme", "http"),
            (":authority", "api.example.com"),
            (":path", path),
        ];
        all.extend(more);
        Self::fields(&all)
    }

    /// The next stream of ours.
    pub fn stream(&mut self) -> u32 {
        self.next += 2;
        self.next - 2
    }

    /// Opens a stream with this block of fields; `end` where there is no body.
    pub fn open(&mut self, block: &[u8], end: bool) -> u32 {
        let stream = self.stream();
        self.send(Self::frame(1, 4 | u8::from(end), stream, block));
        stream
    }

    /// Sends `GET path`.
    pub fn begin(&mut self, path: &str) -> u32 {
        self.open(&Self::request("GET", path, &[]), true)
    }

    /// Sends `GET path` and waits for what becomes of it.
    pub fn get(&mut self, path: &str) -> Outcome {
        let stream = self.begin(path);
        self.outcome(stream)
    }

    /// Sends a part of a body.
    pub fn data(&mut self, stream: u32, bytes: &[u8], end: bool) {
        self.send(Self::frame(0, u8::from(end), stream, bytes));
    }

    /// Resets a stream: 8 cancels it.
    pub fn reset(&mut self, stream: u32, code: u32) {
        self.send(Self::frame(3, 0, stream, &code.to_be_bytes()));
    }

    /// Reads a frame; `None` at the connection's end.
    pub fn read(&mut self) -> Option<Frame> {
        let head = self.bytes(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.bytes(usize::try_from(length).unwrap())?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Waits for what becomes of a stream. Windows are left as they are.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            if let Some(outcome) = self.done.remove(&stream).or_else(|| self.gone.clone()) {
                return outcome;
            }
            self.step();
        }
    }

    /// Waits for the end of the connection, and gives the code that it was ended with.
    pub fn goodbye(&mut self) -> Outcome {
        loop {
            match &self.gone {
                Some(gone) => return gone.clone(),
                None => self.step(),
            }
        }
    }

    /// Whether the connection is known to have ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// Waits until all that was sent has been read: a PING that is answered.
    pub fn settle(&mut self) {
        self.send(Self::frame(6, 0, 0, b"settled?"));
        while self.gone.is_none() {
            match self.read() {
                Some(frame) if frame.kind == 6 && frame.flags == 1 => return,
                Some(frame) => self.take(frame),
                None => self.gone = Some(Outcome::Ended),
            }
        }
    }

    /// How much more room the gateway has given to a stream, 0 for the connection, since this was
    /// asked last.
    pub fn granted(&mut self, stream: u32) -> usize {
        self.granted.remove(&stream).unwrap_or_default()
    }

    fn step(&mut self) {
        match self.read() {
            Some(frame) => self.take(frame),
            None => self.gone = Some(Outcome::Ended),
        }
    }

    fn take(&mut self, frame: Frame) {
        let Frame { kind, flags, stream, payload } = frame;
        let ended = flags & 1 != 0;
        match kind {
            0 => self.begun.entry(stream).or_default().1.extend(payload),
            1 => {
                let (status, _) = self.begun.entry(stream).or_default();
                *status = if *status == 0 { status_of(&payload) } else { *status };
            }
            3 => {
                let (status, body) = self.begun.remove(&stream).unwrap_or_default();
                self.done.insert(stream, Outcome::Reset(code(&payload, 0), status, body));
            }
            4 if flags & 1 == 0 => self.send(Self::frame(4, 1, 0, &[])),
            6 if flags & 1 == 0 => self.send(Self::frame(6, 1, 0, &payload)),
            8 => {
                let more = usize::try_from(code(&payload, 0)).unwrap();
                *self.granted.entry(stream).or_default() += more;
            }
            // One that ends nothing now is followed by another one, or by the end.
            7 if code(&payload, 4) != 0 => self.gone = Some(Outcome::GoneAway(code(&payload, 4))),
            _ => {}
        }
        if ended
            && kind <= 1
            && let Some((status, body)) = self.begun.remove(&stream)
        {
            self.done.insert(stream, Outcome::Answered(status, body));
        }
    }
}

fn code(payload: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(payload[at..at + 4].try_into().unwrap())
}

/// RFC 7541 section 5.1, with a prefix of seven bits.
fn number(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).unwrap());
        return;
    }
    block.push(127);
    value -= 127;
    while value >= 128 {
        block.push(u8::try_from(value % 128 + 128).unwrap());
        value /= 128;
    }
    block.push(u8::try_from(value).unwrap());
}

/// The status, which is an answer's first field (RFC 7541, appendices A and B).
fn status_of(block: &[u8]) -> u16 {
    let fields: Vec<u8> = block.iter().copied().skip_while(|byte| byte & 0xe0 == 0x20).collect();
    match fields[0] {
        indexed @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)],
        0x08 | 0x18 | 0x48 => {
            let length = usize::from(fields[1] & 0x7f);
            let text = &fields[2..2 + length];
            if fields[1] & 0x80 == 0 {
                std::str::from_utf8(text).unwrap().parse().unwrap()
            } else {
                digits(text)
            }
        }
        other => panic!("{other:#x} is no status"),
    }
}

/// Three digits in Huffman's code: five bits for 0 to 2, six for 3 to 9.
fn digits(bytes: &[u8]) -> u16 {
    let mut bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
    let mut digit = || {
        let five = (0..5).fold(0, |code, _| code << 1 | bits.next().unwrap());
        if five < 3 { u16::from(five) } else { u16::from(five << 1 | bits.next().unwrap()) - 0x16 }
    };
    digit() * 100 + digit() * 10 + digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_every_form() {
        assert_eq!(status_of(&[0x20, 0x88]), 200);
        assert_eq!(status_of(&[0x8d]), 404);
        assert_eq!(status_of(&[0x08, 3, b'4', b'3', b'1']), 431);
        // RFC 7541 appendix C.6.1: 302; C.6.2: 307.
        assert_eq!(status_of(&[0x48, 0x82, 0x64, 0x02]), 302);
        assert_eq!(status_of(&[0x48, 0x83, 0x64, 0x0e, 0xff]), 307);
    }

    #[test]
    fn long_texts_have_long_lengths() {
        let block = Http2::fields(&[("x", &"y".repeat(1337))]);
        assert_eq!(block[..5], [0, 1, b'x', 127, 0xba]);
        assert_eq!((block[5], block.len()), (9, 6 + 1337));
    }
}
