//! Upstreams that give no answer: what the client is told instead.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Gateway, Origin};
use serde_json::{Value, json};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// A URL where nobody listens, and what keeps it so.
fn nobody() -> (String, std::net::UdpSocket) {
    // The port is free for TCP and stays so: nobody is given it while it is held by UDP? No: only
    // the kernel's choice makes it unlikely; a listener that was closed answers with a refusal.
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    (format!("http://{}", socket.local_addr().unwrap()), socket)
}
