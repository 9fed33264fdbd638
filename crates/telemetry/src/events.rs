//! Security events: what an operator wants to be told of, and what playbooks react to.
//!
//! This is the one place that decides which events an exchange gives; where they go is decided
//! elsewhere. A refusal gives exactly one, whoever refused; its type is the denial's code.

use demilune_core::record::Record;
use demilune_core::stage::Stage;
use demilune_core::trail::StepVerdict;
use serde::Serialize;
use serde::ser::SerializeSeq as _;

use crate::recorder::Scrubbed;
use crate::redact::redact;
use crate::verdict::refusal;

/// The type of the event that a credential was accepted.
pub const AUTH_SUCCEEDED: &str = "auth.succeeded";
/// The type of the event that a request went on although a policy could not decide.
pub const FAULT_OPEN: &str = "policy.fault_open";

/// One event of an exchange; the facts of the exchange itself stand in its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Stable: the denial's code, `auth.succeeded` or `policy.fault_open`.
    pub name: &'static str,
    /// The policy or authenticator; empty where several proved the caller together.
    pub policy: &'a str,
    /// Where it ran.
    pub stage: Stage,
    /// For the log only, not yet redacted; may be empty.
    pub reason: &'a str,
}

/// The events of an exchange, in the order they happened.
pub fn events<'a>(record: &Record<'a>) -> impl Iterator<Item = Event<'a>> {
    let proved = record.identity.map(|identity| {
        let policy = match identity.proved_by.as_slice() {
            [only] => only,
            _ => "",
        };
        Event { name: AUTH_SUCCEEDED, policy, stage: Stage::Authenticate, reason: "" }
    });
    let open = record.trail.steps().iter().filter_map(|step| match &step.verdict {
        StepVerdict::Fault { reason, open: true } => {
            Some(Event { name: FAULT_OPEN, policy: &step.policy, stage: step.stage, reason })
        }
        _ => None,
    });
    let refused = refusal(record.trail).map(|refusal| Event {
        name: refusal.code,
        policy: refusal.policy,
        stage: refusal.stage,
        reason: refusal.reason,
    });
    proved.into_iter().chain(open).chain(refused)
}

/// An event's line.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    kind: &'static str,
    #[serde(rename = "type")]
    name: &'static str,
    time: &'a str,
    request_id: &'a str,
    client: &'a str,
    listener: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    path: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    policy: &'a str,
    stage: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumer: Option<&'a str>,
    #[serde(skip_serializing_if = "Names::is_empty")]
    proved_by: Names<'a>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(event: &Event<'a>, record: &Record<'a>, scrubbed: &'a Scrubbed<'a>) -> Self {
        let success = event.name == AUTH_SUCCEEDED;
        let identity = record.identity.filter(|_| success);
        Self {
            kind: "event",
            name: event.name,
            time: scrubbed.time,
            request_id: scrubbed.request_id,
            client: scrubbed.client,
            listener: &record.downstream.listener,
            route: record.route,
            host: &scrubbed.host,
            method: &scrubbed.method,
            path: &scrubbed.path,
            policy: event.policy,
            stage: event.stage.name(),
            status: record.status,
            reason: redact(event.reason),
            consumer: scrubbed.consumer.as_deref(),
            proved_by: Names(identity.map(|it| it.proved_by.as_slice()).unwrap_or_default()),
        }
    }
}

/// Authenticators' names, as a list.
pub(crate) struct Names<'a>(pub(crate) &'a [std::sync::Arc<str>]);

impl Names<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Names<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for name in self.0 {
            list.serialize_element(&**name)?;
        }
        list.end()
    }
}
