//! Requests as honest programs write them: odd, and legal. None of them may be refused.

use demilune_testkit::{Document, Origin, Seen};

use crate::start;

/// Sends requests, each in bytes, on one connection; each must reach the origin. Gives them as the
/// origin got them.
fn pass(requests: &[&[u8]]) -> Vec<Seen> {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (number, request) in requests.iter().enumerate() {
        client.send(request);
        let reply = client.read(request.starts_with(b"HEAD")).unwrap();
        let text = String::from_utf8_lossy(request);
        assert_eq!((reply.status, reply.whole), (200, true), "{text:.200} {}", reply.text());
        assert_eq!(origin.seen().len(), number + 1, "{text:.200}");
    }
    let lines = gateway.stop();
    let events: Vec<_> = lines.iter().filter(|line| line["kind"] == "event").collect();
    assert!(events.is_empty(), "{events:#?}");
    origin.seen()
}

const CHROME: &str = "GET /search?q=caf%C3%A9+au+lait&tags[]=a&tags[]=b HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    sec-ch-ua: \"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    sec-ch-ua-platform: \"Linux\"\r\n\
    DNT: 1\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/130.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7\r\n\
    Sec-Fetch-Site: none\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-User: ?1\r\n\
    Sec-Fetch-Dest: document\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n\
    If-None-Match: W/\"5e0c-18f\"\r\n\
    If-Modified-Since: Mon, 18 Nov 2024 08:12:31 GMT\r\n\r\n";

const FIREFOX: &str = "GET /a(b)/c,d=e:f@g!$&'*+~?x=1;y=2&z=/?:@ HTTP/1.1\r\n\
    Host: shop.example.com:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Referer: http://shop.example.com:8080/?q=a%20b#top\r\n\
    DNT: 1\r\n\
    Sec-GPC: 1\r\n\
    Connection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    Priority: u=0, i\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\r\n";

const FETCH: &str = "POST /api/v1/orders HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    Connection: keep-alive\r\n\
    Content-Length: 14\r\n\
    X-Requested-With: XMLHttpRequest\r\n\
    Content-Type: application/json; charset=\"utf-8\"\r\n\
    Accept: */*\r\n\
    Origin: null\r\n\
    Save-Data: on\r\n\
    X-CSRF-Token: \r\n\r\n{\"order\":true}";

#[test]
fn requests_of_browsers_pass() {
    let seen = pass(&[CHROME.as_bytes(), FIREFOX.as_bytes(), FETCH.as_bytes()]);
    let line = "GET /search?q=caf%C3%A9+au+lait&tags[]=a&tags[]=b HTTP/1.1";
    assert_eq!(seen[0].line, line);
    let brands = "\"Chromium\";v=\"130\", \"Google Chrome\";v=\"130\", \"Not?A_Brand\";v=\"99\"";
    assert_eq!(seen[0].header("sec-ch-ua"), Some(brands));
    assert_eq!(seen[1].line, "GET /a(b)/c,d=e:f@g!$&'*+~?x=1;y=2&z=/?:@ HTTP/1.1");
    assert_eq!(seen[1].header("referer"), Some("http://shop.example.com:8080/?q=a%20b#top"));
    assert_eq!(seen[2].body, b"{\"order\":true}");
    assert_eq!(
        (seen[2].header("origin"), seen[2].header("x-csrf-token")),
        (Some("null"), Some(""))
    );
}

#[test]
fn requests_of_programs_pass() {
    let amz = "PUT /bucket/key HTTP/1.1\r\nHost: a\r\nUser-Agent: aws-sdk-rust/1.3 os/linux\r\n\
               Content-Encoding: aws-chunked\r\nTransfer-Encoding: chunked\r\n\
               X-Amz-Decoded-Content-Length: 5\r\nX-Amz-Trailer: x-amz-checksum-crc32\r\n\
               Trailer: x-amz-checksum-crc32\r\n\r\n5\r\nhello\r\n0\r\n\
               x-amz-checksum-crc32: i9aeUg==\r\n\r\n";
    let soap = "POST /soap HTTP/1.1\r\nSOAPAction: \"\"\r\nContent-Type: text/xml;charset=UTF-8\r\n\
                Host: a\r\nContent-Length: 4\r\nConnection: Keep-Alive\r\n\
                User-Agent: Apache-HttpClient/4.5.5 (Java/1.8.0_202)\r\n\r\n<a/>";
    let seen = pass(&[
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\n\r\n",
        b"GET / HTTP/1.1\r\nUser-Agent: Wget/1.21.3\r\nAccept: */*\r\nAccept-Encoding: identity\r\n\
          Host: a\r\nConnection: Keep-Alive\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: Go-http-client/1.1\r\n\
          Transfer-Encoding: chunked\r\nAccept-Encoding: gzip\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nuser-agent: python-requests/2.31.0\r\n\
          accept-encoding: gzip, deflate\r\naccept: */*\r\nConnection: keep-alive\r\n\
          content-length: 0\r\n\r\n",
        b"GET / HTTP/1.1\r\nTE: deflate,gzip;q=0.3\r\nConnection: TE\r\nHost: a\r\n\
          User-Agent: lwp-request/6.68 libwww-perl/6.68\r\n\r\n",
        b"PROPFIND /dav/ HTTP/1.1\r\nHost: a\r\nDepth: 1\r\nContent-Length: 0\r\n\r\n",
        b"REPORT /dav/ HTTP/1.1\r\nHost: a\r\nIf: (<opaquelocktoken:1>)\r\n\r\n",
        b"DELETE /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n\
          Content-Length: 2\r\n\r\n{}",
        b"OPTIONS /a HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: PUT\r\n\
          Access-Control-Request-Headers: x-a,x-b\r\nOrigin: https://b.example\r\n\r\n",
        b"M-SEARCH /a HTTP/1.1\r\nHost: a\r\nRange: bytes=0-99,200-\r\nVia: 1.1 a, 1.0 b (c/1)\r\n\
          Forwarded: for=\"[2001:db8::1]\";proto=https\r\n\r\n",
        amz.as_bytes(),
        soap.as_bytes(),
    ]);
    assert_eq!(seen[6].line, "PROPFIND /dav/ HTTP/1.1");
    assert_eq!(seen[7].header("if"), Some("(<opaquelocktoken:1>)"));
    assert_eq!(seen[11].body, b"hello");
    assert_eq!(seen[12].header("soapaction"), Some("\"\""));
}

#[test]
fn odd_bytes_that_may_stand_in_values_and_names_pass_unchanged() {
    let cookie: String = (0..).map(|n| format!("c{n}={{\"a\":[1,2|3]}}^`~; ")).take(300).collect();
    let cookie = cookie.get(..6 << 10).unwrap().trim_end();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n");
    let names = "!#$%&'*+-.^_`|~0aZ";
    let named = format!("GET / HTTP/1.1\r\nHost: a\r\n{names}: odd\r\nX_Y.Z: x\r\n1: 2\r\n\r\n");
    let seen = pass(&[
        request.as_bytes(),
        named.as_bytes(),
        b"GET / HTTP/1.1\r\nHost: a\r\nx-latin: caf\xe9\xff\x80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nx-utf8: caf\u{e9} \u{2028}\r\n\r\n".as_bytes(),
        b"GET / HTTP/1.1\r\nHost: a\r\nx-tabs:\ta\tb \t c\t \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:a\r\nAccept:\r\nx-none: \t \r\nx-colon::a:b:\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nx: \"\\\\(),/:;<=>?@[]{}^`|~!#$%&'*+-._\r\n\r\n",
    ]);
    assert_eq!(seen[0].header("cookie"), Some(cookie));
    assert!(cookie.len() > 6_000);
    let name = names.to_ascii_lowercase();
    assert_eq!((seen[1].header(&name), seen[1].header("x_y.z")), (Some("odd"), Some("x")));
    assert_eq!(seen[1].header("1"), Some("2"));
    // As the reader of the test shows bytes that are not UTF-8.
    assert_eq!(seen[2].header("x-latin"), Some("caf\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!(seen[3].header("x-utf8"), Some("caf\u{e9} \u{2028}"));
    assert_eq!(seen[4].header("x-tabs"), Some("a\tb \t c"));
    let said = ["accept", "x-none", "x-colon"].map(|name| seen[5].header(name));
    assert_eq!(said, [Some(""), Some(""), Some(":a:b:")]);
    assert_eq!(seen[6].header("x"), Some("\"\\\\(),/:;<=>?@[]{}^`|~!#$%&'*+-._"));
}

#[test]
fn odd_forms_of_requests_that_are_legal_pass() {
    // What browsers leave as it is (URL standard), and RFC 3986 has in none of its productions.
    let odd = "GET /a|b[c]^{d}?a|b={%22x%22}^`[]&path=C:\\c HTTP/1.1";
    let raw = format!("{odd}\r\nHost: a\r\n\r\n");
    let long = format!("/{}?q={}", "a".repeat(4000), "b".repeat(8000));
    let long = format!("GET {long} HTTP/1.1\r\nHost: a\r\n\r\n");
    let seen = pass(&[
        b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        b"\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http://a/4?b HTTP/1.1\r\nHost: a\r\nProxy-Connection: keep-alive\r\n\r\n",
        b"GET HTTP://A HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /6 HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
        b"GET /7 HTTP/1.1\r\nHost: [2001:db8::1]:8080\r\nKeep-Alive: timeout=5, max=100\r\n\r\n",
        b"GET /8 HTTP/1.1\r\nHost: a_b.Example.com.\r\nConnection: keep-alive, keep-alive\r\n\r\n",
        b"GET /?url=http://b.example/?c=d&e[f][]=g&h=i,j:k@l!m$n'(o)*p HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a?%&%%&%zz=%u2603 HTTP/1.1\r\nHost: a\r\n\r\n",
        long.as_bytes(),
        raw.as_bytes(),
    ]);
    assert_eq!(seen[11].line, odd);
    assert_eq!((&*seen[2].line, &*seen[3].line), ("GET /3 HTTP/1.1", "GET /4?b HTTP/1.1"));
    assert_eq!(seen[4].line, "GET / HTTP/1.1");
    let query = "GET /?url=http://b.example/?c=d&e[f][]=g&h=i,j:k@l!m$n'(o)*p HTTP/1.1";
    assert_eq!((&*seen[8].line, &*seen[9].line), (query, "GET /a?%&%%&%zz=%u2603 HTTP/1.1"));
}
