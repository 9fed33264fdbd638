//! A policy's own endpoint in the upstream's place.

use std::borrow::Cow;

use super::{Ending, Exchange, fault_denial};
use crate::body::Body;
use crate::chain::ChainEndpoint;
use crate::head::Request;
use crate::stage::Stage;
use crate::time::Clock;
use crate::trail::{Step, StepVerdict};

impl Exchange {
    /// Has an endpoint of the chain answer, after [`Exchange::enter`]. Its fault is never open:
    /// there is nothing behind it to let through.
    pub async fn serve(
        &mut self,
        served: &ChainEndpoint,
        request: Request<'_>,
        body: &Body,
        clock: &dyn Clock,
    ) -> Ending {
        let Self { trail, slots, .. } = self;
        let Some(slot) = slots.get_mut(served.slot) else {
            return Ending::Deny(Box::new(fault_denial()));
        };
        let began = clock.monotonic();
        let answered = served.endpoint.endpoint.answer(request, body, slot).wait().await;
        let (verdict, ending) = match answered {
            Ok(ending) => (StepVerdict::from(&ending), ending),
            Err(fault) => {
                let verdict = StepVerdict::Fault { reason: fault.reason, open: false };
                (verdict, Ending::Deny(Box::new(fault_denial())))
            }
        };
        let duration = clock.monotonic().saturating_sub(began);
        let policy = Cow::Borrowed(served.policy);
        trail.push(Step { policy, stage: Stage::Edge, verdict, duration });
        ending
    }
}
