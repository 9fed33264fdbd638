//! Security events: what an operator wants to be told of, and what playbooks react to.
//!
//! This is the one place that decides which events an exchange gives; where they go is decided
//! elsewhere. A refusal gives exactly one, whoever refused; its type is the denial's code.

use demilune_core::record::Record;
use demilune_core::stage::Stage;
use demilune_core::trail::StepVerdict;

use crate::access::proved_by;
use crate::json::{Json, Text};
use crate::recorder::Shared;
use crate::verdict::{Refusal, refusal};

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
    with_refusal(record, refusal(record.trail))
}

/// [`events`] where the refusal is known already.
pub(crate) fn with_refusal<'a>(
    record: &Record<'a>,
    refusal: Option<Refusal<'a>>,
) -> impl Iterator<Item = Event<'a>> {
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
    let refused = refusal.map(|refusal| Event {
        name: refusal.code,
        policy: refusal.policy,
        stage: refusal.stage,
        reason: refusal.reason,
    });
    proved.into_iter().chain(open).chain(refused)
}

/// An event's line.
pub(crate) fn write(
    line: &mut Json<'_>,
    event: &Event<'_>,
    record: &Record<'_>,
    shared: &Shared<'_>,
) {
    line.word(br#"{"kind":"event","type":""#, event.name);
    line.raw(br#","time":""#);
    line.written(shared.time);
    line.id(br#"","request_id":""#, record.id);
    line.word(br#","client":""#, record.downstream.address_text());
    line.written(shared.written.listener);
    line.written(shared.written.route);
    line.known(br#","host":""#, &shared.outside.host);
    line.known(br#","method":""#, &shared.outside.method);
    line.known(br#","path":""#, &shared.outside.path);
    line.known(br#","policy":""#, &Text::name(event.policy));
    line.word(br#","stage":""#, event.stage.name());
    line.number(br#","status":"#, record.status.into());
    line.known(br#","reason":""#, &Text::outside(event.reason));
    if let Some(consumer) = &shared.outside.consumer {
        line.text(br#","consumer":""#, consumer);
    }
    if event.name == AUTH_SUCCEEDED {
        proved_by(line, record);
    }
    line.raw(b"}");
}
