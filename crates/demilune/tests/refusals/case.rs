//! A request that is sent as it stands, and all that must come of its refusal.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use demilune_testkit::{Client, Document, Gateway, Origin};
use serde_json::Value;

use crate::start;

/// A request, the status it gets and the code it is logged with.
pub(crate) struct Case {
    request: Vec<u8>,
    status: u16,
    code: &'static str,
}

/// Up to this size, in bytes, a case is sent a second time, a byte at a time.
const SMALL: usize = 1024;

/// Codes of heads that have one meaning as HTTP/1.1, and are refused for what they mean. The client
/// may go on behind such a head; behind any other nobody knows where the next one begins.
const MEANT: [&str; 4] = ["http.host", "http.scheme", "http.method", "http.path"];

impl Case {
    /// Exactly these bytes.
    pub(crate) fn new(request: impl AsRef<[u8]>, status: u16, code: &'static str) -> Self {
        Self { request: request.as_ref().to_vec(), status, code }
    }

    /// `GET` of a target.
    pub(crate) fn get(target: &str, status: u16, code: &'static str) -> Self {
        Self::new(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"), status, code)
    }

    /// `POST` with these fields and no other.
    pub(crate) fn with(fields: &str, status: u16, code: &'static str) -> Self {
        Self::new(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n"), status, code)
    }

    /// `POST` with this in the place of a body in chunks.
    pub(crate) fn chunks(body: impl AsRef<[u8]>, code: &'static str) -> Self {
        let head = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
        Self::new([head, body.as_ref()].concat(), 400, code)
    }

    /// A case of 400 for each request.
    pub(crate) fn all<R: AsRef<[u8]>>(
        code: &'static str,
        requests: impl IntoIterator<Item = R>,
    ) -> Vec<Self> {
        requests.into_iter().map(|request| Self::new(request, 400, code)).collect()
    }

    /// The request as text, for messages.
    fn told(&self) -> String {
        let text: String = String::from_utf8_lossy(&self.request).chars().take(200).collect();
        format!("{text:?}")
    }

    /// Sends it on a connection of its own.
    fn send(&self, gateway: &Gateway, drops: bool) -> Client {
        let mut client = gateway.client("main");
        if drops {
            client.send_in(1, &self.request);
        } else {
            client.send(&self.request);
        }
        client
    }

    /// Reads the answer; gives the id that it names.
    fn answer(&self, client: &mut Client) -> Value {
        let told = self.told();
        let reply = client.read(false).unwrap_or_else(|| panic!("{told} got no answer"));
        assert_eq!(reply.status, self.status, "{told} {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{told}");
        assert!(reply.whole, "{told}");
        if !MEANT.contains(&self.code) {
            assert_eq!(reply.header("connection"), Some("close"), "{told}");
            assert!(client.ends(), "{told}");
        }
        let said = reply.json();
        assert_eq!(said["status"], self.status, "{told}");
        said["request_id"].clone()
    }

    /// Looks for the one access line of the client at `port` and for its one event.
    fn logged(&self, lines: &[Value], port: u16, id: &Value) {
        let told = self.told();
        let of_port = |line: &&Value| line["kind"] == "access" && line["port"] == port;
        let access: Vec<&Value> = lines.iter().filter(of_port).collect();
        assert_eq!(access.len(), 1, "{told} {access:#?}");
        let access = access[0];
        let said = (access["code"].as_str(), access["status"].as_u64(), access["end"].as_str());
        let expected = (Some(self.code), Some(self.status.into()), Some("complete"));
        assert_eq!(said, expected, "{told}");
        assert_eq!(access["request_id"], *id, "{told}");
        let of_request = |line: &&Value| line["kind"] == "event" && line["request_id"] == *id;
        let events: Vec<&Value> = lines.iter().filter(of_request).collect();
        assert_eq!(events.len(), 1, "{told} {events:#?}");
        assert_eq!(events[0]["type"], self.code, "{told}");
    }
}

/// Sends each case on a connection of its own, whole and, where it is small, a byte at a time. Each
/// must get its status in an answer of ours, one access line with its code, one event and one
/// count, and reach no origin; the code must stand with its status in the documentation.
pub(crate) fn check(cases: &[Case]) {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let small = cases.iter().filter(|case| case.request.len() <= SMALL);
    let sendings: Vec<(&Case, bool)> =
        cases.iter().map(|case| (case, false)).chain(small.map(|case| (case, true))).collect();
    let mut clients = Vec::new();
    let mut ids = Vec::new();
    for (case, drops) in &sendings {
        let mut client = case.send(&gateway, *drops);
        ids.push(case.answer(&mut client));
        // It stays open, so that its port names it alone.
        clients.push(client);
    }
    // Each is counted before its line is written.
    gateway.wait_many(sendings.len(), |line| line["kind"] == "access");
    let counted = |code: &str| {
        let labels = format!("policy=\"http\",verdict=\"deny\",code=\"{code}\"");
        gateway.metric(&format!("demilune_decisions_total{{{labels}}}"))
    };
    let mut counts: BTreeMap<&str, (f64, Option<f64>)> = BTreeMap::new();
    for (case, _) in &sendings {
        counts.entry(case.code).or_insert_with(|| (0.0, counted(case.code))).0 += 1.0;
    }
    let ports: Vec<u16> = clients.iter().map(|client| client.port()).collect();
    drop(clients);
    let lines = gateway.stop();
    for ((case, _), (port, id)) in sendings.iter().zip(ports.iter().zip(&ids)) {
        case.logged(&lines, *port, id);
    }
    for (code, (sent, counted)) in counts {
        assert_eq!(counted, Some(sent), "{code} is counted");
    }
    assert!(origin.seen().is_empty(), "{:#?}", origin.seen());
    documented(cases);
}

/// Looks each code up in docs/errors.md, with its status.
fn documented(cases: &[Case]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    for Case { code, status, .. } in cases {
        let row = format!("| `{code}` | {status} |");
        assert!(text.contains(&row), "{row} is not in docs/errors.md");
    }
}
