//! Accepting connections: sockets, caps, whom a connection is passed on for, the TLS handshake.

mod admission;
pub(crate) mod forwarded;
pub(crate) mod proxy_protocol;

pub(crate) use admission::Admission;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use admission::{OfAddress, Slot};
use bytes::Bytes;
use demilune_core::Downstream;
use demilune_core::head::TlsFacts;
use demilune_core::snapshot::Listener;
use demilune_telemetry::Level;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::curfew::{CurfewGuard, Curfews};
use crate::exchange::{Connection, exchange, unparsed};
use crate::generation::Serving;
use crate::http::{Begun, Deadlines, Protocol, Stream, Terms, protocol_of, serve};
use crate::tls;
use crate::worker::Worker;

/// How much of an answer the kernel may hold for a client before it is asked to take it, in bytes.
const UNSENT: u32 = 128 * 1024;
/// Connections waiting to be accepted by one worker.
const BACKLOG: i32 = 1024;

/// Opens `count` sockets on one address, one for each worker. With `exclusive`, fails where
/// somebody else listens there already, which `SO_REUSEPORT` would otherwise hide.
pub(crate) fn bind(
    address: SocketAddr,
    count: usize,
    exclusive: bool,
) -> io::Result<(SocketAddr, Vec<StdListener>)> {
    if exclusive && address.port() != 0 {
        let probe = socket(address)?;
        probe.set_reuse_address(true)?;
        probe.bind(&address.into())?;
    }
    let mut actual = address;
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(actual)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        socket.set_nonblocking(true)?;
        // What a slow client does not take waits here, not in the kernel: its progress is seen, and
        // it costs little. Connections accepted take it over.
        socket.set_tcp_notsent_lowat(UNSENT)?;
        socket.bind(&actual.into())?;
        socket.listen(BACKLOG)?;
        let listener = StdListener::from(socket);
        actual = listener.local_addr()?;
        sockets.push(listener);
    }
    Ok((actual, sockets))
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(address), Type::STREAM, Some(SocketProtocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    Ok(socket)
}

/// Accepts until told to stop; then takes in what is queued already.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    name: Arc<str>,
    address: SocketAddr,
    listener: TcpListener,
    curfews: Curfews,
    mut stopping: watch::Receiver<bool>,
) {
    let admission = worker.shared.admission_of(&name);
    let place = (&name, address, &admission);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => admit(&worker, place, stream, peer, &curfews),
            // Out of file descriptors, say: wait for some to come free instead of spinning.
            Err(error) if !is_of_connection(&error) => {
                let reason = error.to_string();
                let fields = [("listener", &*name), ("reason", &reason)];
                let message = "connections cannot be accepted";
                worker.shared.telemetry.log(Level::Error, "listener.accept", message, &fields);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_) => {}
        }
    }
    while let Ok(Ok((stream, peer))) = tokio::time::timeout(Duration::ZERO, listener.accept()).await
    {
        admit(&worker, place, stream, peer, &curfews);
    }
}

/// Whether the error concerns one connection that is gone already.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// One open connection, counted.
pub(crate) struct Counted {
    worker: Rc<Worker>,
    name: Arc<str>,
    _open: Slot,
    /// `None` where its client is not known yet, or is a proxy with many behind it.
    of_address: Option<OfAddress>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.worker.shared.telemetry.connection_closed(&self.name);
    }
}

/// What keeps a connection out.
struct Refused<'a> {
    worker: &'a Worker,
    listener: &'a str,
    admission: &'a Admission,
    client: SocketAddr,
}

impl Refused<'_> {
    /// Counts it, and tells of it, unless somebody was just told.
    fn because(&self, reason: &'static str) {
        let telemetry = &self.worker.shared.telemetry;
        telemetry.connection_refused(self.listener, reason);
        if self.admission.tells(self.worker.clock().monotonic()) {
            let client = self.client.ip().to_canonical().to_string();
            let fields = [("listener", self.listener), ("reason", reason), ("client", &*client)];
            let message = "a connection was closed at once: a limit on connections is reached";
            telemetry.log(Level::Warn, "listener.refused", message, &fields);
        }
    }
}

fn admit(
    worker: &Rc<Worker>,
    (name, address, admission): (&Arc<str>, SocketAddr, &Arc<Admission>),
    stream: TcpStream,
    peer: SocketAddr,
    curfews: &Curfews,
) {
    let generation = worker.generation();
    // What was queued for a listener that has left the document is nobody's.
    let Some(serving) = generation.serving(name, address).cloned() else { return };
    let limits = serving.listener.limits;
    let relayed = relays(&serving.listener, peer);
    let refused = Refused { worker, listener: name, admission, client: peer };
    let Some(open) = admission.open(limits.connections) else {
        return refused.because("connections");
    };
    let mut of_address = None;
    if !relayed && !stands_for_many(&serving.listener, peer) {
        of_address = admission.of_address(peer.ip(), limits.connections_per_address);
        if of_address.is_none() {
            return refused.because("connections_per_address");
        }
    }
    let mut entering = None;
    if relayed || serving.tls.is_some() {
        entering = admission.handshake(limits.handshakes);
        if entering.is_none() {
            return refused.because("handshakes");
        }
    }
    worker.shared.telemetry.connection_opened(name);
    let counted =
        Counted { worker: Rc::clone(worker), name: Arc::clone(name), _open: open, of_address };
    let arriving = Arriving {
        serving,
        peer,
        relayed,
        admission: Arc::clone(admission),
        entering,
        curfew: curfews.register(),
        counted,
    };
    let _ = stream.set_nodelay(true);
    worker.clients.spawn(arriving.converse(worker, stream));
}

/// Whether connections of `peer` begin with the header of the PROXY protocol.
fn relays(listener: &Listener, peer: SocketAddr) -> bool {
    let from = listener.proxy_protocol.as_ref();
    from.is_some_and(|from| from.contains(peer.ip().to_canonical()))
}

/// Whether requests of many clients come on the connections of `client`.
fn stands_for_many(listener: &Listener, client: SocketAddr) -> bool {
    let trusted = listener.trusted_proxies.as_ref();
    trusted.is_some_and(|trusted| trusted.networks.contains(client.ip().to_canonical()))
}

/// A connection that was accepted, and has not said anything yet.
struct Arriving {
    serving: Serving,
    peer: SocketAddr,
    /// Whether it begins with the header of the PROXY protocol.
    relayed: bool,
    admission: Arc<Admission>,
    /// Its place among the handshakes, until that is over.
    entering: Option<Slot>,
    curfew: CurfewGuard,
    counted: Counted,
}

impl Arriving {
    /// One connection from its first byte to its last. Boxed: what is needed only until the first
    /// request is not carried on.
    fn converse(mut self, worker: &Rc<Worker>, stream: TcpStream) -> Conversation {
        let listener = &self.serving.listener;
        if !self.relayed && self.serving.tls.is_none() && !listener.prior_knowledge {
            let downstream = Downstream::new(self.peer, Arc::clone(&listener.name), None);
            let begun = Begun { before: Bytes::new(), stream: Stream::Plain(stream) };
            return self.speak(worker, downstream, Protocol::Http1, begun);
        }
        let worker = Rc::clone(worker);
        Box::pin(async move {
            let entering = Box::pin(async move {
                let (downstream, mut protocol, stream) = self.enter(&worker, stream).await?;
                let mut begun = Begun { before: Bytes::new(), stream };
                if self.serving.listener.prior_knowledge {
                    let looking = protocol_of(&mut begun, self.curfew.curfew());
                    // Who says nothing at all is not waited for longer than between two requests.
                    let idle = self.serving.listener.limits.idle;
                    protocol = tokio::time::timeout(idle, looking).await.ok()?.ok()?;
                }
                Some(self.speak(&worker, downstream, protocol, begun))
            });
            if let Some(conversation) = entering.await {
                conversation.await;
            }
        })
    }

    /// All that comes before a request: one deadline is for both the PROXY protocol and TLS.
    async fn enter(
        &mut self,
        worker: &Rc<Worker>,
        mut stream: TcpStream,
    ) -> Option<(Downstream, Protocol, Stream)> {
        let listener = Arc::clone(&self.serving.listener);
        let mut deadline = pin!(tokio::time::sleep(listener.limits.handshake));
        let mut client = self.peer;
        if self.relayed {
            let header = tokio::select! {
                header = header(&mut stream) => header,
                () = &mut deadline => Err(Unheaded::Late),
            };
            match header {
                Ok(source) => client = source.unwrap_or(self.peer),
                Err(fault) => {
                    self.unheaded(worker, &fault);
                    return None;
                }
            }
            if client != self.peer && !self.counts_towards(worker, client) {
                return None;
            }
        }
        let name = Arc::clone(&listener.name);
        let mut downstream = Downstream::relayed(self.peer, client, name, None);
        let Some(tls) = &self.serving.tls else {
            return Some((downstream, Protocol::Http1, Stream::Plain(stream)));
        };
        let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
        let stream = tokio::select! {
            stream = handshake => stream.ok(),
            () = deadline => None,
        };
        let Some(stream) = stream else {
            worker.shared.telemetry.tls_handshake_failed(&listener.name);
            return None;
        };
        let (facts, protocol) = facts(&stream);
        downstream.tls = Some(facts);
        Some((downstream, protocol, Stream::Tls(Box::new(stream.into()))))
    }

    /// Counts the connection among those of the client that it is passed on for; false where that
    /// one has too many.
    fn counts_towards(&mut self, worker: &Worker, client: SocketAddr) -> bool {
        let listener = &self.serving.listener;
        if stands_for_many(listener, client) {
            return true;
        }
        let limit = listener.limits.connections_per_address;
        self.counted.of_address = self.admission.of_address(client.ip(), limit);
        let counts = self.counted.of_address.is_some();
        if !counts {
            let (listener, admission) = (&*listener.name, &*self.admission);
            let refused = Refused { worker, listener, admission, client };
            refused.because("connections_per_address");
        }
        counts
    }

    /// The header of the PROXY protocol did not come, or was not understood.
    fn unheaded(&self, worker: &Worker, fault: &Unheaded) {
        let code = match fault {
            // A look at whether the port is open: no fault of anybody's.
            Unheaded::Silent => return,
            Unheaded::Broken(proxy_protocol::Broken::Missing) => "proxy_protocol.missing",
            Unheaded::Broken(_) | Unheaded::Cut => "proxy_protocol.malformed",
            Unheaded::Late => "proxy_protocol.timeout",
        };
        let (listener, peer) = (&*self.serving.listener.name, self.peer.to_string());
        worker.shared.telemetry.connection_refused(listener, "proxy_protocol");
        let reason = fault.to_string();
        let fields = [("listener", listener), ("peer", &peer), ("reason", &reason)];
        let message = "a load balancer's connection was closed: it must say whom it is for";
        worker.shared.telemetry.log(Level::Warn, code, message, &fields);
    }
}

/// Why there is no header of the PROXY protocol.
#[derive(Debug, thiserror::Error)]
enum Unheaded {
    #[error("nothing was sent")]
    Silent,
    #[error(transparent)]
    Broken(#[from] proxy_protocol::Broken),
    #[error("the connection broke off within the header")]
    Cut,
    #[error("the header did not come in time")]
    Late,
}

/// Takes the header from the stream, and nothing behind it.
async fn header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, Unheaded> {
    const ROOM: usize = 512;
    let mut bytes = Vec::new();
    loop {
        let taken = bytes.len();
        bytes.resize(taken + ROOM, 0);
        let seen = stream.peek(bytes.get_mut(taken..).unwrap_or_default()).await;
        let seen = seen.map_err(|_| Unheaded::Cut)?;
        if seen == 0 {
            return Err(if taken == 0 { Unheaded::Silent } else { Unheaded::Cut });
        }
        bytes.truncate(taken + seen);
        let found = proxy_protocol::parse(&bytes)?;
        // Without a whole header all that was seen belongs to it.
        let end = found.map_or(bytes.len(), |header| header.length);
        let own = bytes.get_mut(taken..end).unwrap_or_default();
        stream.read_exact(own).await.map_err(|_| Unheaded::Cut)?;
        if let Some(header) = found {
            return Ok(header.source);
        }
    }
}

fn facts(stream: &TlsStream<TcpStream>) -> (TlsFacts, Protocol) {
    let session = stream.get_ref().1;
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "unknown",
    };
    let server_name = session.server_name().map(|name| name.to_ascii_lowercase().into());
    let protocol = match session.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let client_certificate = certificate.and_then(tls::facts).map(Arc::new);
    (TlsFacts { version, server_name, client_certificate }, protocol)
}

impl Arriving {
    /// Requests and answers, to the connection's end.
    fn speak(
        self,
        worker: &Rc<Worker>,
        downstream: Downstream,
        protocol: Protocol,
        begun: Begun,
    ) -> Conversation {
        let Self { serving, entering, curfew, counted, .. } = self;
        drop(entering);
        let limits = serving.listener.limits;
        let head = (protocol == Protocol::Http1).then_some(limits.head);
        let (idle, write, least_rate) = (limits.idle, limits.write_idle, limits.least_rate);
        let deadlines = Deadlines { idle, head, write, least_rate };
        let address = serving.listener.address;
        let connection = Rc::new(Connection { downstream, address, limits, _counted: counted });
        let terms = Terms {
            protocol,
            clock: Arc::clone(&worker.shared.clock),
            timers: worker.timers.clone(),
            deadlines,
            preface: limits.head,
            head_size: limits.head_size,
            curfew,
            tasks: worker.background.clone(),
        };
        let (one, two) = (Rc::clone(worker), Rc::clone(&connection));
        let answer = move |wire| exchange(Rc::clone(&one), Rc::clone(&two), wire);
        let worker = Rc::clone(worker);
        serve(begun, terms, answer, move |refusal| unparsed(&worker, &connection, refusal))
    }
}

/// A connection from here to its end.
type Conversation = Pin<Box<dyn Future<Output = ()>>>;
