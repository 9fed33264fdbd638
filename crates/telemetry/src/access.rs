//! The line of the access log.

use std::time::Duration;

use demilune_core::record::{Attempt, Record};
use demilune_core::trail::{Finding, Step, Trail};

use crate::json::{Json, Text};
use crate::recorder::Shared;
use crate::stamp::micros;
use crate::verdict::words;

/// Everything that is known of an exchange. What is empty is left out.
pub(crate) fn write(line: &mut Json<'_>, record: &Record<'_>, shared: &Shared<'_>) {
    line.raw(br#"{"kind":"access","time":""#);
    line.written(shared.time);
    line.id(br#"","request_id":""#, record.id);
    client(line, record, shared);
    line.number(br#","status":"#, record.status.into());
    line.written(shared.written.route);
    if let Some(consumer) = &shared.outside.consumer {
        line.text(br#","consumer":""#, consumer);
    }
    proved_by(line, record);
    if let Some(refusal) = &shared.refusal {
        line.word(br#","code":""#, refusal.code);
        line.known(br#","reason":""#, &Text::outside(refusal.reason));
    }
    line.written(shared.trail);
    findings(line, record.trail);
    if let Some(attempt) = &record.attempt {
        line.written(shared.written.upstream);
        line.number(br#","attempts":"#, attempt.attempts.into());
        line.number(br#","head_us":"#, micros(attempt.head_after));
        line.raw(b"}");
    }
    line.number(br#","received":"#, record.received);
    line.number(br#","sent":"#, record.sent);
    line.word(br#","end":""#, record.end.name());
    line.number(br#","duration_us":"#, micros(record.duration));
    line.number(br#","admitted_us":"#, micros(record.admitted_after));
    line.known(br#","user_agent":""#, &shared.outside.user_agent);
    line.raw(b"}");
}

fn client(line: &mut Json<'_>, record: &Record<'_>, shared: &Shared<'_>) {
    let downstream = record.downstream;
    line.written(shared.written.listener);
    line.word(br#","client":""#, downstream.address_text());
    if let Some(port) = downstream.port() {
        line.number(br#","port":"#, port.into());
    }
    if downstream.is_passed_on() {
        line.word(br#","peer":""#, &downstream.peer.to_string());
    }
    if let Some(tls) = &downstream.tls {
        line.word(br#","tls":""#, tls.version);
        if let Some(certificate) = &tls.client_certificate {
            line.word(br#","client_certificate":""#, &certificate.thumbprint);
        }
    }
    line.known(br#","method":""#, &shared.outside.method);
    line.known(br#","host":""#, &shared.outside.host);
    line.known(br#","path":""#, &shared.outside.path);
    if !record.version.is_empty() {
        line.word(br#","version":""#, record.version);
    }
}

/// The authenticators that say who is calling.
pub(crate) fn proved_by(line: &mut Json<'_>, record: &Record<'_>) {
    let names = record.identity.map(|identity| identity.proved_by.as_slice()).unwrap_or_default();
    let [first, others @ ..] = names else { return };
    line.text(br#","proved_by":[""#, &Text::name(first));
    for other in others {
        line.text(br#",""#, &Text::name(other));
    }
    line.raw(b"]");
}

fn findings(line: &mut Json<'_>, trail: &Trail) {
    for (at, Finding { policy, code, text }) in trail.findings().iter().enumerate() {
        if at == 0 {
            line.word(br#","findings":[{"policy":""#, policy);
        } else {
            line.word(br#",{"policy":""#, policy);
        }
        line.word(br#","code":""#, code);
        line.known(br#","text":""#, &Text::outside(text));
        line.raw(b"}");
    }
    if !trail.findings().is_empty() {
        line.raw(b"]");
    }
    if trail.findings_dropped() > 0 {
        line.number(br#","findings_dropped":"#, trail.findings_dropped().into());
    }
}

pub(crate) fn listener(line: &mut Json<'_>, name: &str) {
    line.text(br#","listener":""#, &Text::name(name));
}

pub(crate) fn route(line: &mut Json<'_>, name: &str) {
    line.text(br#","route":""#, &Text::name(name));
}

/// What is the same for all attempts at the endpoint.
pub(crate) fn upstream(line: &mut Json<'_>, attempt: &Attempt<'_>) {
    line.text(br#","upstream":{"name":""#, &Text::name(attempt.upstream));
    line.text(br#","endpoint":""#, &Text::name(attempt.endpoint));
}

/// What is the same for all steps of that decision; [`step_duration`] ends the step.
pub(crate) fn step(line: &mut Json<'_>, step: &Step) {
    let (verdict, code) = words(&step.verdict);
    line.text(br#"{"policy":""#, &Text::name(&step.policy));
    line.word(br#","stage":""#, step.stage.name());
    line.word(br#","verdict":""#, verdict);
    if !code.is_empty() {
        line.word(br#","code":""#, code);
    }
}

#[inline]
pub(crate) fn step_duration(line: &mut Json<'_>, duration: Duration) {
    line.number(br#","us":"#, micros(duration));
    line.raw(b"}");
}
