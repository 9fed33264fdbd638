//! What hooks on bodies change of heads, both ways, and where they are not asked.

use std::sync::Arc;

use demilune_core::{Chain, Hooks, Requirement};
use demilune_testkit::Origin;

use crate::fixture::{Gateway, HELLO, answer, gzip, named, part};
use crate::policies::{Looks, Masks, Measures, Notes, Replaces};

const ASKED: [(&str, &str); 4] = [
    ("accept-encoding", "zstd, br"),
    ("range", "bytes=0-1"),
    ("if-range", "\"a\""),
    ("a-im", "vcdiff"),
];

#[test]
fn the_upstream_is_asked_for_the_whole_and_without_a_coding() {
    let notes = Notes::default();
    for hooks in [
        Looks::hooks(&notes, 1000),
        Replaces::hooks("a", "b"),
        Measures::hooks(&notes, 1000),
        Hooks::new().response_chunk_rewriter(&Arc::new(Masks)),
    ] {
        let gateway = Gateway::start(Origin::start(), vec![part("hooked", hooks)]);
        let mut client = gateway.client();
        for headers in [&ASKED[..], &[]] {
            assert_eq!(client.get("/", headers).text(), "hello");
            let seen = gateway.origin.last();
            assert_eq!(seen.all("accept-encoding"), ["identity"]);
            for name in ["range", "if-range", "a-im"] {
                assert_eq!(seen.header(name), None, "{name}");
            }
        }
    }
}

#[test]
fn a_route_without_such_hooks_passes_codings_and_ranges_on() {
    let notes = Notes::default();
    let chain = |parts| Chain::new(Requirement::Public, parts, Vec::new());
    let routes = vec![
        named("hooked", "", "/hooked", chain(vec![part("looks", Looks::hooks(&notes, 1000))])),
        named("plain", "", "/plain", chain(Vec::new())),
    ];
    let origin = Origin::answering(|_| {
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-1/9\r\n";
        let head = format!("{head}content-encoding: zstd\r\netag: \"a\"\r\n");
        format!("{head}accept-ranges: bytes\r\ncontent-length: 2\r\n\r\nxx").into_bytes()
    });
    let gateway = Gateway::with(origin, routes);
    let mut client = gateway.client();
    let reply = client.get("/plain", &ASKED);
    assert_eq!((reply.status, reply.text()), (206, "xx".to_owned()));
    let told = ["content-encoding", "etag", "accept-ranges"].map(|name| reply.header(name));
    assert_eq!(told, ["zstd", "\"a\"", "bytes"].map(Some));
    let seen = gateway.origin.last();
    for (name, value) in ASKED {
        assert_eq!(seen.header(name), Some(value));
    }
    assert_eq!(client.get("/hooked", &ASKED).status, 502);
}

/// The status and these headers of an answer without a body, through `hooks`.
fn described(hooks: Hooks, method: &str, status: &str, headers: &str) -> Vec<String> {
    let (status, headers) = (status.to_owned(), headers.replace('|', "\r\n"));
    let origin = Origin::answering(move |_| {
        format!("HTTP/1.1 {status} X\r\n{headers}\r\n\r\n").into_bytes()
    });
    let gateway = Gateway::start(origin, vec![part("hooked", hooks)]);
    let mut client = gateway.client();
    client.begin(method, "/", &[]);
    let reply = client.read(true).unwrap();
    // The connection is still in step.
    client.begin("HEAD", "/", &[]);
    assert!(client.read(true).is_some());
    let names = ["content-length", "content-encoding", "etag", "digest", "accept-ranges"];
    let fields = names.iter().filter_map(|name| Some(format!("{name}: {}", reply.header(name)?)));
    std::iter::once(reply.status.to_string()).chain(fields).collect()
}

#[test]
fn where_there_is_no_body_only_the_head_is_made_true() {
    let notes = Notes::default();
    let looks = || Looks::hooks(&notes, 5);
    let replaces = || Replaces::hooks("a", "b");
    let plain = "content-length: 70000|etag: \"a\"|digest: x|accept-ranges: bytes";
    let coded = "content-length: 70000|content-encoding: zstd|etag: \"a\"|digest: x";
    // An inspector does not change what is not coded: it stays as it is, however long.
    assert_eq!(
        described(looks(), "HEAD", "200", plain),
        ["200", "content-length: 70000", "etag: \"a\"", "digest: x"]
    );
    // The length of what would be decoded nobody knows.
    assert_eq!(described(looks(), "HEAD", "200", coded), ["200", "etag: W/\"a\""]);
    assert_eq!(described(replaces(), "HEAD", "200", plain), ["200"]);
    // The client may have it under the weak tag.
    let tag = "etag: \"a\"";
    assert_eq!(described(looks(), "GET", "304", tag), ["304", "etag: W/\"a\""]);
    assert_eq!(described(replaces(), "GET", "304", tag), ["304", "etag: W/\"a\""]);
    assert_eq!(described(looks(), "GET", "204", "x: y"), ["204"]);
    // No body hides a part of one either.
    assert_eq!(described(looks(), "HEAD", "206", plain).first().unwrap(), "502");
    assert!(notes.all().is_empty());
}

#[test]
fn chunks_of_no_body_are_not_watched() {
    let notes = Notes::default();
    let hooks = Measures::hooks(&notes, 5);
    let told = described(hooks, "HEAD", "200", "content-length: 6");
    assert_eq!(told, ["200", "content-length: 6"]);
    assert!(notes.all().is_empty());
}

#[test]
fn an_old_client_gets_a_length_too() {
    let notes = Notes::default();
    let origin = Origin::answering(|_| answer(&["content-encoding: gzip"], gzip(HELLO)));
    let gateway = Gateway::start(origin, vec![part("looks", Looks::hooks(&notes, 1000))]);
    let mut client = gateway.client();
    client.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    let reply = client.read(false).unwrap();
    assert_eq!((reply.text(), reply.header("content-length")), (HELLO.to_owned(), Some("17")));
}
