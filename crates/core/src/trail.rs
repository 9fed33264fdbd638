//! What was decided about one request, step by step: the one list that the access log, events,
//! `explain` and the tests read.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::stage::Stage;
use crate::verdict::{Denial, Ending};

/// The most findings one step keeps; the rest are counted.
pub const FINDINGS_LIMIT: usize = 16;

/// One decision of one policy.
#[derive(Debug, Clone)]
pub struct Step {
    /// The policy's name, or the authenticator's as the document names it.
    pub policy: Cow<'static, str>,
    /// Where it ran.
    pub stage: Stage,
    /// What it decided.
    pub verdict: StepVerdict,
    /// How long it took, waiting included.
    pub duration: Duration,
}

/// The verdict of a step, without what only the client needs.
#[derive(Debug, Clone)]
pub enum StepVerdict {
    /// Let through, or changed something and went on.
    Continue,
    /// An authenticator found nothing of its own in the request.
    Absent,
    /// An authenticator proved this consumer or subject.
    Proved(std::sync::Arc<str>),
    /// Answered with this status.
    Answer(u16),
    /// Refused.
    Deny {
        /// Status sent.
        status: u16,
        /// The denial's stable code.
        code: &'static str,
        /// The denial's log part.
        log: Cow<'static, str>,
    },
    /// Could not decide; `open` says that the operator lets such requests pass.
    Fault {
        /// For the log only.
        reason: Cow<'static, str>,
        /// Whether the request went on.
        open: bool,
    },
}

impl From<&Ending> for StepVerdict {
    fn from(ending: &Ending) -> Self {
        match ending {
            Ending::Answer(answer) => Self::Answer(answer.status.as_u16()),
            Ending::Deny(denial) => Self::from(&**denial),
        }
    }
}

impl From<&Denial> for StepVerdict {
    fn from(denial: &Denial) -> Self {
        let (status, code) = (denial.status.as_u16(), denial.code);
        Self::Deny { status, code, log: denial.log.clone() }
    }
}

/// The steps of one request, in the order they ran.
#[derive(Debug, Clone, Default)]
pub struct Trail {
    steps: SmallVec<[Step; 8]>,
    findings: Vec<Finding>,
    findings_dropped: u32,
}

/// What a policy saw without refusing: the voice of detect, shadow and learn modes.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The policy that saw it.
    pub policy: &'static str,
    /// Its stable code.
    pub code: &'static str,
    /// What was seen; no secrets.
    pub text: String,
}

impl Trail {
    /// Appends a step.
    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Appends a finding, up to [`FINDINGS_LIMIT`]; later ones are only counted.
    pub fn find(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_LIMIT {
            self.findings.push(finding);
        } else {
            self.findings_dropped = self.findings_dropped.saturating_add(1);
        }
    }

    /// All steps so far.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// All findings kept.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many findings were beyond the limit.
    #[must_use]
    pub fn findings_dropped(&self) -> u32 {
        self.findings_dropped
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.policy)?;
        match &self.verdict {
            StepVerdict::Continue => f.write_str("continue"),
            StepVerdict::Absent => f.write_str("absent"),
            StepVerdict::Proved(subject) => write!(f, "proved {subject}"),
            StepVerdict::Answer(status) => write!(f, "answer {status}"),
            StepVerdict::Deny { status, code, log } if log.is_empty() => {
                write!(f, "deny {status} {code}")
            }
            StepVerdict::Deny { status, code, log } => write!(f, "deny {status} {code} ({log})"),
            StepVerdict::Fault { reason, open: false } => write!(f, "fault ({reason})"),
            StepVerdict::Fault { reason, open: true } => write!(f, "fault, open ({reason})"),
        }
    }
}

/// One line: the steps joined by `; `.
impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}
