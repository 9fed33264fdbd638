//! The one engine that runs a route's policies. The data plane, `demilune explain` and the tests
//! drive this same code.

mod authenticate;
mod endpoint;
mod outgoing;
mod response;

pub use crate::verdict::Ending;
pub use outgoing::{is_reserved_header, may_pass};
pub use response::{Cut, RESPONSE_TOO_LARGE, ResponseChunks, response_too_large};

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use crate::body::Body;
use crate::chain::{Chain, Entry, OnFault};
use crate::consumer::Identity;
use crate::head::{Outgoing, Request, ResponseHead};
use crate::hook::{Hook, Slot};
use crate::path::PathRefusal;
use crate::stage::Stage;
use crate::time::Clock;
use crate::trail::{Step, StepVerdict, Trail};
use crate::verdict::{Denial, Fault, Verdict};

/// The code of a refusal because a policy could not decide.
pub const FAULT: &str = "policy.fault";
/// The code of a refusal because no route matches.
pub const NO_ROUTE: &str = "route.none";
/// The code of a refusal because no credential was found.
pub const CREDENTIAL_REQUIRED: &str = "authentication.required";
/// The code of a refusal because `all_of` proved different callers.
pub const CALLERS_DIFFER: &str = "authentication.callers_differ";

/// One request's way through its chain: the trail, the slots, the identity.
#[derive(Debug)]
pub struct Exchange {
    trail: Trail,
    slots: Vec<Slot>,
    identity: Option<Identity>,
}

impl Exchange {
    /// A fresh one for `chain`.
    #[must_use]
    pub fn new(chain: &Chain) -> Self {
        Self { trail: Trail::default(), slots: chain.slots(), identity: None }
    }

    /// For a request that has no route, and so no chain: only its trail is of use.
    #[must_use]
    pub fn without_chain() -> Self {
        Self { trail: Trail::default(), slots: Vec::new(), identity: None }
    }

    /// Runs the Edge stage, before which nothing of a body is read. What comes next is
    /// [`Exchange::admit`], or [`Exchange::serve`] where the chain leads to an endpoint.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub async fn enter(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        self.run_stage(chain, Stage::Edge, request, clock).await
    }

    /// Runs the other stages before the body is inspected: Authenticate, Authorize, Quota. `body`
    /// is the whole body as received where [`Chain::authenticator_body`] asks for it.
    /// `request.identity` is ignored.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub async fn admit(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        body: Option<&Bytes>,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        self.identity = authenticate::run(chain, request, body, &mut self.trail, clock).await?;
        self.run_authorized(chain, request, clock).await
    }

    /// As [`Exchange::admit`], with an identity that is given instead of proved: for `explain
    /// --as`.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub async fn admit_as(
        &mut self,
        identity: Identity,
        chain: &Chain,
        request: Request<'_>,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        self.trail.push(Step {
            policy: Cow::Borrowed("as"),
            stage: Stage::Authenticate,
            verdict: StepVerdict::Proved(std::sync::Arc::clone(&identity.subject)),
            duration: Duration::ZERO,
        });
        self.identity = Some(identity);
        self.run_authorized(chain, request, clock).await
    }

    async fn run_authorized(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        self.run_stage(chain, Stage::Authorize, request, clock).await?;
        self.run_stage(chain, Stage::Quota, request, clock).await
    }

    /// Runs the inspectors on the whole, decoded body.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub async fn inspect(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        body: &Body,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        for entry in chain.at(Stage::Inspect) {
            let Hook::Inspector(inspector) = &entry.hook else { continue };
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let began = clock.monotonic();
            let verdict = inspector.inspect(request, body, slot).wait().await;
            settle(entry, verdict, trail, clock.monotonic().saturating_sub(began))?;
        }
        Ok(())
    }

    /// Makes what the upstream will be sent: the head without credentials, look-alike identity
    /// headers and what governed the client's connection; with our identity headers; then as the
    /// rewriters change it.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub fn transform(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        clock: &dyn Clock,
    ) -> Result<Outgoing, Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        let Some(mut outgoing) = outgoing::outgoing(chain, &request) else {
            let reason = Cow::Borrowed("the target without its credential is none");
            let verdict = StepVerdict::Fault { reason, open: false };
            let (policy, stage, duration) = ("route".into(), Stage::Transform, Duration::ZERO);
            trail.push(Step { policy, stage, verdict, duration });
            return Err(Ending::Deny(Box::new(fault_denial())));
        };
        for entry in chain.at(Stage::Transform) {
            let Hook::Rewriter(rewriter) = &entry.hook else { continue };
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let began = clock.monotonic();
            let verdict = rewriter.rewrite(&request, &mut outgoing, slot);
            let verdict = verdict.map(|()| Verdict::Continue);
            settle(entry, verdict, trail, clock.monotonic().saturating_sub(began))?;
        }
        if chain.response_body().is_some() {
            outgoing::ask_for_readable(&mut outgoing.headers);
        }
        Ok(outgoing)
    }

    /// Runs the inspectors of the head of the upstream's answer.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub fn inspect_response(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        response: &ResponseHead,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        for entry in chain.at(Stage::Response) {
            let Hook::ResponseInspector(inspector) = &entry.hook else { continue };
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let began = clock.monotonic();
            let verdict = inspector.inspect(&request, response, slot);
            settle(entry, verdict, trail, clock.monotonic().saturating_sub(began))?;
        }
        Ok(())
    }

    /// Runs the rewriters of the answer's headers: for the upstream's answers, for policies' and
    /// for refusals.
    pub fn rewrite_response(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        response: &mut ResponseHead,
    ) {
        let request = Request { identity: self.identity.as_ref(), ..request };
        for entry in chain.at(Stage::Response) {
            let Hook::ResponseRewriter(rewriter) = &entry.hook else { continue };
            if let Some(slot) = self.slots.get_mut(entry.slot) {
                rewriter.rewrite(&request, response, slot);
            }
        }
    }

    /// Writes down a refusal that no hook made: of the engine, the body's meters, the upstream.
    pub fn refuse(&mut self, policy: &'static str, stage: Stage, denial: &Denial) {
        refuse(&mut self.trail, policy, stage, denial);
    }

    /// Every decision so far.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.trail
    }

    /// Who is calling, once proved.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    async fn run_stage(
        &mut self,
        chain: &Chain,
        stage: Stage,
        request: Request<'_>,
        clock: &dyn Clock,
    ) -> Result<(), Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        let mut before = None;
        for entry in chain.at(stage) {
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let began = *before.get_or_insert_with(|| clock.monotonic());
            let verdict = match (&entry.hook, request.identity) {
                (Hook::Guard(guard), _) => guard.check(&request, slot),
                (Hook::Gate(gate), _) => gate.check(request, slot).wait().await,
                (Hook::Authorizer(authorizer), Some(identity)) => {
                    authorizer.authorize(identity, request, slot).wait().await
                }
                (Hook::Authorizer(_), None) => {
                    Err(Fault::new("an authorizer cannot decide about an anonymous caller"))
                }
                _ => continue,
            };
            let ended = clock.monotonic();
            before = Some(ended);
            settle(entry, verdict, trail, ended.saturating_sub(began))?;
        }
        Ok(())
    }
}

/// Writes down a refusal that was made before the route was known.
pub fn refuse(trail: &mut Trail, policy: &'static str, stage: Stage, denial: &Denial) {
    trail.push(Step {
        policy: Cow::Borrowed(policy),
        stage,
        verdict: StepVerdict::from(denial),
        duration: Duration::ZERO,
    });
}

/// Writes a verdict into the trail, and says whether it ends the exchange.
fn settle(
    entry: &Entry,
    verdict: Result<Verdict, Fault>,
    trail: &mut Trail,
    duration: Duration,
) -> Result<(), Ending> {
    let mut push = |verdict| {
        let policy = Cow::Borrowed(entry.policy);
        trail.push(Step { policy, stage: entry.stage, verdict, duration });
    };
    match verdict {
        Ok(Verdict::Continue) => {
            push(StepVerdict::Continue);
            Ok(())
        }
        Ok(Verdict::Answer(answer)) => {
            push(StepVerdict::Answer(answer.status.as_u16()));
            Err(Ending::Answer(answer))
        }
        Ok(Verdict::Deny(denial)) => {
            push(StepVerdict::from(&*denial));
            Err(Ending::Deny(denial))
        }
        Err(fault) => {
            let open = entry.on_fault == OnFault::Open;
            push(StepVerdict::Fault { reason: fault.reason, open });
            if open { Ok(()) } else { Err(Ending::Deny(Box::new(fault_denial()))) }
        }
    }
}

/// The refusal of a request that no route matches, after it passed the default policies.
#[must_use]
pub fn no_route() -> Denial {
    Denial::new(StatusCode::NOT_FOUND, NO_ROUTE, "there is nothing here")
}

/// The code of a refusal because two readers could understand the path differently.
pub const PATH: &str = "http.path";

/// The refusal of an ambiguous path.
#[must_use]
pub fn ambiguous_path(refusal: PathRefusal) -> Denial {
    Denial::new(StatusCode::BAD_REQUEST, PATH, "the path is ambiguous").log(refusal.to_string())
}

/// The refusal of a path that holds what the route does not admit.
#[must_use]
pub fn path_not_admitted(request: &Request<'_>) -> Option<Denial> {
    let refusal = request.head.target.needs().beyond(request.route.path_exceptions)?;
    Some(ambiguous_path(refusal))
}

/// The refusal where a control could not decide.
fn fault_denial() -> Denial {
    let public = "the gateway could not decide about this request";
    Denial::new(StatusCode::SERVICE_UNAVAILABLE, FAULT, public).retry_after(Duration::from_secs(5))
}

#[cfg(test)]
mod tests;
