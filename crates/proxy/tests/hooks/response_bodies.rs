//! Answers that hooks see whole before anything of them leaves.

use std::io::Write as _;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use demilune_core::{
    Fault, Hooks, Request, ResponseHead, ResponseInspector, ResponseRewriter, Slot, Verdict,
};
use demilune_testkit::{Origin, Reply};
use http::HeaderValue;

use crate::fixture::{Gateway, HELLO, always, answer, brotli, chunked, deflate, gzip, open, part};
use crate::policies::{Looks, Masks, Measures, Notes, Refuses, Replaces};

/// An answer through a gateway with one inspector of at most 1000 bytes, and what it saw.
fn looked_at(bytes: Vec<u8>) -> (Reply, Notes, Gateway) {
    let notes = Notes::default();
    let gateway = Gateway::start(always(bytes), vec![part("looks", Looks::hooks(&notes, 1000))]);
    let reply = gateway.client().get("/", &[]);
    (reply, notes, gateway)
}

#[test]
fn codings_are_undone_before_a_hook_sees_the_body_and_the_client_gets_what_it_saw() {
    for (coding, body) in [
        ("gzip", gzip(HELLO)),
        ("x-gzip", gzip(HELLO)),
        ("GZIP", gzip(HELLO)),
        ("deflate", deflate(HELLO)),
        ("br", brotli()),
        ("gzip, gzip", gzip(gzip(HELLO))),
        ("br, gzip", gzip(brotli())),
        ("identity, gzip", gzip(HELLO)),
    ] {
        let headers = [
            &format!("content-encoding: {coding}"),
            "vary: accept-encoding",
            "etag: \"a\"",
            "accept-ranges: bytes",
            "repr-digest: sha-256=:x:",
            "content-type: text/plain",
        ];
        for bytes in [answer(&headers, &body), chunked(&headers, &body)] {
            let (reply, notes, gateway) = looked_at(bytes);
            assert_eq!((reply.status, reply.text()), (200, HELLO.to_owned()), "{coding}");
            assert_eq!(notes.all(), [HELLO], "{coding}");
            let told = ["content-length", "etag", "vary", "content-type"].map(|n| reply.header(n));
            let expected = ["17", "W/\"a\"", "accept-encoding", "text/plain"].map(Some);
            assert_eq!(told, expected, "{coding}");
            for gone in ["content-encoding", "accept-ranges", "repr-digest", "transfer-encoding"] {
                assert_eq!(reply.header(gone), None, "{coding} {gone}");
            }
            gateway.logs(&["\"status\":200", "\"end\":\"complete\"", "\"sent\":17"]);
        }
    }
}

#[test]
fn an_answer_that_is_not_changed_keeps_what_describes_it() {
    let headers = ["etag: \"a\"", "content-digest: sha-256=:x:", "content-encoding: identity"];
    for bytes in [answer(&headers, HELLO), chunked(&headers, HELLO)] {
        let (reply, notes, _gateway) = looked_at(bytes);
        assert_eq!((reply.text(), notes.all()), (HELLO.to_owned(), vec![HELLO.to_owned()]));
        let told = ["content-length", "etag", "content-digest"].map(|n| reply.header(n));
        assert_eq!(told, ["17", "\"a\"", "sha-256=:x:"].map(Some));
    }
    let (reply, notes, _gateway) = looked_at(answer(&[], ""));
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("0")));
    assert_eq!(notes.all(), [""], "an empty body is a body");
}

/// Answers that cannot be looked at, and the codes of their refusals. `SECRET` is in each.
fn unreadable() -> Vec<(&'static str, Vec<u8>)> {
    let text = format!("SECRET {}", "x".repeat(900));
    let long = format!("SECRET {}", "x".repeat(1000));
    let coded = |body: Vec<u8>| answer(&["content-encoding: gzip"], body);
    let status = |status: &str, header: &str| {
        let head = format!("HTTP/1.1 {status}\r\n{header}content-length: 6\r\n\r\nSECRET");
        head.into_bytes()
    };
    let cut = |bytes: Vec<u8>| bytes.get(..bytes.len() - 9).unwrap().to_vec();
    vec![
        ("response.coding", answer(&["content-encoding: zstd"], "SECRET")),
        ("response.coding", answer(&["content-encoding: gzip, x"], gzip("SECRET"))),
        ("response.coding", answer(&["content-encoding: gzip,gzip,gzip"], "SECRET")),
        ("response.coding", answer(&["content-encoding: "], "SECRET")),
        ("response.broken_coding", coded(b"SECRET".to_vec())),
        ("response.broken_coding", coded(Vec::new())),
        ("response.broken_coding", coded(cut(gzip("SECRET")))),
        ("response.broken_coding", coded([gzip("SECRET"), b"x".to_vec()].concat())),
        ("response.broken_coding", coded([gzip("SECRET"), gzip("SECRET")].concat())),
        ("response.broken_coding", answer(&["content-encoding: br"], gzip("SECRET"))),
        ("response.too_large", answer(&[], &long)),
        ("response.too_large", chunked(&[], &long)),
        ("response.too_large", coded(gzip(&long))),
        ("response.too_large", coded(gzip(vec![0; 1 << 20]))),
        ("response.too_large", coded(gzip(gzip(vec![0; 2 << 20])))),
        ("response.too_large", answer(&["content-encoding: gzip"], vec![0; 70 << 10])),
        ("response.partial", status("206 Partial Content", "content-range: bytes 0-5/9\r\n")),
        ("response.partial", status("206 Partial Content", "")),
        ("response.partial", status("200 OK", "content-range: bytes 0-5/9\r\n")),
        ("response.partial", status("226 IM Used", "")),
        ("response.cut", cut(answer(&["connection: close"], &text))),
        ("response.cut", cut(chunked(&["connection: close"], &text))),
    ]
}

#[test]
fn what_cannot_be_looked_at_is_502_and_none_of_it_leaves() {
    for (i, (code, bytes)) in unreadable().into_iter().enumerate() {
        let origin = Origin::conversing(move |talk| {
            if talk.request().is_some() {
                talk.send(&bytes);
                // What is cut short is not followed by anything.
                if code == "response.cut" {
                    talk.finish();
                }
                while talk.request().is_some() {}
            }
        });
        let notes = Notes::default();
        let hooks = vec![part("looks", Looks::hooks(&notes, 1000))];
        let gateway = Gateway::start(origin, hooks);
        let mut client = gateway.client();
        let reply = client.get("/", &[]);
        assert_eq!(reply.status, 502, "{i} {code}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(!reply.text().contains("SECRET") && notes.all().is_empty(), "{i} {code}");
        gateway.logs(&["\"status\":502", &format!("\"code\":\"{code}\"")]);
        // The client's connection goes on, the upstream's does not: what is left there is nobody's.
        assert_eq!(client.get("/", &[]).status, 502);
        gateway.origin.wait_ended(2);
    }
}

#[test]
fn an_answer_that_stalls_or_never_ends_is_not_waited_for() {
    let origin = Origin::conversing(|talk| {
        let Some(seen) = talk.request() else { return };
        talk.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n");
        talk.send("transfer-encoding: chunked\r\n\r\n");
        talk.send_chunk("data: SECRET\n\n");
        while seen.line.contains("/endless") && talk.sends("5\r\ndata\n\r\n") {}
        // Silence, until the gateway hangs up.
        talk.ends();
    });
    let notes = Notes::default();
    let hooks = vec![part("looks", Looks::hooks(&notes, 1000))];
    let gateway = Gateway::impatient(origin, hooks, Duration::from_millis(300));
    let mut client = gateway.client();
    for (path, code) in [("/endless", "response.too_large"), ("/", "response.stalled")] {
        let reply = client.get(path, &[]);
        assert_eq!(reply.status, 502, "{path}");
        assert!(!reply.text().contains("SECRET") && notes.all().is_empty());
        gateway.logs_code(code);
    }
    gateway.origin.wait_ended(2);
}

#[test]
fn a_refusal_by_a_hook_sends_not_one_byte_of_the_body() {
    for bytes in [
        answer(&["x-of: body"], "SECRET attack"),
        answer(&["x-of: body", "content-encoding: gzip"], gzip("SECRET attack")),
        chunked(&["x-of: body"], "SECRET attack"),
    ] {
        let (reply, notes, gateway) = looked_at(bytes);
        assert_eq!((reply.status, reply.header("x-of")), (403, None));
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        assert!(!reply.text().contains("SECRET"));
        assert_eq!(notes.all(), ["SECRET attack"]);
        gateway.logs(&["\"status\":403", "\"code\":\"looks.attack\"", "\"end\":\"complete\""]);
    }
    let (reply, ..) = looked_at(answer(&[], "SECRET swap"));
    assert_eq!((reply.status, reply.text()), (418, "instead".to_owned()));
}

#[test]
fn a_fault_closes_unless_the_operator_opened_it() {
    let notes = Notes::default();
    let hooks = || Looks::hooks(&notes, 1000);
    for (part, status, text) in
        [(part("looks", hooks()), 503, None), (open("looks", hooks()), 200, Some("a riddle"))]
    {
        let gateway = Gateway::start(always(answer(&[], "a riddle")), vec![part]);
        let reply = gateway.client().get("/", &[]);
        assert_eq!(reply.status, status);
        assert!(text.is_none_or(|text| reply.text() == text));
        assert!(text.is_some() || !reply.text().contains("riddle"));
    }
    // A rewriter's fault leaves the body as it was.
    let hooks = || Replaces::hooks("x", "riddle");
    for (part, status, text) in
        [(part("replaces", hooks()), 503, None), (open("replaces", hooks()), 200, Some("x"))]
    {
        let gateway = Gateway::start(always(answer(&["etag: \"a\""], "x")), vec![part]);
        let reply = gateway.client().get("/", &[]);
        assert_eq!(reply.status, status);
        assert!(text.is_none_or(|text| reply.text() == text));
        assert_eq!(reply.header("etag"), text.and(Some("\"a\"")));
    }
}

#[test]
fn a_rewriter_changes_the_length_and_what_describes_the_body() {
    let headers = ["etag: \"a\"", "content-md5: x", "vary: accept"];
    let parts = || vec![part("replaces", Replaces::hooks("hello", "a longer greeting"))];
    let gateway = Gateway::start(always(answer(&headers, HELLO)), parts());
    let reply = gateway.client().get("/", &[]);
    let text = HELLO.replace("hello", "a longer greeting");
    assert_eq!((reply.text(), reply.header("content-length")), (text, Some("53")));
    let told = ["etag", "content-md5", "vary"].map(|name| reply.header(name));
    assert_eq!(told, [None, None, Some("accept")]);
    let gateway = Gateway::start(always(answer(&headers, "nothing to change")), parts());
    let reply = gateway.client().get("/", &[]);
    let told = ["etag", "content-md5"].map(|name| reply.header(name));
    assert_eq!(told, [Some("\"a\""), Some("x")]);
}

#[test]
fn the_last_policy_comes_first_and_each_sees_what_those_before_it_left() {
    let [wide, narrow, between] = [Notes::default(), Notes::default(), Notes::default()];
    let masks = Hooks::new().response_chunk_rewriter(&Arc::new(Masks));
    let parts = vec![
        part("wide", Looks::hooks(&wide, 1000)),
        part("masks", masks),
        part("between", Measures::hooks(&between, 1000)),
        part("replaces", Replaces::hooks("hello", "secret")),
        part("narrow", Looks::hooks(&narrow, 1000)),
    ];
    let gateway = Gateway::start(always(chunked(&[], "hello")), parts);
    let reply = gateway.client().get("/", &[]);
    assert_eq!((reply.text(), reply.header("content-length")), ("******".to_owned(), Some("6")));
    let seen = [narrow, between, wide].map(|notes| notes.all());
    assert_eq!(seen, [["hello"], ["secret"], ["******"]]);
    let trail = r#""policy":"narrow""#;
    gateway.logs(&[trail]);
}

#[test]
fn beside_a_hook_on_the_whole_body_one_on_chunks_can_still_refuse() {
    for (body, code) in [("too much", "measures.most"), ("end?", "measures.end")] {
        let notes = Notes::default();
        let hooks = Looks::hooks(&notes, 1000);
        let parts = vec![part("looks", hooks), part("measures", Measures::hooks(&notes, 5))];
        let gateway = Gateway::start(always(answer(&[], body)), parts);
        let reply = gateway.client().get("/", &[]);
        assert_eq!(reply.status, 403);
        gateway.logs(&["\"status\":403", &format!("\"code\":\"{code}\"")]);
    }
}

#[test]
fn beside_a_hook_on_the_whole_body_the_fault_of_a_rewriter_of_chunks_can_be_open() {
    let notes = Notes::default();
    let hooks = || Hooks::new().response_chunk_rewriter(&Arc::new(Masks));
    for (masks, status) in [(part("masks", hooks()), 503), (open("masks", hooks()), 200)] {
        let parts = vec![part("looks", Looks::hooks(&notes, 1000)), masks];
        let gateway = Gateway::start(always(answer(&[], "an enigma")), parts);
        let reply = gateway.client().get("/", &[]);
        assert_eq!(reply.status, status);
    }
    assert_eq!(notes.all(), ["an enigma"]);
}

#[test]
fn what_a_rewriter_makes_longer_than_the_next_can_look_at_is_refused() {
    let notes = Notes::default();
    let longer = Replaces::hooks("x", "xxxxxxxxxx");
    let parts = vec![part("looks", Looks::hooks(&notes, 5)), part("longer", longer)];
    let gateway = Gateway::start(always(answer(&[], "x")), parts);
    assert_eq!(gateway.client().get("/", &[]).status, 502);
    assert!(notes.all().is_empty());
    gateway.logs_code("response.too_large");
}

#[test]
fn the_least_limit_of_several_holds() {
    let notes = Notes::default();
    let hooks = |limit| Looks::hooks(&notes, limit);
    let parts = vec![part("less", hooks(5)), part("more", hooks(1000))];
    let gateway = Gateway::start(always(answer(&[], "123456")), parts);
    assert_eq!(gateway.client().get("/", &[]).status, 502);
    assert!(notes.all().is_empty());
}

/// Refuses heads with `x-attack`; tells in a header what the body's hook put into the slot.
struct Tells(Replaces);

impl ResponseInspector for Tells {
    fn inspect(
        &self,
        _: &Request<'_>,
        response: &ResponseHead,
        slot: &mut Slot,
    ) -> Result<Verdict, Fault> {
        assert!(slot.get::<usize>().is_none(), "heads come before bodies");
        let refused = response.headers.contains_key("x-attack");
        let denial = crate::policies::denial("tells.head");
        Ok(if refused { Verdict::deny(denial) } else { Verdict::Continue })
    }
}

impl ResponseRewriter for Tells {
    fn rewrite(&self, _: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot) {
        let length = slot
            .get::<usize>()
            .map_or(HeaderValue::from_static("none"), |length| HeaderValue::from(*length));
        response.headers.insert("x-length", length);
    }
}

#[test]
fn hooks_on_head_and_body_share_the_policys_slot() {
    let replaces = || Replaces { from: "a", to: "aa", limit: 100 };
    let tells = Arc::new(Tells(replaces()));
    assert_eq!(tells.0.from, "a");
    let hooks = Hooks::new()
        .response_inspector(&tells)
        .response_body_rewriter(&Arc::new(replaces()))
        .response_rewriter(&tells);
    let origin = Origin::answering(|seen| match seen.line.contains("/attack") {
        true => answer(&["x-attack: 1"], "a"),
        false => answer(&[], "a"),
    });
    let gateway = Gateway::start(origin, vec![part("tells", hooks)]);
    let mut client = gateway.client();
    let reply = client.get("/", &[]);
    assert_eq!((reply.text(), reply.header("x-length")), ("aa".to_owned(), Some("2")));
    let reply = client.get("/attack", &[]);
    assert_eq!((reply.status, reply.header("x-length")), (403, Some("none")));
}

#[test]
fn our_own_answers_and_refusals_are_not_shown_to_hooks_on_bodies() {
    let notes = Notes::default();
    let parts = vec![part("refuses", Refuses::hooks()), part("looks", Looks::hooks(&notes, 1000))];
    let gateway = Gateway::start(always(answer(&[], "fine")), parts);
    let mut client = gateway.client();
    assert_eq!(client.get("/", &[("x-refuse", "")]).status, 403);
    assert!(notes.all().is_empty());
    assert_eq!((client.get("/", &[]).status, notes.all()), (200, vec!["fine".to_owned()]));
}

#[test]
fn connections_go_on_on_both_sides() {
    let notes = Notes::default();
    let origin = Origin::answering(|seen| match seen.line.contains("/coded") {
        true => chunked(&["content-encoding: gzip"], gzip(HELLO)),
        false => answer(&[], "attack"),
    });
    let gateway = Gateway::start(origin, vec![part("looks", Looks::hooks(&notes, 1000))]);
    let mut client = gateway.client();
    for _ in 0..3 {
        assert_eq!(client.get("/coded", &[]).text(), HELLO);
        assert_eq!(client.get("/", &[]).status, 403);
    }
    assert_eq!(gateway.origin.connections(), 1);
}

#[test]
fn a_client_that_leaves_is_not_read_for() {
    let origin = Origin::conversing(|talk| {
        if talk.request().is_some() {
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
            // Until the gateway hangs up.
            talk.ends();
        }
    });
    let notes = Notes::default();
    let gateway = Gateway::start(origin, vec![part("looks", Looks::hooks(&notes, 1000))]);
    let mut client = gateway.client();
    client.begin("GET", "/", &[]);
    gateway.origin.wait_seen(1);
    drop(client);
    gateway.origin.wait_ended(1);
    assert!(notes.all().is_empty());
    gateway.logs(&["\"end\":\"client_left\"", "\"status\":0"]);
}

#[test]
fn nothing_leaves_before_the_last_byte_was_looked_at() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let origin = Origin::talking(move |_, tcp| {
        let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello ");
        let _ = gone.lock().unwrap().recv();
        tcp.write_all(b"attack").is_ok()
    });
    let notes = Notes::default();
    let gateway = Gateway::start(origin, vec![part("looks", Looks::hooks(&notes, 1000))]);
    let mut client = gateway.client();
    client.begin("GET", "/", &[]);
    gateway.origin.wait_seen(1);
    drop(go);
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, notes.all()), (403, vec!["hello attack".to_owned()]));
}
