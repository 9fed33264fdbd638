//! Frames that carry nothing, heads that unfold, windows of a byte.

use demilune_testkit::{Gateway, Http2, Origin, Outcome};

use crate::{CALM, before, client, told};

fn hello() -> Outcome {
    Outcome::Answered(200, b"hello".to_vec())
}

fn sent_away(gateway: &Gateway, attacker: &mut Http2, honest: &mut Http2, code: &str) {
    assert_eq!(attacker.goodbye(), Outcome::GoneAway(CALM), "{code}");
    told(gateway, code);
    assert_eq!(honest.get("/"), hello());
}

#[test]
fn floods_of_frames_that_carry_nothing_end_their_connection_and_no_other() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    let post = Http2::request("POST", "/", &[]);
    for (frame, count, code) in [
        (Http2::frame(6, 0, 0, &[0; 8]), 1100, "http2.ping_flood"),
        (Http2::frame(4, 0, 0, &[0, 3, 0, 0, 0, 1]), 110, "http2.settings_flood"),
        (Http2::frame(2, 0, 1, &[0, 0, 0, 0, 1]), 1100, "http2.priority_flood"),
        (Http2::frame(8, 0, 0, &1_u32.to_be_bytes()), 1100, "http2.window_flood"),
        (Http2::frame(8, 0, 1, &1_u32.to_be_bytes()), 1100, "http2.window_flood"),
        (Http2::frame(0, 0, 1, &[]), 110, "http2.empty_data_flood"),
        (Http2::frame(0, 8, 1, &[3, 0, 0, 0]), 1100, "http2.empty_data_flood"),
        (Http2::frame(3, 0, 1, &8_u32.to_be_bytes()), 1100, "http2.rapid_reset"),
        (Http2::frame(0x10, 0, 0, b"\0\0\0\x01u=1"), 1100, "http2.control_flood"),
        (Http2::frame(0x99, 0, 0, b""), 1100, "http2.control_flood"),
    ] {
        let mut attacker = client(&gateway);
        assert_eq!(attacker.open(&post, false), 1);
        attacker.send(frame.repeat(count));
        sent_away(&gateway, &mut attacker, &mut honest, code);
    }
}

#[test]
fn continuations_without_end_end_their_connection() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let (mut honest, mut attacker) = (client(&gateway), client(&gateway));
    let stream = attacker.stream();
    attacker.send(Http2::frame(1, 1, stream, &Http2::request("GET", "/", &[])));
    attacker.send(Http2::frame(9, 0, stream, &[]).repeat(100));
    sent_away(&gateway, &mut attacker, &mut honest, "http2.continuation_flood");
}

#[test]
fn a_head_that_unfolds_to_megabytes_ends_its_connection() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let (mut honest, mut attacker) = (client(&gateway), client(&gateway));
    // A field of 4,000 bytes goes into the table once, and is named again and again by one byte.
    let mut block = Http2::request("GET", "/", &[]);
    let mut field = Http2::fields(&[("x", &"v".repeat(4000))]);
    field[0] = 0x40;
    block.extend(field);
    block.extend([0xbe; 4000]);
    attacker.open(&block, true);
    sent_away(&gateway, &mut attacker, &mut honest, "http2.header_bomb");
}

#[test]
fn an_answer_taken_byte_by_byte_ends_its_connection() {
    let origin = Origin::answering(|seen| {
        if seen.line.contains("/long") {
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
            return [head.as_bytes(), &[b'x'; 100_000]].concat();
        }
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let gateway = before(&origin);
    let mut honest = client(&gateway);
    // SETTINGS_INITIAL_WINDOW_SIZE: a byte.
    let mut attacker = Http2::connect(gateway.address("main"), &[(4, 1)]);
    let stream = attacker.begin("/long");
    let update = Http2::frame(8, 0, stream, &1_u32.to_be_bytes());
    let code = loop {
        let frame = attacker.read().unwrap();
        match frame.kind {
            0 => attacker.send(&update),
            7 => break frame.payload[7],
            _ => {}
        }
    };
    assert_eq!(u32::from(code), CALM);
    told(&gateway, "http2.window_flood");
    assert_eq!(honest.get("/"), hello());
}

#[test]
fn windows_that_are_opened_for_what_was_read_are_no_flood() {
    let origin = Origin::answering(|_| {
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n";
        [head.as_bytes(), &vec![b'x'; 3_000_000]].concat()
    });
    let gateway = before(&origin);
    // Windows of 2,000 bytes, each opened again as soon as anything comes: 3,000 updates.
    let mut client = Http2::connect(gateway.address("main"), &[(4, 2000)]);
    let stream = client.begin("/");
    let mut body = 0;
    while body < 3_000_000 {
        let frame = client.read().unwrap();
        assert_ne!(frame.kind, 7, "{frame:?}");
        let length = u32::try_from(frame.payload.len()).unwrap();
        if frame.kind == 0 && length > 0 {
            body += length;
            for stream in [0, stream] {
                let update = Http2::frame(8, 0, stream, &length.to_be_bytes());
                client.send(update);
            }
        }
    }
    assert_eq!(gateway.lines(|line| line["kind"] == "event").len(), 0);
}
