//! The policies of one route, in the order they run.

use std::sync::Arc;

use http::HeaderValue;

use crate::hook::{
    Authenticator, BodyMeter, Carrier, Hook, Hooks, Inspector, PolicyEndpoint, Slot,
};
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

/// What the hooks of a chain want of the bodies of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseNeed {
    /// To see them pass.
    Chunks,
    /// Whole, of at most so many bytes (decoded): the least that one of the hooks declares, since
    /// each of them must be able to see all of it.
    Whole(u64),
}

/// An endpoint of one of the policies.
#[derive(Clone)]
pub struct ChainEndpoint {
    /// The policy's name.
    pub policy: &'static str,
    /// Where it stands, and what answers.
    pub endpoint: PolicyEndpoint,
    /// Which slot it shares with the policy's hooks.
    pub slot: usize,
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
    response_body: Option<ResponseNeed>,
    rewrites_response_body: bool,
    limits_by_address: bool,
    authenticator_body: Option<u64>,
    endpoints: Vec<ChainEndpoint>,
    serves: Option<usize>,
}

impl Chain {
    /// Sorts `parts` (wider first, then as written) by stage. `strip` is where credentials travel
    /// that the upstream must not see.
    #[must_use]
    pub fn new(requirement: Requirement, parts: Vec<Part>, strip: Vec<Carrier>) -> Self {
        let slots = parts.len();
        let mut entries = Vec::new();
        let (mut answers_preflight, mut limits_by_address) = (false, false);
        let mut endpoints = Vec::new();
        for (slot, part) in parts.into_iter().enumerate() {
            answers_preflight |= part.hooks.does_answer_preflight();
            limits_by_address |= part.hooks.does_limit_by_address();
            let policy = part.policy;
            let own = part.hooks.endpoints().iter().cloned();
            endpoints.extend(own.map(|endpoint| ChainEndpoint { policy, endpoint, slot }));
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
        let body_limit = inspectors(&entries).map(|(_, i)| i.limit()).min();
        let meters = entries
            .iter()
            .filter_map(|entry| match &entry.hook {
                Hook::BodyMeter(meter) => Some((entry.policy, Arc::clone(meter))),
                _ => None,
            })
            .collect();
        let rewrites_response_body = entries.iter().any(|entry| {
            matches!(entry.hook, Hook::ResponseBodyRewriter(_) | Hook::ResponseChunkRewriter(_))
        });
        let authenticators = requirement.authenticators().iter();
        let authenticator_body = authenticators.filter_map(|a| a.authenticator.needs_body()).min();
        Self {
            response_body: response_need(&entries),
            entries,
            slots,
            requirement,
            strip,
            answers_preflight,
            body_limit,
            meters,
            rewrites_response_body,
            limits_by_address,
            authenticator_body,
            endpoints,
            serves: None,
        }
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

    /// The most bytes of the decoded body that every inspector accepts; `None` where no body is
    /// read.
    #[must_use]
    pub fn body_limit(&self) -> Option<u64> {
        self.body_limit
    }

    /// What watches the body's length, with the policy's name.
    #[must_use]
    pub fn meters(&self) -> &[(&'static str, Arc<dyn BodyMeter>)] {
        &self.meters
    }

    /// What the hooks want of the bodies of answers; `None` where no hook looks at them, and they
    /// stream through as they came.
    ///
    /// Where it is some, the upstream is asked for whole answers without any content coding, a
    /// coding that it applies all the same is undone before a hook sees the body, and what cannot
    /// be undone is refused.
    #[must_use]
    pub fn response_body(&self) -> Option<ResponseNeed> {
        self.response_body
    }

    /// Whether a hook may change the body of an answer.
    #[must_use]
    pub fn rewrites_response_body(&self) -> bool {
        self.rewrites_response_body
    }

    /// The most bytes of the body, as received, that are read before Authenticate, since an
    /// authenticator covers the body: the least that one of them declares. `None` where none does,
    /// and where nothing limits by address: then such an authenticator cannot decide.
    #[must_use]
    pub fn authenticator_body(&self) -> Option<u64> {
        self.authenticator_body.filter(|_| self.limits_by_address)
    }

    /// Whether a policy at the Edge limits how often one address may come.
    #[must_use]
    pub fn limits_by_address(&self) -> bool {
        self.limits_by_address
    }

    /// What reads the body of a request before anybody proved who they are: an authenticator as
    /// the document names it, or a policy. Such a chain must limit by address, else its route
    /// does not load.
    #[must_use]
    pub fn reads_bodies_of_strangers(&self) -> Option<&str> {
        let mut authenticators = self.requirement.authenticators().iter();
        let authenticator = authenticators.find(|a| a.authenticator.needs_body().is_some());
        let mut endpoints = self.endpoints.iter();
        let endpoint = endpoints.find(|e| e.endpoint.endpoint.limit() > 0);
        authenticator.map(|a| &*a.name).or(endpoint.map(|e| e.policy))
    }

    /// The policies' own endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &[ChainEndpoint] {
        &self.endpoints
    }

    /// The endpoint that answers in the upstream's place, where this chain leads to one.
    #[must_use]
    pub fn served(&self) -> Option<&ChainEndpoint> {
        self.endpoints.get(self.serves?)
    }

    /// This chain, leading to one of its [`Chain::endpoints`].
    pub(crate) fn serving(&self, endpoint: usize) -> Self {
        Self { serves: Some(endpoint), ..self.clone() }
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

fn response_need(entries: &[Entry]) -> Option<ResponseNeed> {
    let needs = entries.iter().filter_map(|entry| match &entry.hook {
        Hook::ResponseBodyInspector(inspector) => Some(ResponseNeed::Whole(inspector.limit())),
        Hook::ResponseBodyRewriter(rewriter) => Some(ResponseNeed::Whole(rewriter.limit())),
        Hook::ResponseChunkInspector(_) | Hook::ResponseChunkRewriter(_) => {
            Some(ResponseNeed::Chunks)
        }
        _ => None,
    });
    needs.reduce(|a, b| match (a, b) {
        (ResponseNeed::Whole(a), ResponseNeed::Whole(b)) => ResponseNeed::Whole(a.min(b)),
        (whole @ ResponseNeed::Whole(_), _) => whole,
        (_, other) => other,
    })
}
