//! Bodies that a policy looks at, on real sockets: read whole, decoded, bounded, and only after the
//! head was admitted. The policy is made for the test, since none of the first ones reads bodies.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test must stop it")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use demilune_backends::SystemClock;
use demilune_core::chain::Part;
use demilune_core::route::{Matches, Route};
use demilune_core::snapshot::{
    Balance, ClientLimits, Endpoint, HostHeader, KeepAlive, Listener, Retry, Upstream, UpstreamTls,
};
use demilune_core::{
    Body, Chain, Denial, Fault, Hooks, Inspector, OnFault, Outcome, Request, Requirement,
    RouteIndex, Scheme, Slot, Snapshot, Verdict,
};
use demilune_proxy::{Plane, PlaneSettings};
use demilune_telemetry::Telemetry;
use demilune_testkit::{Client, Origin};
use http::{HeaderValue, StatusCode};

/// Refuses bodies that hold `attack`, and writes down all it was shown.
#[derive(Default)]
struct Looks(Mutex<Vec<String>>);

impl Inspector for Looks {
    fn limit(&self) -> u64 {
        1000
    }

    fn inspect<'a>(
        &'a self,
        _: Request<'a>,
        body: &'a Body,
        _: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        let text = String::from_utf8_lossy(&body.decoded).into_owned();
        let refused = text.contains("attack");
        self.0.lock().unwrap().push(text);
        let denial = Denial::new(StatusCode::FORBIDDEN, "looks.attack", "no");
        Outcome::Now(Ok(if refused { Verdict::deny(denial) } else { Verdict::Continue }))
    }
}

fn upstream(origin: SocketAddr) -> Upstream {
    let second = Duration::from_secs(5);
    Upstream {
        name: "u".into(),
        endpoints: vec![Endpoint {
            scheme: Scheme::Http,
            host: origin.ip().to_string().into(),
            port: origin.port(),
            url: format!("http://{origin}").into(),
            authority: HeaderValue::from_str(&origin.to_string()).unwrap(),
        }],
        weights: vec![1],
        tls: UpstreamTls::default(),
        balance: Balance::LeastRequest,
        connect_timeout: second,
        response_timeout: second,
        idle_timeout: second,
        retry: Retry {
            attempts: 0,
            connect: true,
            reset: false,
            timeout: false,
            statuses: Vec::new(),
            budget: 20,
        },
        requests: 10,
        pending: None,
        keep_alive: KeepAlive {
            connections: 1,
            idle: Duration::from_secs(60),
            age: None,
            requests: None,
        },
        health: None,
        ejection: None,
        circuit_breaker: None,
        look_up_every: Duration::from_secs(30),
        host: HostHeader::Endpoint,
    }
}

fn snapshot(origin: SocketAddr, looks: &Arc<Looks>) -> Snapshot {
    let part =
        Part { policy: "looks", hooks: Hooks::new().inspector(looks), on_fault: OnFault::Closed };
    let route = |name: &str, parts| {
        Arc::new(Route {
            name: name.into(),
            source: "".into(),
            matches: Matches::default(),
            upstream: "u".into(),
            chain: Chain::new(Requirement::Public, parts, Vec::new()),
            websocket: false,
        })
    };
    let routes = vec![route("all", vec![part])];
    let second = Duration::from_secs(5);
    let limits = ClientLimits {
        connections: 10,
        handshake: second,
        head: second,
        body_idle: second,
        write_idle: second,
        idle: second,
        head_size: 16 << 10,
    };
    let listener = Listener {
        name: "l".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        routes: RouteIndex::build(&routes).0,
        limits,
    };
    Snapshot {
        version: "v".into(),
        listeners: vec![Arc::new(listener)],
        routes,
        unmatched: route("none", Vec::new()),
        upstreams: BTreeMap::from([("u".into(), Arc::new(upstream(origin)))]),
        admin: None,
        drain: Duration::ZERO,
    }
}

/// A gateway with the policy before an origin.
fn start() -> (Origin, Arc<Looks>, Plane, Client) {
    let (origin, looks) = (Origin::start(), Arc::new(Looks::default()));
    let clock = Arc::new(SystemClock);
    let telemetry = Telemetry::new(Box::new(std::io::sink()), Arc::clone(&clock) as _).unwrap();
    let settings = PlaneSettings { workers: 1, clock, telemetry };
    let snapshot = Arc::new(snapshot(origin.address, &looks));
    let plane = Plane::start(settings, snapshot).map_err(|found| format!("{found:?}")).unwrap();
    let client = Client::connect(plane.addresses().first().unwrap().1);
    (origin, looks, plane, client)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_inspector_sees_the_whole_body_and_the_origin_gets_it_as_it_was_sent() {
    let (origin, looks, plane, mut client) = start();
    assert_eq!(client.request("POST", "/", &[], Some(b"plain")).status, 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("2\r\nin\r\n7\r\n pieces\r\n0\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(*looks.0.lock().unwrap(), ["plain", "in pieces"]);
    let bodies: Vec<_> = origin.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"plain".to_vec(), b"in pieces".to_vec()]);
    plane.drain(Duration::ZERO);
}

#[test]
fn compression_does_not_walk_past_an_inspector() {
    let (origin, looks, plane, mut client) = start();
    let coded = [("content-encoding", "gzip")];
    assert_eq!(client.request("POST", "/", &coded, Some(&gzip("an attack"))).status, 403);
    assert_eq!(client.request("POST", "/", &coded, Some(&gzip("fine"))).status, 200);
    assert_eq!(*looks.0.lock().unwrap(), ["an attack", "fine"]);
    let seen = origin.last();
    assert_eq!((seen.body, origin.seen().len()), (gzip("fine"), 1));
    plane.drain(Duration::ZERO);
}

#[test]
fn what_cannot_be_inspected_is_refused() {
    for (coding, body, status) in [
        ("gzip", gzip(&"x".repeat(2000)), 413),
        ("identity", b"x".repeat(2000), 413),
        ("gzip", b"no gzip".to_vec(), 400),
        ("zstd", b"whatever".to_vec(), 415),
        ("gzip, gzip, gzip", b"whatever".to_vec(), 415),
    ] {
        let (origin, looks, plane, mut client) = start();
        let reply = client.request("POST", "/", &[("content-encoding", coding)], Some(&body));
        assert_eq!(reply.status, status, "{coding}");
        assert!(looks.0.lock().unwrap().is_empty() && origin.seen().is_empty(), "{coding}");
        plane.drain(Duration::ZERO);
    }
}
