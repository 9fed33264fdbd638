//! The line of the access log.

use std::borrow::Cow;

use demilune_core::record::{Attempt, Record};
use demilune_core::trail::{Finding, Step, Trail};
use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};

use crate::events::Names;
use crate::recorder::Scrubbed;
use crate::redact::redact;
use crate::stamp::micros;
use crate::verdict::{refusal, words};

/// Everything that is known of an exchange. What is empty is left out.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    kind: &'static str,
    time: &'a str,
    request_id: &'a str,
    listener: &'a str,
    client: &'a str,
    port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    proved_by: Names<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: Cow<'a, str>,
    #[serde(skip_serializing_if = "Steps::is_empty")]
    trail: Steps<'a>,
    #[serde(skip_serializing_if = "Findings::is_empty")]
    findings: Findings<'a>,
    #[serde(skip_serializing_if = "is_zero")]
    findings_dropped: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<Upstream<'a>>,
    received: u64,
    sent: u64,
    end: &'static str,
    duration_us: u64,
    admitted_us: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
}

impl<'a> Line<'a> {
    pub(crate) fn new(record: &Record<'a>, scrubbed: &'a Scrubbed<'a>) -> Self {
        let refusal = refusal(record.trail);
        let proved_by = record.identity.map(|it| it.proved_by.as_slice()).unwrap_or_default();
        Self {
            kind: "access",
            time: scrubbed.time,
            request_id: scrubbed.request_id,
            listener: &record.downstream.listener,
            client: scrubbed.client,
            port: record.downstream.peer.port(),
            tls: record.downstream.tls.as_ref().map(|tls| tls.version),
            method: &scrubbed.method,
            host: &scrubbed.host,
            path: &scrubbed.path,
            version: record.version,
            status: record.status,
            route: record.route,
            consumer: scrubbed.consumer.as_deref(),
            proved_by: Names(proved_by),
            code: refusal.map(|it| it.code),
            reason: redact(refusal.map(|it| it.reason).unwrap_or_default()),
            trail: Steps(record.trail.steps()),
            findings: Findings(record.trail),
            findings_dropped: record.trail.findings_dropped(),
            upstream: record.attempt.as_ref().map(Upstream::new),
            received: record.received,
            sent: record.sent,
            end: record.end.name(),
            duration_us: micros(record.duration),
            admitted_us: micros(record.admitted_after),
            user_agent: &scrubbed.user_agent,
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[derive(Serialize)]
struct Upstream<'a> {
    name: &'a str,
    endpoint: &'a str,
    attempts: u32,
    head_us: u64,
}

impl<'a> Upstream<'a> {
    fn new(attempt: &Attempt<'a>) -> Self {
        Self {
            name: attempt.upstream,
            endpoint: attempt.endpoint,
            attempts: attempt.attempts,
            head_us: micros(attempt.head_after),
        }
    }
}

struct Steps<'a>(&'a [Step]);

impl Steps<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            policy: &'a str,
            stage: &'static str,
            verdict: &'static str,
            #[serde(skip_serializing_if = "str::is_empty")]
            code: &'static str,
            us: u64,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for step in self.0 {
            let (verdict, code) = words(&step.verdict);
            let (stage, us) = (step.stage.name(), micros(step.duration));
            list.serialize_element(&Entry { policy: &step.policy, stage, verdict, code, us })?;
        }
        list.end()
    }
}

struct Findings<'a>(&'a Trail);

impl Findings<'_> {
    fn is_empty(&self) -> bool {
        self.0.findings().is_empty()
    }
}

impl Serialize for Findings<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Entry<'a> {
            policy: &'static str,
            code: &'static str,
            #[serde(skip_serializing_if = "str::is_empty")]
            text: Cow<'a, str>,
        }
        let findings = self.0.findings();
        let mut list = serializer.serialize_seq(Some(findings.len()))?;
        for Finding { policy, code, text } in findings {
            list.serialize_element(&Entry { policy, code, text: redact(text) })?;
        }
        list.end()
    }
}
