//! Any-of, all-of and anonymous: once, here, for all authenticators.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::{CALLERS_DIFFER, CREDENTIAL_REQUIRED, Ending, fault_denial};
use crate::chain::{Chain, NamedAuthenticator, Requirement};
use crate::consumer::Identity;
use crate::head::Request;
use crate::hook::Proof;
use crate::stage::Stage;
use crate::time::Clock;
use crate::trail::{Step, StepVerdict, Trail};
use crate::verdict::{Denial, Fault};

/// Settles who is calling. `Ok(None)` only where the route says that anybody may. `body` is the
/// whole body as received, where an authenticator covers it.
pub(super) async fn run(
    chain: &Chain,
    request: Request<'_>,
    body: Option<&Bytes>,
    trail: &mut Trail,
    clock: &dyn Clock,
) -> Result<Option<Identity>, Ending> {
    let requirement = chain.requirement();
    match requirement {
        Requirement::Public => Ok(None),
        Requirement::AnyOf { authenticators, anonymous } => {
            for named in authenticators {
                if let Some(identity) = ask(named, requirement, request, body, trail, clock).await?
                {
                    return Ok(Some(identity));
                }
            }
            if *anonymous { Ok(None) } else { Err(missing(requirement, trail)) }
        }
        Requirement::AllOf(authenticators) => {
            let mut proved: Option<Identity> = None;
            for named in authenticators {
                let Some(identity) = ask(named, requirement, request, body, trail, clock).await?
                else {
                    return Err(missing(requirement, trail));
                };
                match &mut proved {
                    None => proved = Some(identity),
                    Some(first) if first.same_caller(&identity) => {
                        first.proved_by.extend(identity.proved_by);
                    }
                    Some(_) => return Err(differ(requirement, trail)),
                }
            }
            // An empty list proves nobody.
            proved.map(Some).ok_or_else(|| missing(requirement, trail))
        }
    }
}

/// Asks one authenticator. A refusal ends the exchange: it never falls through to another one.
async fn ask(
    named: &NamedAuthenticator,
    requirement: &Requirement,
    request: Request<'_>,
    body: Option<&Bytes>,
    trail: &mut Trail,
    clock: &dyn Clock,
) -> Result<Option<Identity>, Ending> {
    let began = clock.monotonic();
    let authenticator = &named.authenticator;
    let proof = match (authenticator.needs_body(), body) {
        (None, _) => authenticator.authenticate(request).wait().await,
        (Some(_), Some(body)) => authenticator.authenticate_body(request, body).wait().await,
        // Whoever drives the pipeline must have read it: see `Chain::authenticator_body`.
        (Some(_), None) => Err(Fault::new("the body it covers was not read")),
    };
    let duration = clock.monotonic().saturating_sub(began);
    let mut push = |verdict| {
        let policy = Cow::Owned(named.name.to_string());
        trail.push(Step { policy, stage: Stage::Authenticate, verdict, duration });
    };
    match proof {
        Ok(Proof::Absent) => {
            push(StepVerdict::Absent);
            Ok(None)
        }
        Ok(Proof::Proved(mut identity)) => {
            push(StepVerdict::Proved(Arc::clone(&identity.subject)));
            identity.proved_by.push(Arc::clone(&named.name));
            Ok(Some(identity))
        }
        Ok(Proof::Refused(denial)) => {
            let (status, code) = (denial.status.as_u16(), denial.code);
            push(StepVerdict::Deny { status, code, log: denial.log.clone() });
            Err(Ending::Deny(Box::new(challenged(denial, requirement))))
        }
        Err(fault) => {
            // Never open: without an identity there is nobody to let in.
            push(StepVerdict::Fault { reason: fault.reason, open: false });
            Err(Ending::Deny(Box::new(fault_denial())))
        }
    }
}

fn missing(requirement: &Requirement, trail: &mut Trail) -> Ending {
    let public = "this resource needs a credential";
    engine_denial(
        Denial::new(StatusCode::UNAUTHORIZED, CREDENTIAL_REQUIRED, public),
        requirement,
        trail,
    )
}

fn differ(requirement: &Requirement, trail: &mut Trail) -> Ending {
    let public = "the credentials belong to different callers";
    engine_denial(Denial::new(StatusCode::UNAUTHORIZED, CALLERS_DIFFER, public), requirement, trail)
}

fn engine_denial(denial: Denial, requirement: &Requirement, trail: &mut Trail) -> Ending {
    let (status, code) = (denial.status.as_u16(), denial.code);
    trail.push(Step {
        policy: Cow::Borrowed("authenticate"),
        stage: Stage::Authenticate,
        verdict: StepVerdict::Deny { status, code, log: denial.log.clone() },
        duration: Duration::ZERO,
    });
    Ending::Deny(Box::new(challenged(denial, requirement)))
}

/// A 401 carries every challenge of the route (RFC 9110 section 15.5.2).
fn challenged(mut denial: Denial, requirement: &Requirement) -> Denial {
    if denial.status == StatusCode::UNAUTHORIZED {
        denial.headers.retain(|(name, _)| name != WWW_AUTHENTICATE);
        for challenge in requirement.challenges() {
            denial.headers.push((WWW_AUTHENTICATE, challenge));
        }
    }
    denial
}
