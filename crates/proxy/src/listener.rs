//! Accepting connections: sockets, caps, the TLS handshake.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::Downstream;
use demilune_core::head::TlsFacts;
use socket2::{Domain, Protocol as SocketProtocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::curfew::{CurfewGuard, Curfews};
use crate::exchange::{Connection, exchange, unparsed};
use crate::generation::Serving;
use crate::http::{Begun, Deadlines, Protocol, Stream, Terms, protocol_of, serve};
use crate::worker::Worker;

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
    let open = worker.shared.connections_of(&name);
    let place = (&name, address, &open);
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
                let level = demilune_telemetry::Level::Error;
                worker.shared.telemetry.log(level, "listener.accept", message, &fields);
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
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.telemetry.connection_closed(&self.name);
    }
}

fn admit(
    worker: &Rc<Worker>,
    (name, address, open): (&Arc<str>, SocketAddr, &Arc<AtomicUsize>),
    stream: TcpStream,
    peer: SocketAddr,
    curfews: &Curfews,
) {
    let generation = worker.generation();
    // What was queued for a listener that has left the document is nobody's.
    let Some(serving) = generation.serving(name, address).cloned() else { return };
    let limits = serving.listener.limits;
    if open.fetch_add(1, Ordering::Relaxed) >= limits.connections {
        open.fetch_sub(1, Ordering::Relaxed);
        worker.shared.telemetry.connection_refused(name, "connections");
        return;
    }
    worker.shared.telemetry.connection_opened(name);
    let counted =
        Counted { worker: Rc::clone(worker), name: Arc::clone(name), open: Arc::clone(open) };
    let curfew = curfews.register();
    worker.clients.spawn(async move {
        let worker = Rc::clone(&counted.worker);
        let _ = stream.set_nodelay(true);
        converse(&worker, serving, stream, peer, curfew, counted).await;
    });
}

/// One connection from its first byte to its last.
async fn converse(
    worker: &Rc<Worker>,
    serving: Serving,
    stream: TcpStream,
    peer: SocketAddr,
    curfew: CurfewGuard,
    counted: Counted,
) {
    let mut downstream = Downstream::new(peer, Arc::clone(&serving.listener.name), None);
    let Some(tls) = &serving.tls else {
        return plain(worker, &serving, (downstream, counted), stream, curfew).await;
    };
    let handshake = TlsAcceptor::from(Arc::clone(&tls.config)).accept(stream);
    match tokio::time::timeout(serving.listener.limits.handshake, handshake).await {
        Ok(Ok(stream)) => {
            let (facts, protocol) = facts(&stream);
            downstream.tls = Some(facts);
            let stream = Stream::Tls(Box::new(stream.into()));
            let begun = Begun { before: Bytes::new(), stream };
            speak(worker, &serving, (downstream, counted), protocol, begun, curfew).await;
        }
        Ok(Err(_)) | Err(_) => {
            worker.shared.telemetry.tls_handshake_failed(&serving.listener.name);
        }
    }
}

/// A connection without TLS.
async fn plain(
    worker: &Rc<Worker>,
    serving: &Serving,
    client: (Downstream, Counted),
    stream: TcpStream,
    curfew: CurfewGuard,
) {
    let mut begun = Begun { before: Bytes::new(), stream: Stream::Plain(stream) };
    let mut protocol = Protocol::Http1;
    if serving.listener.prior_knowledge {
        let looking = protocol_of(&mut begun, curfew.curfew());
        // Who says nothing at all is not waited for longer than between two requests.
        let found = tokio::time::timeout(serving.listener.limits.idle, looking).await;
        let Ok(Ok(found)) = found else { return };
        protocol = found;
    }
    speak(worker, serving, client, protocol, begun, curfew).await;
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
    (TlsFacts { version, server_name }, protocol)
}

async fn speak(
    worker: &Rc<Worker>,
    serving: &Serving,
    (downstream, counted): (Downstream, Counted),
    protocol: Protocol,
    begun: Begun,
    curfew: CurfewGuard,
) {
    let limits = serving.listener.limits;
    let head = (protocol == Protocol::Http1).then_some(limits.head);
    let deadlines = Deadlines { idle: limits.idle, head, write: limits.write_idle };
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
    serve(begun, terms, answer, |refusal| unparsed(worker, &connection, refusal)).await;
}
