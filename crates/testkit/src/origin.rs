//! An origin server whose every byte a test decides.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Instant;

use crate::patience::PATIENCE;
use crate::wire::Wire;

/// A request as an origin received it.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /path HTTP/1.1`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, its chunks joined.
    pub body: Vec<u8>,
}

impl Seen {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let fields = self.headers.iter().filter(|(n, _)| n == name);
        fields.map(|(_, value)| value.as_str()).collect()
    }
}

/// What an origin has seen so far.
#[derive(Default)]
struct Log {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    opened: usize,
    ended: usize,
}

impl Log {
    fn note(&self, note: impl FnOnce(&mut State)) {
        note(&mut self.state.lock().unwrap());
        self.more.notify_all();
    }

    fn wait(&self, wanted: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().unwrap();
        while !wanted(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it did not reach the origin; it saw {:#?}", state.seen);
            state = self.more.wait_timeout(state, left).unwrap().0;
        }
    }
}

/// A server on loopback: one thread a connection. It ends with the test's process.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl Origin {
    /// Answers every request with 200 and `hello`.
    #[must_use]
    pub fn start() -> Self {
        Self::answering(|_| {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
                .to_vec()
        })
    }

    /// Answers requests for `/slow` only when the sender is dropped; all others at once, with
    /// `hello`.
    #[must_use]
    pub fn held() -> (Self, mpsc::Sender<()>) {
        let (gate, opened) = mpsc::channel::<()>();
        let opened = Mutex::new(opened);
        let origin = Self::answering(move |seen| {
            if seen.line.contains(" /slow") {
                // An error: nobody holds the gate shut any more.
                let _ = opened.lock().unwrap().recv();
            }
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
        });
        (origin, gate)
    }

    /// Answers every request with its own body.
    #[must_use]
    pub fn echo() -> Self {
        Self::answering(|seen| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.body.len());
            [head.as_bytes(), &seen.body].concat()
        })
    }

    /// Answers each request with the bytes that `answer` gives; the connection is closed after an
    /// empty answer and after one that says `connection: close`.
    #[must_use]
    pub fn answering(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::conversing(move |talk| {
            while let Some(seen) = talk.request() {
                let bytes = answer(&seen);
                talk.send(&bytes);
                let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
                if bytes.is_empty() || text.contains("connection: close") {
                    return;
                }
            }
        })
    }

    /// Lets `talk` write to the connection as it likes after each request; false closes it.
    #[must_use]
    pub fn talking(talk: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        Self::conversing(move |conversation| {
            while let Some(seen) = conversation.request() {
                if !talk(&seen, conversation.tcp()) {
                    return;
                }
            }
        })
    }

    /// Lets `converse` have each connection from its first byte to its last; its return closes it.
    #[must_use]
    pub fn conversing(converse: impl Fn(&mut Conversation) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::<Log>::default();
        let (converse, shared) = (Arc::new(converse), Arc::clone(&log));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (converse, log) = (Arc::clone(&converse), Arc::clone(&shared));
                log.note(|state| state.opened += 1);
                std::thread::spawn(move || {
                    let mut conversation = Conversation { wire: Wire::new(stream), log };
                    converse(&mut conversation);
                    let Conversation { wire, log } = conversation;
                    drop(wire);
                    log.note(|state| state.ended += 1);
                });
            }
        });
        Self { address, log }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.log.state.lock().unwrap().seen.clone()
    }

    /// The last request.
    #[must_use]
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("a request reached the origin")
    }

    /// How many connections were opened to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log.state.lock().unwrap().opened
    }

    /// Waits until so many requests have reached it.
    pub fn wait_seen(&self, count: usize) {
        self.log.wait(|state| state.seen.len() >= count);
    }

    /// Waits until so many of its connections have ended.
    pub fn wait_ended(&self, count: usize) {
        self.log.wait(|state| state.ended >= count);
    }
}

/// One connection to an origin; what can be done with its bytes is a [`Wire`]'s.
pub struct Conversation {
    wire: Wire,
    log: Arc<Log>,
}

impl Deref for Conversation {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl DerefMut for Conversation {
    fn deref_mut(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

impl Conversation {
    /// Reads the next request; `None` where the connection ends before it does. One that breaks
    /// off is not among those seen.
    pub fn request(&mut self) -> Option<Seen> {
        let mut seen = self.read_head()?;
        if seen.header("transfer-encoding") == Some("chunked") {
            loop {
                let chunk = self.chunk()?;
                if chunk.is_empty() {
                    break;
                }
                seen.body.extend_from_slice(&chunk);
            }
        } else if let Some(length) = seen.header("content-length").and_then(|l| l.parse().ok()) {
            seen.body = self.bytes(length)?;
        }
        self.log.note(|state| state.seen.push(seen.clone()));
        Some(seen)
    }

    /// Reads the head of the next request, which counts as seen, without a body; the body is up
    /// to the test.
    pub fn head(&mut self) -> Option<Seen> {
        let seen = self.read_head()?;
        self.log.note(|state| state.seen.push(seen.clone()));
        Some(seen)
    }

    fn read_head(&mut self) -> Option<Seen> {
        let line = self.line()?;
        Some(Seen { line, headers: self.headers()?, body: Vec::new() })
    }
}
