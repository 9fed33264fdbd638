//! Work begun and thrown away: rapid reset (CVE-2023-44487), MadeYouReset (CVE-2025-8671), and
//! clients that cancel in good faith.

use demilune_testkit::{Gateway, Http2, Origin, Outcome};
use serde_json::Value;

use crate::{CALM, before, client};

const REQUESTS: u32 = 4000;

/// How many requests for `/slow` were begun: the access line of each tells whether it got as far
/// as an upstream. Ends the gateway, so that there are no more lines to come.
fn begun(gateway: Gateway) -> usize {
    let lines = gateway.stop();
    let slow = |line: &&Value| line["kind"] == "access" && line["path"] == "/slow";
    let sent: Vec<&Value> = lines.iter().filter(slow).collect();
    assert!(sent.iter().all(|line| line["end"] == "client_left"), "{sent:#?}");
    sent.len()
}

/// Good traffic goes on, on the attacker's side of the gateway and on any other.
fn honest_traffic_goes_on(honest: &mut Http2, gateway: &Gateway) {
    let hello = Outcome::Answered(200, b"hello".to_vec());
    assert_eq!(honest.get("/honest"), hello);
    assert_eq!(client(gateway).get("/honest"), hello);
    assert_eq!(gateway.client("main").get("/honest", &[]).text(), "hello");
}

fn event(gateway: &Gateway, code: &str) {
    gateway.wait(|line| line["kind"] == "event" && line["type"] == code);
}

#[test]
fn requests_cancelled_in_one_burst_begin_next_to_nothing() {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let mut attacker = client(&gateway);
    let block = Http2::request("GET", "/slow", &[]);
    let mut burst = Vec::new();
    for _ in 0..REQUESTS {
        let stream = attacker.stream();
        burst.extend(Http2::frame(1, 5, stream, &block));
        burst.extend(Http2::frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    attacker.send(burst);
    assert!(matches!(attacker.goodbye(), Outcome::GoneAway(CALM) | Outcome::Ended));
    event(&gateway, "http2.rapid_reset");
    honest_traffic_goes_on(&mut honest, &gateway);
    let begun = begun(gateway);
    assert!(begun < 100, "{begun} requests were begun");
}

#[test]
fn requests_cancelled_after_a_pause_begin_fewer_than_a_hundred() {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let mut attacker = client(&gateway);
    let block = Http2::request("GET", "/slow", &[]);
    let streams: Vec<u32> = (0..REQUESTS).map(|_| attacker.stream()).collect();
    let requests: Vec<u8> =
        streams.iter().flat_map(|stream| Http2::frame(1, 5, *stream, &block)).collect();
    let resets: Vec<u8> = streams
        .iter()
        .flat_map(|stream| Http2::frame(3, 0, *stream, &8_u32.to_be_bytes()))
        .collect();
    attacker.send(requests);
    // Nothing depends on how long: it lets requests begin, as the attack wants it.
    std::thread::sleep(std::time::Duration::from_millis(10));
    attacker.send(resets);
    assert!(matches!(attacker.goodbye(), Outcome::GoneAway(CALM) | Outcome::Ended));
    honest_traffic_goes_on(&mut honest, &gateway);
    let begun = begun(gateway);
    assert!(begun < 100, "{begun} requests were begun");
}

#[test]
fn requests_cancelled_in_waves_that_keep_to_the_limits_begin_fewer_than_a_hundred() {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let mut attacker = client(&gateway);
    let wave =
        |attacker: &mut Http2| -> Vec<u32> { (0..128).map(|_| attacker.begin("/slow")).collect() };
    let streams = wave(&mut attacker);
    // As many as may begin have begun, and none of them is cancelled yet.
    origin.wait_seen(96);
    streams.iter().for_each(|stream| attacker.reset(*stream, 8));
    attacker.settle();
    for _ in 0..REQUESTS / 128 {
        let streams = wave(&mut attacker);
        attacker.settle();
        streams.iter().for_each(|stream| attacker.reset(*stream, 8));
        attacker.settle();
        if attacker.is_gone() {
            break;
        }
    }
    assert_eq!(attacker.goodbye(), Outcome::GoneAway(CALM));
    event(&gateway, "http2.rapid_reset");
    honest_traffic_goes_on(&mut honest, &gateway);
    let begun = begun(gateway);
    assert!((96..100).contains(&begun), "{begun} requests were begun");
}

#[test]
fn a_cancelled_request_is_cancelled_at_its_origin_too() {
    let origin = Origin::conversing(|talk| {
        talk.request();
        // Its end: nothing is answered.
        talk.rest();
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let stream = client.begin("/slow");
    origin.wait_seen(1);
    client.reset(stream, 8);
    origin.wait_ended(1);
    assert_eq!(gateway.access("/slow")["end"], "client_left");
}

#[test]
fn a_browser_that_leaves_a_page_full_of_images_is_not_sent_away() {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let images: Vec<u32> = (0..90).map(|_| client.begin("/slow")).collect();
    origin.wait_seen(90);
    images.iter().for_each(|stream| client.reset(*stream, 8));
    let hello = Outcome::Answered(200, b"hello".to_vec());
    // The next page, as large, and its images are looked at.
    for _ in 0..90 {
        assert_eq!(client.get("/next"), hello);
    }
    let images: Vec<u32> = (0..90).map(|_| client.begin("/slow")).collect();
    origin.wait_seen(270);
    images.iter().for_each(|stream| client.reset(*stream, 8));
    assert_eq!(client.get("/last"), hello);
    assert_eq!(gateway.lines(|line| line["kind"] == "event").len(), 0);
}

/// One of the six ways to have the server reset a stream by itself.
type Provocation = fn(u32) -> Vec<u8>;

const PROVOCATIONS: [(&str, Provocation); 8] = [
    ("a window over its maximum", |stream| {
        Http2::frame(8, 0, stream, &0x7fff_ffff_u32.to_be_bytes())
    }),
    ("an update of a window by nothing", |stream| Http2::frame(8, 0, stream, &[0; 4])),
    ("a head after the end", |stream| Http2::frame(1, 5, stream, &Http2::fields(&[("x", "y")]))),
    ("data after the end", |stream| Http2::frame(0, 0, stream, b"data")),
    ("a stream that depends on itself", |stream| {
        Http2::frame(2, 0, stream, &[&stream.to_be_bytes()[..], &[0]].concat())
    }),
    ("a priority of a wrong length", |stream| Http2::frame(2, 0, stream, b"shor")),
    ("data of which all and more is padding", |stream| Http2::frame(0, 8, stream, &[9, 0])),
    ("a head that depends on itself", |stream| {
        let block = [&stream.to_be_bytes()[..], &[0], &Http2::request("GET", "/slow", &[])];
        Http2::frame(1, 0x25, stream, &block.concat())
    }),
];

fn provoke(what: &str, provocation: Provocation) {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let mut attacker = client(&gateway);
    let mut waves = 0;
    while !attacker.is_gone() && waves < 100 {
        let streams: Vec<u32> = (0..32).map(|_| attacker.begin("/slow")).collect();
        if waves == 0 {
            origin.wait_seen(32);
        }
        attacker.settle();
        for stream in streams {
            attacker.send(provocation(stream));
        }
        attacker.settle();
        waves += 1;
    }
    let gone = attacker.goodbye();
    assert!(matches!(gone, Outcome::GoneAway(_)), "{what}: {gone:?}");
    drop(attacker);
    let codes = ["http2.provoked_reset", "http2.protocol"];
    gateway.wait(|line| line["kind"] == "event" && codes.iter().any(|code| line["type"] == *code));
    honest_traffic_goes_on(&mut honest, &gateway);
    drop(honest);
    let begun = begun(gateway);
    assert!((32..100).contains(&begun), "{what}: {begun} requests were begun");
}

#[test]
fn resets_that_the_client_provokes_count_as_its_own() {
    std::thread::scope(|scope| {
        for (what, provocation) in PROVOCATIONS {
            scope.spawn(move || provoke(what, provocation));
        }
    });
}

#[test]
fn bodies_that_grow_over_their_length_count_too() {
    let (origin, _gate) = Origin::held();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let mut attacker = client(&gateway);
    let block = Http2::request("POST", "/slow", &[("content-length", "1")]);
    let mut waves = 0;
    while !attacker.is_gone() && waves < 100 {
        let streams: Vec<u32> = (0..32).map(|_| attacker.open(&block, false)).collect();
        attacker.settle();
        for stream in streams {
            attacker.data(stream, b"more", true);
        }
        attacker.settle();
        waves += 1;
    }
    assert_eq!(attacker.goodbye(), Outcome::GoneAway(CALM));
    event(&gateway, "http2.provoked_reset");
    honest_traffic_goes_on(&mut honest, &gateway);
    let lines = gateway.stop();
    let slow = lines.iter().filter(|line| line["kind"] == "access" && line["path"] == "/slow");
    assert!(slow.count() < 100);
}

#[test]
fn streams_over_the_limit_are_refused_and_a_client_that_goes_on_is_sent_away() {
    let (origin, gate) = Origin::held();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let within: Vec<u32> = (0..128).map(|_| client.begin("/slow")).collect();
    origin.wait_seen(96);
    let over = client.begin("/slow");
    assert_eq!(client.outcome(over), Outcome::Reset(7, 0, vec![]));
    event(&gateway, "http2.streams");
    drop(gate);
    for stream in within {
        assert_eq!(client.outcome(stream), Outcome::Answered(200, b"hello".to_vec()));
    }
    assert_eq!(client.get("/"), Outcome::Answered(200, b"hello".to_vec()));
}
