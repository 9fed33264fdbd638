//! The request's body: streamed where nobody needs to see it, read whole and decoded where an
//! inspector does. Neither before the request has passed everything that looks at the head.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use demilune_core::{Body, Denial, Ending, Stage};
use http::StatusCode;
use http::header::CONTENT_ENCODING;
use http_body::Body as _;

use super::Job;
use super::closing::Closing;
use super::decode::{DecodeFailure, decode};
use super::metered::{IdleTimer, MeteredBody, Refusal};
use crate::http::RequestBody;
use crate::pace::Pace;
use crate::upstream::Upload;

/// A body ready to be sent, with what watches its sending.
pub(crate) struct Prepared {
    pub(crate) body: Upload,
    pub(crate) refusal: Refusal,
}

/// A request's body, read or not.
pub(crate) enum Intake {
    Unread(RequestBody),
    /// As received: an authenticator covers it. It is not read again.
    Whole(Bytes),
}

impl Intake {
    /// The whole body, where it was read.
    pub(crate) fn whole(&self) -> Option<&Bytes> {
        match self {
            Self::Unread(_) => None,
            Self::Whole(whole) => Some(whole),
        }
    }
}

/// Prepares the body; runs the inspectors where the chain has any.
pub(crate) async fn upload(
    job: &Job,
    closing: &mut Closing,
    body: Intake,
) -> Result<Prepared, Ending> {
    let chain = &job.route.chain;
    let refusal = Refusal::default();
    let whole = match (body, chain.body_limit()) {
        (Intake::Unread(body), None) => {
            let body = metered(job, closing, body, &refusal);
            let body = body.map_or(Upload::Empty, |body| Upload::Streamed(Box::new(body)));
            return Ok(Prepared { body, refusal });
        }
        (Intake::Unread(body), Some(limit)) => {
            Box::pin(read(job, closing, body, limit, Stage::Inspect)).await?
        }
        (Intake::Whole(whole), _) => whole,
    };
    if let Some(limit) = chain.body_limit() {
        let refuse = |closing: &mut Closing, denial| closing.refuse("body", Stage::Inspect, denial);
        if size(&whole) > limit {
            return Err(refuse(closing, too_large()));
        }
        let decoded = decoded(job, &whole, limit).map_err(|denial| refuse(closing, denial))?;
        let worker = Rc::clone(closing.worker());
        let request = job.request(closing);
        let body = Body { decoded };
        closing.exchange_mut().inspect(chain, request, &body, worker.clock()).await?;
    }
    let body = if whole.is_empty() { Upload::Empty } else { Upload::Whole(Some(whole)) };
    Ok(Prepared { body, refusal })
}

/// The body under the route's meters and the listener's deadline; `None` where there is none.
fn metered(
    job: &Job,
    closing: &Closing,
    body: RequestBody,
    refusal: &Refusal,
) -> Option<MeteredBody> {
    let empty = job.head.content_length == Some(0) || body.is_end_stream();
    (!empty).then(|| MeteredBody {
        body,
        meters: job.route.chain.meters().to_vec(),
        received: Rc::clone(closing.received()),
        refusal: Rc::clone(refusal),
        timer: IdleTimer::new(job.connection.limits.body_idle),
        timers: closing.worker().timers.clone(),
        pace: Pace::default(),
        route: Arc::clone(&job.route),
        least_rate: job.connection.limits.least_rate,
    })
}

/// Reads a body of at most `limit` bytes whole, as received. A declared length over the limit is
/// refused unread. `stage` is where it is needed.
pub(super) async fn read(
    job: &Job,
    closing: &mut Closing,
    body: RequestBody,
    limit: u64,
    stage: Stage,
) -> Result<Bytes, Ending> {
    let refusal = Refusal::default();
    let Some(body) = metered(job, closing, body, &refusal) else {
        return Ok(Bytes::new());
    };
    if job.head.content_length.is_some_and(|length| length > limit) {
        return Err(closing.refuse("body", stage, too_large()));
    }
    let whole = collect(body, limit, &refusal).await;
    whole.map_err(|(by, denial)| closing.refuse(by, stage, *denial))
}

fn size(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Reads a body whole, as it was sent.
async fn collect(
    mut body: MeteredBody,
    limit: u64,
    refusal: &Refusal,
) -> Result<Bytes, (&'static str, Box<Denial>)> {
    let mut first = Bytes::new();
    let mut more = BytesMut::new();
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        let data = match frame {
            None => break,
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(error)) => {
                let refused = refusal.borrow_mut().take();
                return Err(refused.unwrap_or_else(|| {
                    let public = "the request's body was not understood";
                    let code = error.code.unwrap_or("http.body");
                    let denial = Denial::new(StatusCode::BAD_REQUEST, code, public);
                    ("http", Box::new(denial.log(error.reason)))
                }));
            }
        };
        if body.received.get() > limit {
            return Err(("body", Box::new(too_large())));
        }
        // One chunk, the usual case, is not copied.
        if first.is_empty() && more.is_empty() {
            first = data;
        } else {
            more.extend_from_slice(&std::mem::take(&mut first));
            more.extend_from_slice(&data);
        }
    }
    Ok(if more.is_empty() { first } else { more.freeze() })
}

fn too_large() -> Denial {
    let public = "the body is larger than this resource accepts";
    Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "body.too_large", public)
}

/// What the inspectors see: the body without its content codings. Otherwise compression would
/// walk past every control.
pub(super) fn decoded(job: &Job, whole: &Bytes, limit: u64) -> Result<Bytes, Denial> {
    let codings = job.head.headers.get_all(CONTENT_ENCODING);
    decode(whole, codings.iter().map(http::HeaderValue::as_bytes), limit).map_err(|failure| {
        match failure {
            DecodeFailure::TooLarge => too_large(),
            DecodeFailure::Unknown => {
                let public = "the body's content coding is not accepted: gzip, deflate and br are";
                Denial::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "body.coding", public)
            }
            DecodeFailure::Broken => {
                let public = "the body is not what its content coding says";
                Denial::new(StatusCode::BAD_REQUEST, "body.broken_coding", public)
            }
        }
    })
}
