//! An exchange to record, and what became of it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use demilune_core::consumer::{Consumer, Identity};
use demilune_core::head::{Downstream, RequestId, TlsFacts};
use demilune_core::record::{Attempt, End, Record};
use demilune_core::stage::Stage;
use demilune_core::time::{Clock, Moment};
use demilune_core::trail::{Step, StepVerdict, Trail};
use demilune_telemetry::Telemetry;
use serde_json::Value;

/// Telemetry whose lines are kept.
pub(crate) struct Fixture {
    pub(crate) telemetry: Arc<Telemetry>,
    lines: Kept,
}

/// What one exchange consists of, for [`Fixture::record`].
pub(crate) struct Facts {
    pub(crate) downstream: Downstream,
    pub(crate) identity: Option<Identity>,
    pub(crate) trail: Trail,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

struct Stopped;

impl Fixture {
    pub(crate) fn new() -> Self {
        let lines = Kept::default();
        let telemetry = Telemetry::new(Box::new(lines.clone()), Arc::new(Stopped)).unwrap();
        Self { telemetry, lines }
    }

    /// Records an exchange of `facts`, changed by `change`.
    pub(crate) fn record<'a>(&self, facts: &'a Facts, change: impl FnOnce(&mut Record<'a>)) {
        let mut record = facts.record();
        change(&mut record);
        self.telemetry.recorder().record(&record);
    }

    /// Ends the telemetry, and gives the text written.
    pub(crate) fn text(&self) -> String {
        self.telemetry.shutdown();
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    /// Ends the telemetry, and gives the lines of `kind` written.
    pub(crate) fn lines(&self, kind: &str) -> Vec<Value> {
        let lines = self.text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        lines.filter(|line| line["kind"] == kind).collect()
    }
}

impl Facts {
    pub(crate) fn new() -> Self {
        let peer = "[::ffff:198.51.100.7]:50123".parse().unwrap();
        let downstream = Downstream::new(peer, "public".into(), None);
        Self { downstream, identity: None, trail: Trail::default() }
    }

    pub(crate) fn tls(mut self) -> Self {
        self.downstream.tls = Some(TlsFacts { version: "TLSv1.3", ..TlsFacts::default() });
        self
    }

    pub(crate) fn identity(mut self, subject: &str, proved_by: &[&str]) -> Self {
        let (groups, attributes) = (Vec::new(), Default::default());
        let consumer = Consumer { name: subject.into(), groups, attributes };
        let mut identity = Identity::of(Arc::new(consumer));
        identity.proved_by.extend(proved_by.iter().map(|name| Arc::from(*name)));
        self.identity = Some(identity);
        self
    }

    pub(crate) fn step(mut self, policy: &'static str, stage: Stage, verdict: StepVerdict) -> Self {
        let duration = Duration::from_micros(3);
        self.trail.push(Step { policy: Cow::Borrowed(policy), stage, verdict, duration });
        self
    }

    /// As an authenticator, whose name comes from the document.
    pub(crate) fn asked(mut self, name: &str, verdict: StepVerdict) -> Self {
        let (policy, stage) = (Cow::Owned(name.to_owned()), Stage::Authenticate);
        self.trail.push(Step { policy, stage, verdict, duration: Duration::from_micros(7) });
        self
    }

    pub(crate) fn record(&self) -> Record<'_> {
        Record {
            id: RequestId(0xab),
            started: Moment {
                wall: Duration::new(1_800_000_000, 42_000),
                monotonic: Duration::from_secs(5),
            },
            duration: Duration::from_micros(1_500),
            admitted_after: Duration::from_micros(12),
            downstream: &self.downstream,
            version: "HTTP/1.1",
            method: "GET",
            host: "api.example.com",
            path: "/v1/orders",
            user_agent: "probe/1.0",
            status: 200,
            route: Some("orders"),
            identity: self.identity.as_ref(),
            trail: &self.trail,
            attempt: None,
            received: 0,
            sent: 512,
            end: End::Complete,
        }
    }
}

pub(crate) const ATTEMPT: Attempt<'static> = Attempt {
    upstream: "shop",
    endpoint: "https://10.0.0.11:8443",
    attempts: 2,
    head_after: Duration::from_micros(900),
};

pub(crate) fn proved() -> StepVerdict {
    StepVerdict::Proved("acme".into())
}

pub(crate) fn deny(status: u16, code: &'static str, log: &'static str) -> StepVerdict {
    StepVerdict::Deny { status, code, log: Cow::Borrowed(log) }
}

pub(crate) fn fault(open: bool, reason: &'static str) -> StepVerdict {
    StepVerdict::Fault { reason: Cow::Borrowed(reason), open }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Clock for Stopped {
    fn now(&self) -> Moment {
        Moment { wall: Duration::from_secs(1_800_000_000), monotonic: Duration::ZERO }
    }
}
