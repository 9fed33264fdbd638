//! Answers that hooks watch as they pass.

use std::io::Write as _;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use demilune_core::Hooks;
use demilune_core::chain::Part;
use demilune_testkit::{Origin, Reply};

use crate::fixture::{Gateway, HELLO, always, answer, brotli, chunked, deflate, gzip, open, part};
use crate::policies::{Masks, Measures, Notes};

fn masks() -> Hooks {
    Hooks::new().response_chunk_rewriter(&Arc::new(Masks))
}

/// What the client gets of an answer through these policies.
fn through(parts: Vec<Part>, bytes: Vec<u8>) -> (Reply, Gateway) {
    let gateway = Gateway::start(always(bytes), parts);
    let reply = gateway.client().get("/", &[]);
    (reply, gateway)
}

#[test]
fn a_masker_finds_what_comes_in_pieces() {
    let text = "a secret, a sec, a secretsecre";
    let headers = ["etag: \"a\"", "content-digest: x", "content-type: text/plain"];
    let coded = [&headers[..], &["content-encoding: gzip"]].concat();
    for bytes in [
        answer(&headers, text),
        chunked(&headers, text),
        answer(&coded, gzip(text)),
        chunked(&coded, gzip(text)),
    ] {
        let (reply, gateway) = through(vec![part("masks", masks())], bytes);
        assert!(reply.whole);
        assert_eq!(reply.text(), "a ******, a sec, a ******secre");
        let names = ["etag", "content-digest", "content-encoding", "content-length"];
        assert_eq!(names.map(|name| reply.header(name)), [None; 4]);
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        gateway.logs(&["\"end\":\"complete\"", "\"policy\":\"masks\""]);
    }
}

#[test]
fn an_inspector_alone_changes_nothing_but_codings() {
    let notes = Notes::default();
    let parts = || vec![part("measures", Measures::hooks(&notes, 1000))];
    for (headers, body, etag) in [
        (vec!["etag: \"a\"", "digest: x"], HELLO.as_bytes().to_vec(), "\"a\""),
        (vec!["etag: \"a\"", "content-encoding: br"], brotli(), "W/\"a\""),
        (vec!["etag: \"a\"", "content-encoding: deflate"], deflate(HELLO), "W/\"a\""),
    ] {
        let (reply, _gateway) = through(parts(), chunked(&headers, body));
        assert_eq!((reply.text(), reply.header("etag")), (HELLO.to_owned(), Some(etag)));
    }
    assert_eq!(notes.all(), [HELLO, HELLO, HELLO]);
}

#[test]
fn hooks_on_chunks_run_in_the_order_of_the_stage() {
    let [wide, narrow] = [Notes::default(), Notes::default()];
    let parts = vec![
        part("wide", Measures::hooks(&wide, 1000)),
        part("masks", masks()),
        part("narrow", Measures::hooks(&narrow, 1000)),
    ];
    let (reply, _gateway) = through(parts, chunked(&[], "a secret"));
    assert_eq!(reply.text(), "a ******");
    assert_eq!((narrow.all(), wide.all()), (vec!["a secret".into()], vec!["a ******".into()]));
}

#[test]
fn what_has_passed_is_sent_before_the_rest_has_come() {
    for coded in [false, true] {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let origin = Origin::talking(move |_, tcp| {
            let chunk = |bytes: &[u8]| {
                let size = format!("{:x}\r\n", bytes.len());
                [size.as_bytes(), bytes, b"\r\n"].concat()
            };
            let coding = if coded { "content-encoding: gzip\r\n" } else { "" };
            let head = format!("HTTP/1.1 200 OK\r\n{coding}transfer-encoding: chunked\r\n\r\n");
            let mut encoder =
                flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            let mut part = |text: &[u8], last: bool| {
                if !coded {
                    return text.to_vec();
                }
                encoder.write_all(text).unwrap();
                encoder.flush().unwrap();
                if last {
                    encoder.try_finish().unwrap();
                }
                std::mem::take(encoder.get_mut())
            };
            let first = part(b"data: one\n\n", false);
            tcp.write_all(&[head.as_bytes(), &chunk(&first)].concat()).unwrap();
            // An error: the client has the first event.
            let _ = gone.lock().unwrap().recv();
            let second = part(b"data: two\n\n", true);
            tcp.write_all(&[&chunk(&second)[..], b"0\r\n\r\n"].concat()).is_ok()
        });
        let gateway = Gateway::start(origin, vec![part("masks", masks())]);
        let mut client = gateway.client();
        client.begin("GET", "/", &[]);
        assert_eq!(client.head().unwrap().status, 200);
        let mut first = Vec::new();
        while first.len() < 11 {
            first.extend(client.chunk().unwrap());
        }
        assert_eq!(first, b"data: one\n\n");
        drop(go);
        let mut rest = Vec::new();
        while let Some(chunk) = client.chunk().filter(|chunk| !chunk.is_empty()) {
            rest.extend(chunk);
        }
        assert_eq!(rest, b"data: two\n\n");
        // And both connections go on.
        client.begin("GET", "/", &[]);
        assert_eq!(client.read(false).unwrap().text(), "data: one\n\ndata: two\n\n");
        assert_eq!(gateway.origin.connections(), 1);
    }
}

/// The client is shown that what it gets is cut short, and the line says why.
fn is_cut(reply: &Reply, gateway: &Gateway, code: &str) {
    assert!(reply.status == 200 && !reply.whole, "{code} {reply:?}");
    gateway.logs(&["\"status\":200", &format!("\"code\":\"{code}\""), "\"end\":\"cut\""]);
    gateway.origin.wait_ended(usize::from(code != "measures.end"));
}

#[test]
fn an_inspector_cuts_off_what_may_not_pass() {
    let notes = Notes::default();
    let hooks = || Measures::hooks(&notes, 5);
    for bytes in [answer(&[], "1234567890"), chunked(&[], "1234567890")] {
        let (reply, gateway) = through(vec![part("measures", hooks())], bytes);
        is_cut(&reply, &gateway, "measures.most");
        assert!(reply.body.len() <= 5, "{reply:?}");
    }
    for bytes in [answer(&[], "123?"), chunked(&[], "123?")] {
        let (reply, gateway) = through(vec![part("measures", hooks())], bytes);
        is_cut(&reply, &gateway, "measures.end");
    }
}

#[test]
fn what_cannot_be_decoded_is_cut_off_where_it_breaks() {
    let notes = Notes::default();
    let coded = |body: Vec<u8>| chunked(&["content-encoding: gzip"], body);
    let zipped = gzip(HELLO);
    for (code, bytes) in [
        ("response.broken_coding", coded(zipped.get(..zipped.len() - 3).unwrap().to_vec())),
        ("response.broken_coding", coded([zipped.clone(), b"x".to_vec()].concat())),
        ("response.broken_coding", coded(b"no gzip".to_vec())),
        ("response.too_large", coded(gzip(vec![0; 1 << 20]))),
        (
            "response.too_large",
            answer(&["content-encoding: gzip, gzip"], gzip(gzip(vec![0; 2 << 20]))),
        ),
    ] {
        let hooks = Measures::hooks(&notes, usize::MAX);
        let (reply, gateway) = through(vec![part("measures", hooks)], bytes);
        is_cut(&reply, &gateway, code);
    }
    assert!(notes.all().is_empty(), "none of these came to its end");
    // What is known to be unreadable is refused before anything is sent.
    for (bytes, code) in [
        (answer(&["content-encoding: zstd"], "x"), "response.coding"),
        (answer(&["content-range: bytes 0-0/9"], "x"), "response.partial"),
    ] {
        let (reply, gateway) = through(vec![part("masks", masks())], bytes);
        assert_eq!(reply.status, 502);
        gateway.logs_code(code);
    }
}

#[test]
fn an_upstream_that_breaks_off_or_stalls_is_shown_as_such() {
    let origin = Origin::conversing(|talk| {
        let Some(seen) = talk.request() else { return };
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        if seen.line.contains("/stall") {
            talk.ends();
        }
    });
    let parts = vec![part("masks", masks())];
    let gateway = Gateway::impatient(origin, parts, Duration::from_millis(300));
    for path in ["/cut", "/stall"] {
        let reply = gateway.client().get(path, &[]);
        assert!(reply.status == 200 && !reply.whole);
        assert_eq!(reply.text(), "hello");
        gateway.logs(&[path, "\"end\":\"upstream_cut\""]);
    }
}

#[test]
fn a_fault_in_a_stream_cuts_it_off_and_only_an_inspectors_can_be_open() {
    let notes = Notes::default();
    let measures = || Measures::hooks(&notes, 1000);
    let (reply, gateway) = through(vec![part("measures", measures())], chunked(&[], "ab!cd"));
    is_cut(&reply, &gateway, "policy.fault");
    let (reply, gateway) = through(vec![open("measures", measures())], chunked(&[], "ab!cd"));
    assert!(reply.whole && reply.text() == "ab!cd");
    gateway.logs(&["\"verdict\":\"fault_open\"", "\"end\":\"complete\""]);
    for part in [part("masks", masks()), open("masks", masks())] {
        let (reply, gateway) = through(vec![part], answer(&[], "an enigma"));
        is_cut(&reply, &gateway, "policy.fault");
    }
}

#[test]
fn a_panic_in_a_stream_cuts_it_off() {
    let notes = Notes::default();
    let hooks = Measures::hooks(&notes, 1000);
    let (reply, gateway) = through(vec![part("measures", hooks)], answer(&[], "ab#cd"));
    is_cut(&reply, &gateway, "gateway.panic");
}

#[test]
fn a_hook_may_leave_an_answer_alone_and_a_fault_at_its_head_refuses_it() {
    let never = || answer(&["x-mask: never", "etag: \"a\""], "a secret");
    let cannot = || chunked(&["x-mask: cannot"], "a secret");
    let (reply, _gateway) = through(vec![part("masks", masks())], never());
    assert_eq!(reply.text(), "a secret");
    let told = ["etag", "content-length"].map(|name| reply.header(name));
    assert_eq!(told, [Some("\"a\""), Some("8")]);
    let coded = ["x-mask: never", "etag: \"a\"", "content-encoding: gzip"];
    let (reply, _gateway) = through(vec![part("masks", masks())], answer(&coded, gzip("a secret")));
    assert_eq!((reply.text(), reply.header("etag")), ("a secret".into(), Some("W/\"a\"")));
    let (reply, gateway) = through(vec![part("masks", masks())], cannot());
    assert_eq!(reply.status, 503);
    gateway.logs_code("policy.fault");
    let (reply, _gateway) = through(vec![open("masks", masks())], cannot());
    assert_eq!((reply.status, reply.text()), (200, "a secret".to_owned()));
}

#[test]
fn a_client_that_leaves_a_stream_is_not_read_for() {
    let origin = Origin::conversing(|talk| {
        if talk.request().is_some() {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while talk.sends("5\r\nhello\r\n") {}
        }
    });
    let gateway = Gateway::start(origin, vec![part("masks", masks())]);
    let mut client = gateway.client();
    client.begin("GET", "/", &[]);
    assert_eq!(client.head().unwrap().status, 200);
    drop(client);
    gateway.origin.wait_ended(1);
    gateway.logs(&["\"end\":\"client_left\""]);
}

#[test]
fn an_empty_body_comes_to_its_end_too() {
    let notes = Notes::default();
    for bytes in [answer(&[], ""), chunked(&[], "")] {
        let hooks = Measures::hooks(&notes, 5);
        let (reply, gateway) = through(vec![part("measures", hooks)], bytes);
        assert!(reply.status == 200 && reply.whole && reply.body.is_empty());
        gateway.logs(&["\"end\":\"complete\""]);
    }
    assert_eq!(notes.all(), ["", ""]);
}
