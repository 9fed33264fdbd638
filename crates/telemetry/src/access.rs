//! The line of the access log.

use std::borrow::Cow;

use demilune_core::consumer::Identity;
use demilune_core::record::{Attempt, Record};
use demilune_core::trail::{Finding, Step, Trail};

use crate::json::{Json, Outside};
use crate::recorder::Shared;
use crate::stamp::micros;
use crate::verdict::words;

/// Everything that is known of an exchange. What is empty is left out.
pub(crate) fn write(line: &mut Json<'_>, record: &Record<'_>, shared: &Shared<'_>) {
    line.safe(br#"{"kind":"access","time":""#, shared.time);
    line.display(br#","request_id":""#, &record.id);
    client(line, record, shared);
    line.number(br#","status":"#, record.status.into());
    if let Some(route) = record.route {
        line.text(br#","route":""#, route);
    }
    if let Some(consumer) = &shared.consumer {
        line.outside(br#","consumer":""#, consumer);
    }
    if let Some(identity) = record.identity {
        proved_by(line, identity);
    }
    if let Some(refusal) = &shared.refusal {
        line.word(br#","code":""#, refusal.code);
        line.known(br#","reason":""#, &Outside::new(refusal.reason));
    }
    steps(line, record.trail.steps());
    findings(line, record.trail);
    if let Some(attempt) = &record.attempt {
        upstream(line, attempt);
    }
    line.number(br#","received":"#, record.received);
    line.number(br#","sent":"#, record.sent);
    line.word(br#","end":""#, record.end.name());
    line.number(br#","duration_us":"#, micros(record.duration));
    line.number(br#","admitted_us":"#, micros(record.admitted_after));
    line.known(br#","user_agent":""#, &shared.user_agent);
    line.raw(b"}");
}

fn client(line: &mut Json<'_>, record: &Record<'_>, shared: &Shared<'_>) {
    let downstream = record.downstream;
    line.text(br#","listener":""#, &downstream.listener);
    line.safe(br#","client":""#, downstream.address_text());
    line.number(br#","port":"#, downstream.peer.port().into());
    if let Some(tls) = &downstream.tls {
        line.word(br#","tls":""#, tls.version);
    }
    line.known(br#","method":""#, &shared.method);
    line.known(br#","host":""#, &shared.host);
    line.known(br#","path":""#, &shared.path);
    if !record.version.is_empty() {
        line.word(br#","version":""#, record.version);
    }
}

/// The authenticators.
pub(crate) fn proved_by(line: &mut Json<'_>, identity: &Identity) {
    if !identity.proved_by.is_empty() {
        line.texts(br#","proved_by":"#, identity.proved_by.iter().map(|name| &**name));
    }
}

fn steps(line: &mut Json<'_>, steps: &[Step]) {
    let Some((first, rest)) = steps.split_first() else { return };
    line.raw(br#","trail":["#);
    step(line, first);
    for each in rest {
        line.raw(b",");
        step(line, each);
    }
    line.raw(b"]");
}

fn step(line: &mut Json<'_>, step: &Step) {
    let (verdict, code) = words(&step.verdict);
    match &step.policy {
        Cow::Borrowed(policy) => line.word(br#"{"policy":""#, policy),
        Cow::Owned(name) => line.text(br#"{"policy":""#, name),
    }
    line.word(br#","stage":""#, step.stage.name());
    line.word(br#","verdict":""#, verdict);
    if !code.is_empty() {
        line.word(br#","code":""#, code);
    }
    line.number(br#","us":"#, micros(step.duration));
    line.raw(b"}");
}

fn findings(line: &mut Json<'_>, trail: &Trail) {
    for (at, Finding { policy, code, text }) in trail.findings().iter().enumerate() {
        if at == 0 {
            line.word(br#","findings":[{"policy":""#, policy);
        } else {
            line.word(br#",{"policy":""#, policy);
        }
        line.word(br#","code":""#, code);
        line.known(br#","text":""#, &Outside::new(text));
        line.raw(b"}");
    }
    if !trail.findings().is_empty() {
        line.raw(b"]");
    }
    if trail.findings_dropped() > 0 {
        line.number(br#","findings_dropped":"#, trail.findings_dropped().into());
    }
}

fn upstream(line: &mut Json<'_>, attempt: &Attempt<'_>) {
    line.text(br#","upstream":{"name":""#, attempt.upstream);
    line.text(br#","endpoint":""#, attempt.endpoint);
    line.number(br#","attempts":"#, attempt.attempts.into());
    line.number(br#","head_us":"#, micros(attempt.head_after));
    line.raw(b"}");
}
