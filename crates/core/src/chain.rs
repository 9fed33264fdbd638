//! The policies of one route, in the order they run.

use std::sync::Arc;

use http::HeaderValue;

use crate::hook::{Authenticator, BodyMeter, Carrier, Hook, Hooks, Inspector, Slot};
use crate::stage::Stage;

/// What happens when a policy cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFault {
    /// 503: the default.
    #[default]
    Closed,
    /// The request goes on, and the trail says so. The operator wrote it down, with a reason.
    Open,
}

/// One hook in a chain.
#[derive(Clone)]
pub struct Entry {
    /// The policy's name.
    pub policy: &'static str,
    /// Where it runs.
    pub stage: Stage,
    /// What runs.
    pub hook: Hook,
    /// What happens when it cannot decide.
    pub on_fault: OnFault,
    /// Which slot it shares with the policy's other hooks.
    pub slot: usize,
}

/// An authenticator as a route names it.
#[derive(Clone)]
pub struct NamedAuthenticator {
    /// Its name in the document.
    pub name: Arc<str>,
    /// The authenticator.
    pub authenticator: Arc<dyn Authenticator>,
}

/// The stated identity decision of a route. There is no default.
#[derive(Clone)]
pub enum Requirement {
    /// Anybody, for a stated reason.
    Public,
    /// The first of these that finds its credential decides.
    AnyOf {
        /// Asked in this order.
        authenticators: Vec<NamedAuthenticator>,
        /// Whether a request without any credential passes as nobody, for a stated reason.
        anonymous: bool,
    },
    /// Each of these must prove, and all of them the same caller.
    AllOf(Vec<NamedAuthenticator>),
}

impl Requirement {
    /// The authenticators named.
    #[must_use]
    pub fn authenticators(&self) -> &[NamedAuthenticator] {
        match self {
            Self::Public => &[],
            Self::AnyOf { authenticators, .. } | Self::AllOf(authenticators) => authenticators,
        }
    }

    /// All challenges, merged: what a 401 says.
    #[must_use]
    pub fn challenges(&self) -> Vec<HeaderValue> {
        let mut all: Vec<HeaderValue> = Vec::new();
        for named in self.authenticators() {
            let challenge = named.authenticator.challenge();
            if !all.contains(&challenge) {
                all.push(challenge);
            }
        }
        all
    }
}

/// One policy to go into a chain.
pub struct Part {
    /// The policy's name.
    pub policy: &'static str,
    /// Its hooks.
    pub hooks: Hooks,
    /// What happens when it cannot decide.
    pub on_fault: OnFault,
}

/// The policies of one route, sorted by stage.
#[derive(Clone)]
pub struct Chain {
    entries: Vec<Entry>,
    slots: usize,
    requirement: Requirement,
    strip: Vec<Carrier>,
    answers_preflight: bool,
    body_limit: Option<u64>,
    meters: Vec<(&'static str, Arc<dyn BodyMeter>)>,
}

impl Chain {
    /// Sorts `parts` (wider first, then as written) by stage. `strip` is where credentials travel
    /// that the upstream must not see.
    #[must_use]
    pub fn new(requirement: Requirement, parts: Vec<Part>, strip: Vec<Carrier>) -> Self {
        let slots = parts.len();
        let mut entries = Vec::new();
        let mut answers_preflight = false;
        for (slot, part) in parts.into_iter().enumerate() {
            answers_preflight |= part.hooks.does_answer_preflight();
            for (stage, hook) in part.hooks.list() {
                entries.push(Entry {
                    policy: part.policy,
                    stage: *stage,
                    hook: hook.clone(),
                    on_fault: part.on_fault,
                    slot,
                });
            }
        }
        // A response passes back through the policies: the wider ones, which began, have the last
        // word. So what a route adds cannot undo a floor.
        entries.sort_by_key(|entry| {
            let last = if entry.stage == Stage::Response { usize::MAX - entry.slot } else { 0 };
            (entry.stage, last)
        });
        let body_limit = inspectors(&entries).map(|(_, i)| i.limit()).max();
        let meters = entries
            .iter()
            .filter_map(|entry| match &entry.hook {
                Hook::BodyMeter(meter) => Some((entry.policy, Arc::clone(meter))),
                _ => None,
            })
            .collect();
        Self { entries, slots, requirement, strip, answers_preflight, body_limit, meters }
    }

    /// All hooks in the order they run.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The hooks of one stage.
    pub fn at(&self, stage: Stage) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.stage == stage)
    }

    /// The identity decision.
    #[must_use]
    pub fn requirement(&self) -> &Requirement {
        &self.requirement
    }

    /// Where credentials travel that the upstream must not see.
    #[must_use]
    pub fn strip(&self) -> &[Carrier] {
        &self.strip
    }

    /// Whether a policy of this chain answers CORS preflights.
    #[must_use]
    pub fn answers_preflight(&self) -> bool {
        self.answers_preflight
    }

    /// The most bytes of the decoded body that inspectors need; `None` where no body is read.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        self.body_limit
    }

    /// What watches the body's length, with the policy's name.
    #[must_use]
    pub fn meters(&self) -> &[(&'static str, Arc<dyn BodyMeter>)] {
        &self.meters
    }

    /// Fresh slots for one request.
    #[must_use]
    pub fn slots(&self) -> Vec<Slot> {
        std::iter::repeat_with(Slot::default).take(self.slots).collect()
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hooks = self.entries.iter().map(|e| (e.stage.name(), e.policy));
        f.debug_list().entries(hooks).finish()
    }
}

fn inspectors(entries: &[Entry]) -> impl Iterator<Item = (&Entry, &Arc<dyn Inspector>)> {
    entries.iter().filter_map(|entry| match &entry.hook {
        Hook::Inspector(inspector) => Some((entry, inspector)),
        _ => None,
    })
}
