//! A gateway with made-up policies between a client and an origin.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use demilune_backends::SystemClock;
use demilune_core::chain::Part;
use demilune_core::route::{HostPattern, Matches, Route, Template};
use demilune_core::snapshot::{
    Balance, ClientLimits, Endpoint, HostHeader, KeepAlive, Listener, Overload, Retry, Upstream,
    UpstreamTls,
};
use demilune_core::{Chain, Hooks, OnFault, Requirement, RouteIndex, Scheme, Snapshot};
use demilune_proxy::{Plane, PlaneSettings};
use demilune_telemetry::Telemetry;
use demilune_testkit::{Client, Origin, eventually};
use http::HeaderValue;

/// For what is not to happen in a test.
const PATIENT: Duration = Duration::from_secs(20);

/// A policy that closes where it cannot decide.
pub(crate) fn part(policy: &'static str, hooks: Hooks) -> Part {
    Part { policy, hooks, on_fault: OnFault::Closed }
}

/// A policy that lets pass what it cannot decide about.
pub(crate) fn open(policy: &'static str, hooks: Hooks) -> Part {
    Part { policy, hooks, on_fault: OnFault::Open }
}

/// A public route on all hosts and for all paths.
pub(crate) fn route(parts: Vec<Part>) -> Arc<Route> {
    named("all", "", "/**", Chain::new(Requirement::Public, parts, Vec::new()))
}

/// A route of this name, host (any where empty), path and chain.
pub(crate) fn named(name: &str, host: &str, path: &str, chain: Chain) -> Arc<Route> {
    let hosts = host.split_terminator(',').map(|host| HostPattern::parse(host).unwrap());
    Arc::new(Route {
        name: name.into(),
        source: "".into(),
        matches: Matches {
            hosts: hosts.collect(),
            path: Template::parse(path).unwrap(),
            ..Matches::default()
        },
        upstream: "u".into(),
        chain,
        websocket: false,
        path_exceptions: demilune_core::PathExceptions::default(),
    })
}

/// A gateway, and the origin behind it.
pub(crate) struct Gateway {
    pub(crate) origin: Origin,
    plane: Option<Plane>,
    log: Log,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Gateway {
    /// With one public route.
    pub(crate) fn start(origin: Origin, parts: Vec<Part>) -> Self {
        Self::routing(origin, vec![route(parts)], PATIENT)
    }

    /// Neither side may be silent for longer than `idle`.
    pub(crate) fn impatient(origin: Origin, parts: Vec<Part>, idle: Duration) -> Self {
        Self::routing(origin, vec![route(parts)], idle)
    }

    /// With these routes.
    pub(crate) fn with(origin: Origin, routes: Vec<Arc<Route>>) -> Self {
        Self::routing(origin, routes, PATIENT)
    }

    /// With these routes; neither side may be silent for longer than `idle`.
    pub(crate) fn idling(origin: Origin, routes: Vec<Arc<Route>>, idle: Duration) -> Self {
        Self::routing(origin, routes, idle)
    }

    fn routing(origin: Origin, routes: Vec<Arc<Route>>, idle: Duration) -> Self {
        let (clock, log) = (Arc::new(SystemClock), Log::default());
        let telemetry = Telemetry::new(Box::new(log.clone()), Arc::clone(&clock) as _).unwrap();
        let settings = PlaneSettings { workers: 1, clock, telemetry };
        let snapshot = Arc::new(snapshot(&origin, routes, idle));
        let plane = Plane::start(settings, snapshot).map_err(|found| format!("{found:?}"));
        Self { origin, plane: Some(plane.unwrap()), log }
    }

    pub(crate) fn client(&self) -> Client {
        let plane = self.plane.as_ref().unwrap();
        Client::connect(plane.addresses().first().unwrap().1)
    }

    /// Waits for an access line that holds all of these texts.
    pub(crate) fn logs(&self, texts: &[&str]) {
        eventually(&format!("a line with {texts:?}"), || {
            let log = self.log.0.lock().unwrap();
            let log = String::from_utf8_lossy(&log);
            let mut lines = log.lines().filter(|line| line.contains("\"kind\":\"access\""));
            lines.any(|line| texts.iter().all(|text| line.contains(text))).then_some(())
        });
    }

    /// Waits for an access line with this code.
    pub(crate) fn logs_code(&self, code: &str) {
        self.logs(&[&format!("\"code\":\"{code}\"")]);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(plane) = self.plane.take() {
            plane.drain(Duration::ZERO);
        }
    }
}

fn upstream(origin: &Origin, idle: Duration) -> Upstream {
    let address = origin.address;
    Upstream {
        name: "u".into(),
        endpoints: vec![Endpoint {
            scheme: Scheme::Http,
            host: address.ip().to_string().into(),
            port: address.port(),
            url: format!("http://{address}").into(),
            authority: HeaderValue::from_str(&address.to_string()).unwrap(),
        }],
        tls: UpstreamTls::default(),
        balance: Balance::LeastRequest,
        http2: None,
        connect_timeout: PATIENT,
        response_timeout: PATIENT,
        idle_timeout: idle,
        retry: Retry {
            attempts: 0,
            connect: true,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
            budget: 20,
        },
        requests: 10,
        weights: vec![1],
        pending: None,
        keep_alive: KeepAlive { connections: 1, idle: PATIENT, age: None, requests: None },
        ejection: None,
        circuit_breaker: None,
        look_up_every: PATIENT,
        health: None,
        host: HostHeader::Endpoint,
    }
}

fn snapshot(origin: &Origin, routes: Vec<Arc<Route>>, idle: Duration) -> Snapshot {
    let limits = ClientLimits {
        connections: 10,
        connections_per_address: 10,
        handshakes: 10,
        request: None,
        least_rate: 1,
        handshake: PATIENT,
        head: PATIENT,
        body_idle: idle,
        write_idle: PATIENT,
        idle: PATIENT,
        head_size: 16 << 10,
    };
    let listener = Listener {
        name: "l".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        prior_knowledge: false,
        proxy_protocol: None,
        trusted_proxies: None,
        redirects: false,
        routes: RouteIndex::build(&routes).0,
        limits,
    };
    let chain = Chain::new(Requirement::Public, Vec::new(), Vec::new());
    Snapshot {
        version: "v".into(),
        listeners: vec![Arc::new(listener)],
        routes,
        unmatched: named("none", "", "/**", chain),
        upstreams: BTreeMap::from([("u".into(), Arc::new(upstream(origin, idle)))]),
        admin: None,
        drain: Duration::ZERO,
        overload: Overload { requests: 1000, memory: None, delay: PATIENT },
    }
}

/// `text`, as gzip.
pub(crate) fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// `text`, as zlib.
pub(crate) fn deflate(text: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// What [`brotli`] is.
pub(crate) const HELLO: &str = "hello hello hello";

/// [`HELLO`] as the reference encoder writes it, uncompressed.
pub(crate) fn brotli() -> Vec<u8> {
    [&[0x0b, 0x08, 0x80], HELLO.as_bytes(), &[0x03]].concat()
}

/// An answer of these header lines and this body, with its length.
pub(crate) fn answer(headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{head}content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The same in chunks of one byte.
pub(crate) fn chunked(headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let head: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let head = format!("HTTP/1.1 200 OK\r\n{head}transfer-encoding: chunked\r\n\r\n");
    let mut bytes = head.into_bytes();
    for byte in body.as_ref() {
        bytes.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// An origin that always answers with these bytes.
pub(crate) fn always(bytes: Vec<u8>) -> Origin {
    Origin::answering(move |_| bytes.clone())
}
