//! An origin that has secrets of its own, and tells them in every way it can.

use demilune_testkit::Origin;

/// Answers that are none, each with its code; `/open/NUMBER` gets one of them.
pub(crate) const MISANSWERS: [(&str, &str); 18] = [
    ("upstream.not_http", " canary\r\n\r\n"),
    ("upstream.status_line", "canary-garbage: this is no HTTP\r\n\r\n"),
    ("upstream.status_line", "HTTP/1.1 canary\r\n\r\n"),
    ("upstream.bare_lf", "HTTP/1.1 200 OK\r\nx: canary\ny: canary\r\n\r\n"),
    ("upstream.bare_cr", "HTTP/1.1 200 OK\r\nx: canary\ry: canary\r\n\r\n"),
    ("upstream.nul", "HTTP/1.1 200 OK\r\nx: canary\0canary\r\n\r\n"),
    ("upstream.folded_field", "HTTP/1.1 200 OK\r\nx: canary\r\n canary\r\n\r\n"),
    ("upstream.space_before_colon", "HTTP/1.1 200 OK\r\nset-cookie : canary\r\n\r\n"),
    ("upstream.field_line", "HTTP/1.1 200 OK\r\ncanary\r\n\r\n"),
    ("upstream.field_name", "HTTP/1.1 200 OK\r\nset cookie: canary-field\r\n\r\n"),
    ("upstream.field_value", "HTTP/1.1 200 OK\r\nset-cookie: canary\u{1}\r\n\r\n"),
    ("upstream.look_alike_field", "HTTP/1.1 200 OK\r\ncontent_length: canary\r\n\r\n"),
    ("upstream.ambiguous_length", "HTTP/1.1 200 OK\r\ncontent-length: canary\r\n\r\n"),
    ("upstream.transfer_encoding", "HTTP/1.1 200 OK\r\ntransfer-encoding: canary\r\n\r\n"),
    (
        "upstream.transfer_encoding_forbidden",
        "HTTP/1.1 204 canary\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    ("upstream.connection", "HTTP/1.1 200 OK\r\nconnection: canary canary\r\n\r\n"),
    ("upstream.unexpected", "HTTP/1.1 101 canary-phrase\r\nx: canary\r\n\r\n"),
    ("upstream.unexpected", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanarycanary"),
];

/// An origin whose answers hold secrets, or are none.
pub(crate) fn origin() -> Origin {
    Origin::answering(|seen| {
        let answer = |text: &str| text.as_bytes().to_vec();
        let name = seen.line.split(['/', ' ', '?']).nth(3).unwrap_or_default();
        if let Some((_, bytes)) = name.parse().ok().and_then(|n: usize| MISANSWERS.get(n)) {
            return answer(bytes);
        }
        match name {
            "cut" => Vec::new(),
            "tunnel" => answer(concat!(
                "HTTP/1.1 101 canary\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
                "sec-websocket-accept: kzJR19hOWh7QcjFkTcPWZMSobuc=\r\nx: canary\r\n\r\n",
                "canary-message"
            )),
            "odd" => {
                answer("HTTP/1.1 404 canary-phrase\r\nx: canary\r\ncontent-length: 6\r\n\r\ncanary")
            }
            "half" => {
                answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncanary")
            }
            _ => answer(
                "HTTP/1.1 200 OK\r\nset-cookie: canary-answer\r\ncontent-length: 6\r\n\r\ncanary",
            ),
        }
    })
}
