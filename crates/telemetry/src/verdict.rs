//! What a trail says, in the words of the access log, the events and the metrics.

use demilune_core::pipeline::FAULT;
use demilune_core::stage::Stage;
use demilune_core::trail::{StepVerdict, Trail};

/// The decision that ended an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal<'a> {
    /// The policy's or authenticator's name.
    pub policy: &'a str,
    /// Where it ran.
    pub stage: Stage,
    /// The denial's stable code; `policy.fault` where a policy could not decide.
    pub code: &'static str,
    /// For the log only, not yet redacted.
    pub reason: &'a str,
}

/// The decision that refused the exchange: the last denial or closed fault. `None` where it was let
/// through.
#[must_use]
pub fn refusal(trail: &Trail) -> Option<Refusal<'_>> {
    trail.steps().iter().rev().find_map(|step| {
        let (code, reason) = match &step.verdict {
            StepVerdict::Deny { code, log, .. } => (*code, log),
            StepVerdict::Fault { reason, open: false } => (FAULT, reason),
            _ => return None,
        };
        Some(Refusal { policy: &step.policy, stage: step.stage, code, reason })
    })
}

/// The verdict's word and its code; the code is empty where it has none.
pub(crate) fn words(verdict: &StepVerdict) -> (&'static str, &'static str) {
    match verdict {
        StepVerdict::Continue => ("continue", ""),
        StepVerdict::Absent => ("absent", ""),
        StepVerdict::Proved(_) => ("proved", ""),
        StepVerdict::Answer(_) => ("answer", ""),
        StepVerdict::Deny { code, .. } => ("deny", code),
        StepVerdict::Fault { open: false, .. } => ("fault", FAULT),
        StepVerdict::Fault { open: true, .. } => ("fault_open", FAULT),
    }
}
