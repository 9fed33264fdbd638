//! nginx relays the answers that we accept with the status and the body that we read.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;

use crate::answer;
use crate::nginx::Nginx;
use crate::seeds::{ANSWERS, each};

/// Mutations of each seed.
const ROUNDS: usize = 1000;

const RELAY: &str = "proxy_pass http://unix:FOLDER/out.sock:;
            proxy_http_version 1.1;
            proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate
                X-Accel-Buffering X-Accel-Charset;
            proxy_redirect off;";

/// Status and body of what came from nginx, which was asked by HTTP/1.0 and so uses no chunks.
fn relayed(said: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let status = std::str::from_utf8(said.get(9..12)?).ok()?.parse().ok()?;
    Some((status, said[end..].to_vec()))
}

#[test]
fn nginx_relays_the_answers_that_we_accept_as_we_read_them() {
    let nginx = Nginx::start(RELAY);
    let origin = UnixListener::bind(nginx.path("out.sock")).unwrap();
    let (sender, answers) = mpsc::channel::<Vec<u8>>();
    let server = std::thread::spawn(move || {
        for bytes in answers {
            let (mut stream, _) = origin.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut some = [0; 512];
                let count = stream.read(&mut some).unwrap();
                assert!(count > 0, "nginx hung up");
                asked.extend_from_slice(&some[..count]);
            }
            stream.write_all(&bytes).unwrap();
        }
    });
    let mut relays = 0;
    each(ANSWERS, ROUNDS, |bytes| {
        let Some(message) = answer(bytes) else { return };
        // It takes an interim answer for the last one; above the codec we wait for that.
        if message.head.status.is_informational() {
            return;
        }
        relays += 1;
        let shown = bytes.escape_ascii().to_string();
        sender.send(bytes[..message.length].to_vec()).unwrap();
        let said = nginx.says_to(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n");
        let expected = (message.head.status.as_u16(), message.body);
        let told = String::from_utf8_lossy(&said);
        assert_eq!(relayed(&said), Some(expected), "{shown}\n{told}");
    });
    drop(sender);
    server.join().unwrap();
    assert!(relays > ANSWERS.len() * ROUNDS / 10, "relayed {relays} only");
}
