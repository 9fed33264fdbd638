//! Endpoints of the policies' own: they answer after the Edge, in everything else's place.

use std::rc::Rc;

use demilune_core::chain::ChainEndpoint;
use demilune_core::{Body, Ending, Stage, pipeline};
use http::Method;

use super::Job;
use super::body::{decoded, read};
use super::closing::Closing;
use crate::http::RequestBody;

/// Has the endpoint answer. A body is read only behind a limit by address, also where whoever
/// built the chain did not look.
pub(super) async fn serve(
    job: &Job,
    closing: &mut Closing,
    served: &ChainEndpoint,
    body: RequestBody,
) -> Result<Ending, Ending> {
    let (asked, offered) = (&job.head.method, &served.endpoint.method);
    if asked != offered && !(asked == Method::HEAD && offered == Method::GET) {
        // A preflight that no policy answered.
        return Err(closing.refuse("route", Stage::Edge, pipeline::no_route()));
    }
    let limited = job.route.chain.limits_by_address();
    let limit = if limited { served.endpoint.endpoint.limit() } else { 0 };
    let whole = read(job, closing, body, limit, Stage::Edge).await?;
    let decoded = decoded(job, &whole, limit)
        .map_err(|denial| closing.refuse("body", Stage::Edge, denial))?;
    closing.admitted();
    let request = job.request(closing);
    let worker = Rc::clone(closing.worker());
    let body = Body { decoded };
    Ok(closing.exchange_mut().serve(served, request, &body, worker.clock()).await)
}
