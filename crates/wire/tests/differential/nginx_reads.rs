//! nginx sees the requests that we accept end where we see them end.
//!
//! Each is followed by another request on the same connection. nginx must answer the first one, by
//! the method and target that we read, and then that other one: had the two of us read different
//! lengths, something else would be answered.

use http::Method;
use http::header::{CONNECTION, HOST};

use crate::nginx::Nginx;
use crate::seeds::{REQUESTS, each};
use crate::{Message, request};

/// Mutations of each seed.
const ROUNDS: usize = 1500;

const ECHO: &str = "return 200 \"$request_method $request_uri $http_cookie $http_x_a\\n\";";
const NEXT: &str = "GET /the-next-one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// Why nginx is not asked about a request that we accept.
fn exception(bytes: &[u8], head: &demilune_wire::RequestHead) -> Option<&'static str> {
    if bytes.contains(&b'\t') {
        return Some("it takes HTAB around a value for a part of the value");
    }
    let method = head.method.as_str();
    if !method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte)) {
        return Some("it knows methods of upper case letters only; a method is any token");
    }
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Some("it does not offer these; whether we do is judged above the codec");
    }
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let mut hosts = head.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Some("it wants one Host; ours is judged above the codec");
    };
    let host = String::from_utf8_lossy(host.as_bytes()).into_owned();
    if !host.starts_with(|c: char| c.is_ascii_alphanumeric())
        || !plain(&host)
        || host.contains("..")
    {
        return Some("it judges what a Host may be; ours is judged above the codec");
    }
    let target = head.target.to_string();
    let authority = head.target.authority().map_or("a", |authority| authority.as_str());
    if !plain(authority) || authority.starts_with('.') || authority.contains("..") {
        return Some("the authority of a target is judged above the codec, with Host");
    }
    if target == "*" || !target.bytes().any(|byte| byte == b'/') {
        return Some("it answers no `OPTIONS *`");
    }
    if target.contains('%') || target.contains("..") {
        return Some(
            "it refuses broken encodings and paths beyond the root; ours are made canonical above",
        );
    }
    let fields = head.headers.get_all(CONNECTION).iter();
    let fields: Vec<_> = fields.map(|value| value.to_str().unwrap().to_lowercase()).collect();
    let tokens = || fields.iter().flat_map(|field| field.split(',')).map(str::trim);
    let holds = |word| move |token: &str| token.contains(word) && token != word;
    if tokens().any(holds("close")) || tokens().any(holds("keep-alive")) {
        return Some("it finds `close` and `keep-alive` within other words");
    }
    if tokens().any(|token| token == "close") && tokens().any(|token| token == "keep-alive") {
        return Some("it goes by the last of both; closing is the safe one");
    }
    None
}

/// What nginx says to a request that it reads as we do, followed by [`NEXT`].
fn expected(message: &Message<demilune_wire::RequestHead>) -> Vec<String> {
    let head = &message.head;
    let target = head.target.path_and_query().map_or("/", |target| target.as_str());
    let mut expected = vec![format!("{} {target} ", head.method)];
    if head.persistent {
        expected.push("GET /the-next-one ".to_owned());
    }
    expected
}

/// The bodies of the answers, as [`ECHO`] makes them, or the status lines of those that refuse.
fn echoes(said: &[u8], without_body: bool) -> Vec<String> {
    // An answer begins a line, which no echo does with the same words.
    let text = format!("\n{}", String::from_utf8_lossy(said));
    let mut echoes = Vec::new();
    for part in text.split("\nHTTP/1.1 ").skip(1).filter(|part| !part.starts_with("100 ")) {
        let (head, body) = part.split_once("\r\n\r\n").unwrap_or((part, ""));
        let refused = !head.starts_with("200 ");
        echoes.push(if refused { head.to_owned() } else { body.to_owned() });
    }
    if without_body && echoes.first().is_some_and(String::is_empty) {
        echoes.remove(0);
    }
    echoes
}

#[test]
fn nginx_sees_the_requests_that_we_accept_end_where_we_do() {
    let nginx = Nginx::start(ECHO);
    let mut asked = 0;
    each(REQUESTS, ROUNDS, |bytes| {
        let Some(message) = request(bytes) else { return };
        if exception(&bytes[..message.length], &message.head).is_some() {
            return;
        }
        asked += 1;
        let sent = [&bytes[..message.length], NEXT.as_bytes()].concat();
        let said = nginx.says_to(&sent);
        let shown = sent.escape_ascii().to_string();
        let without_body = message.head.method == Method::HEAD;
        let mut expected = expected(&message);
        if without_body {
            expected.remove(0);
        }
        let echoes = echoes(&said, without_body);
        assert_eq!(echoes.len(), expected.len(), "{shown}\n{echoes:?}");
        for (echo, expected) in echoes.iter().zip(&expected) {
            assert!(echo.starts_with(expected), "{shown}\n{echo:?} is not {expected:?}");
        }
    });
    assert!(asked > REQUESTS.len() * ROUNDS / 20, "asked about {asked} only");
}
