//! An origin that speaks HTTP/2 without TLS, on the h2 crate; and a client on it, for what needs
//! fields unpacked.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tokio::sync::watch;

use crate::patience::{PATIENCE, eventually};

/// Fields, in the order in which they came.
pub type Fields = Vec<(String, String)>;

/// A request as the origin received it.
#[derive(Debug, Clone)]
pub struct Http2Seen {
    /// Its method.
    pub method: String,
    /// `:scheme`, `:authority` and `:path`, as a URI.
    pub uri: String,
    /// Its fields.
    pub headers: Fields,
    /// Its body.
    pub body: Vec<u8>,
    /// Its trailers.
    pub trailers: Fields,
}

impl Http2Seen {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The path and query.
    #[must_use]
    pub fn path(&self) -> &str {
        let (_, rest) = self.uri.split_once("://").unwrap();
        rest.find('/').and_then(|at| rest.get(at..)).unwrap()
    }
}

/// One step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// The head: a status and fields.
    Head(u16, &'static [(&'static str, &'static str)]),
    /// An answer without a body: head and end in one frame.
    Only(u16, &'static [(&'static str, &'static str)]),
    /// A part of the body.
    Data(Vec<u8>),
    /// Parts of a body without end, as fast as they are taken.
    Flood,
    /// The end, with these trailers.
    Trailers(&'static [(&'static str, &'static str)]),
    /// The end.
    End,
    /// The stream is reset with this code.
    Reset(u32),
    /// The connection is to take no further streams.
    GoAway,
    /// Waits until the origin is released.
    Hold,
}

/// 200 and `hello`.
#[must_use]
pub fn hello() -> Vec<Step> {
    vec![Step::Head(200, &[]), Step::Data(b"hello".to_vec()), Step::End]
}

#[derive(Default)]
struct Log {
    seen: Vec<Http2Seen>,
    resets: Vec<u32>,
    connections: usize,
    sent: usize,
}

type Answer = dyn Fn(&Http2Seen) -> Vec<Step> + Send + Sync;

/// A server on loopback. It ends with the test's process.
pub struct Http2Origin {
    /// Where it listens.
    pub address: SocketAddr,
    log: Arc<Mutex<Log>>,
    gate: watch::Sender<bool>,
}

impl Http2Origin {
    /// Answers every request with 200 and `hello`.
    #[must_use]
    pub fn start() -> Self {
        Self::answering(|_| hello())
    }

    /// Answers each request, when it has been read to its end, with these steps.
    #[must_use]
    pub fn answering(answer: impl Fn(&Http2Seen) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::limited(1000, answer)
    }

    /// As that, with so many streams at once on each connection.
    #[must_use]
    pub fn limited(
        streams: u32,
        answer: impl Fn(&Http2Seen) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::<Mutex<Log>>::default();
        let (gate, opened) = watch::channel(false);
        let (shared, answer): (_, Arc<Answer>) = (Arc::clone(&log), Arc::new(answer));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.unwrap(), async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    shared.lock().unwrap().connections += 1;
                    let (log, opened) = (Arc::clone(&shared), opened.clone());
                    let answer = Arc::clone(&answer);
                    tokio::task::spawn_local(serve(stream, streams, log, opened, answer));
                }
            });
        });
        Self { address, log, gate }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Lets all go on that hold, now and later.
    pub fn release(&self) {
        self.gate.send_replace(true);
    }

    /// All requests so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Http2Seen> {
        self.log.lock().unwrap().seen.clone()
    }

    /// The codes of the resets that came.
    #[must_use]
    pub fn resets(&self) -> Vec<u32> {
        self.log.lock().unwrap().resets.clone()
    }

    /// How many connections were opened to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.log.lock().unwrap().connections
    }

    /// How many bytes of bodies it could send.
    #[must_use]
    pub fn sent(&self) -> usize {
        self.log.lock().unwrap().sent
    }

    /// Waits until so many requests have reached it.
    pub fn wait_seen(&self, count: usize) {
        eventually("requests reach the origin", || (self.seen().len() >= count).then_some(()));
    }

    /// Waits for a reset, and gives the code of the first one.
    #[must_use]
    pub fn wait_reset(&self) -> u32 {
        eventually("the origin's stream is reset", || self.resets().first().copied())
    }
}

async fn serve(
    stream: tokio::net::TcpStream,
    streams: u32,
    log: Arc<Mutex<Log>>,
    opened: watch::Receiver<bool>,
    answer: Arc<Answer>,
) {
    let mut builder = Builder::new();
    let handshake = builder.max_concurrent_streams(streams).handshake(stream);
    let Ok(mut connection) = handshake.await else { return };
    let (leave, mut left) = watch::channel(false);
    let leave = Arc::new(leave);
    loop {
        let next = std::future::poll_fn(|cx| connection.poll_accept(cx));
        let next = tokio::select! {
            next = next => next,
            _ = left.changed() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = next else { return };
        let stream =
            Stream { log: Arc::clone(&log), opened: opened.clone(), leave: Arc::clone(&leave) };
        tokio::task::spawn_local(stream.run(request, respond, Arc::clone(&answer)));
    }
}

struct Stream {
    log: Arc<Mutex<Log>>,
    opened: watch::Receiver<bool>,
    leave: Arc<watch::Sender<bool>>,
}

impl Stream {
    async fn run(
        mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        answer: Arc<Answer>,
    ) {
        let Some(seen) = read(request).await else {
            self.log.lock().unwrap().resets.push(u32::MAX);
            return;
        };
        self.log.lock().unwrap().seen.push(seen.clone());
        let mut steps = answer(&seen).into_iter();
        if let Err(reset) = self.answer(respond, &mut steps).await {
            self.log.lock().unwrap().resets.push(reset);
        }
    }

    /// The code where the stream is reset.
    async fn answer(
        &mut self,
        mut respond: SendResponse<Bytes>,
        steps: &mut impl Iterator<Item = Step>,
    ) -> Result<(), u32> {
        let mut sending = None;
        for step in steps {
            match step {
                Step::Head(status, fields) | Step::Only(status, fields) => {
                    let end = matches!(step, Step::Only(..));
                    let mut head = Response::new(());
                    *head.status_mut() = status.try_into().unwrap();
                    *head.headers_mut() = map(fields);
                    if status < 200 {
                        respond.send_informational(head).map_err(|error| code(&error))?;
                    } else {
                        let sent = respond.send_response(head, end);
                        sending = Some(sent.map_err(|error| code(&error))?);
                    }
                }
                Step::Data(data) => self.send(sending.as_mut().unwrap(), data.into()).await?,
                Step::Flood => loop {
                    let piece = Bytes::from(vec![b'x'; 1 << 14]);
                    self.send(sending.as_mut().unwrap(), piece).await?;
                },
                Step::Trailers(fields) => {
                    let _ = sending.as_mut().unwrap().send_trailers(map(fields));
                }
                Step::End => {
                    let _ = sending.as_mut().unwrap().send_data(Bytes::new(), true);
                }
                Step::Reset(reason) => {
                    match &mut sending {
                        Some(sending) => sending.send_reset(Reason::from(reason)),
                        None => respond.send_reset(Reason::from(reason)),
                    }
                    return Ok(());
                }
                Step::GoAway => {
                    self.leave.send_replace(true);
                }
                Step::Hold => {
                    let reset = std::future::poll_fn(|cx| match &mut sending {
                        Some(sending) => sending.poll_reset(cx),
                        None => respond.poll_reset(cx),
                    });
                    tokio::select! {
                        reset = reset => return Err(reset.map_or(u32::MAX, u32::from)),
                        _ = self.opened.wait_for(|opened| *opened) => {}
                    }
                }
            }
        }
        Ok(())
    }

    async fn send(&self, sending: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), u32> {
        while !data.is_empty() {
            sending.reserve_capacity(data.len());
            let room = std::future::poll_fn(|cx| sending.poll_capacity(cx)).await;
            let Some(Ok(room)) = room else {
                let reset = std::future::poll_fn(|cx| sending.poll_reset(cx)).await;
                return Err(reset.map_or(u32::MAX, u32::from));
            };
            let piece = data.split_to(room.min(data.len()));
            self.log.lock().unwrap().sent += piece.len();
            sending.send_data(piece, false).map_err(|error| code(&error))?;
        }
        Ok(())
    }
}

fn code(error: &h2::Error) -> u32 {
    error.reason().map_or(u32::MAX, u32::from)
}

/// Reads a request to its end; `None` where it breaks off.
async fn read(request: Request<RecvStream>) -> Option<Http2Seen> {
    let (head, mut stream) = request.into_parts();
    let (body, trailers) = rest(&mut stream).await?;
    Some(Http2Seen {
        method: head.method.to_string(),
        uri: head.uri.to_string(),
        headers: fields(&head.headers),
        body,
        trailers: fields(&trailers),
    })
}

async fn rest(stream: &mut RecvStream) -> Option<(Vec<u8>, HeaderMap)> {
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.ok()?;
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    Some((body, stream.trailers().await.ok()?.unwrap_or_default()))
}

fn fields(headers: &HeaderMap) -> Fields {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
    let mut map = HeaderMap::new();
    for (n, value) in fields {
        map.append(name(n), HeaderValue::from_str(value).unwrap());
    }
    map
}

/// What became of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Called {
    /// The answer's status.
    pub status: u16,
    /// Its fields.
    pub headers: Fields,
    /// Its body; `None` where it broke off.
    pub body: Option<Vec<u8>>,
    /// Its trailers.
    pub trailers: Fields,
}

impl Called {
    /// The first value of a header, or of a trailer where there is none.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter().chain(&self.trailers);
        all.find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Posts `body` with these fields and trailers over HTTP/2, on a connection of its own.
#[must_use]
pub fn call(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    trailers: &[(&str, &str)],
) -> Called {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let calling = async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let mut request = Request::post(format!("http://api.example.com{path}")).body(()).unwrap();
        *request.headers_mut() = map(headers);
        let talking = async {
            let mut send = send.ready().await.unwrap();
            let (response, mut sending) = send.send_request(request, false).unwrap();
            let _ = sending.send_data(Bytes::copy_from_slice(body), trailers.is_empty());
            if !trailers.is_empty() {
                let _ = sending.send_trailers(map(trailers));
            }
            let (head, mut stream) = response.await.unwrap().into_parts();
            let rest = rest(&mut stream).await;
            let (body, trailers) = rest.map_or((None, HeaderMap::new()), |(b, t)| (Some(b), t));
            let (headers, trailers) = (fields(&head.headers), fields(&trailers));
            Called { status: head.status.as_u16(), headers, body, trailers }
        };
        let mut connection = Box::pin(connection);
        let mut talking = Box::pin(talking);
        tokio::select! {
            called = talking.as_mut() => called,
            // What came before its end is still read.
            _ = connection.as_mut() => talking.await,
        }
    };
    let within = async { tokio::time::timeout(PATIENCE, calling).await };
    runtime.block_on(within).expect("the call comes to an end")
}
