//! The hooks on the bodies of answers: on a whole one, or on one that passes.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;

use super::{Ending, Exchange, settle};
use crate::body::Body;
use crate::chain::{Chain, Entry, OnFault};
use crate::head::{Request, ResponseHead};
use crate::hook::{ChunkInspection, ChunkRewriting, Hook, Passage, Slot};
use crate::stage::Stage;
use crate::time::Clock;
use crate::trail::{Step, StepVerdict};
use crate::verdict::{Denial, Fault, Verdict};

/// The code of an answer whose body is longer than a hook can look at.
pub const RESPONSE_TOO_LARGE: &str = "response.too_large";

/// The refusal of an answer whose body is longer than a hook can look at.
#[must_use]
pub fn response_too_large() -> Denial {
    let public = "the upstream's answer is too large to be checked";
    Denial::new(StatusCode::BAD_GATEWAY, RESPONSE_TOO_LARGE, public)
}

impl Exchange {
    /// Runs the hooks on the whole body of an answer, those that would do with chunks included,
    /// and gives it as they leave it. Nothing of the answer may have been sent.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub async fn pass_response_body(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        response: &ResponseHead,
        mut body: Body,
        clock: &dyn Clock,
    ) -> Result<Body, Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        for entry in chain.at(Stage::Response) {
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let limit = match &entry.hook {
                Hook::ResponseBodyInspector(inspector) => inspector.limit(),
                Hook::ResponseBodyRewriter(rewriter) => rewriter.limit(),
                _ => u64::MAX,
            };
            // One that came before may have made it longer.
            if u64::try_from(body.decoded.len()).unwrap_or(u64::MAX) > limit {
                let denial = response_too_large();
                super::refuse(trail, entry.policy, Stage::Response, &denial);
                return Err(Ending::Deny(Box::new(denial)));
            }
            let began = clock.monotonic();
            let verdict = match &entry.hook {
                Hook::ResponseBodyInspector(inspector) => {
                    inspector.inspect(request, response, &body, slot).wait().await
                }
                Hook::ResponseBodyRewriter(rewriter) => {
                    let mut changed = body.clone();
                    let done = rewriter.rewrite(request, response, &mut changed, slot).wait().await;
                    done.map(|()| {
                        body = changed;
                        Verdict::Continue
                    })
                }
                Hook::ResponseChunkInspector(_) | Hook::ResponseChunkRewriter(_) => {
                    match at_once(entry, &request, response, &body.decoded, slot) {
                        Ok(None) => continue,
                        Ok(Some(Passed::As(changed))) => {
                            body.decoded = changed;
                            Ok(Verdict::Continue)
                        }
                        Ok(Some(Passed::Cut(denial))) => Ok(Verdict::Deny(denial)),
                        Err(fault) => Err(fault),
                    }
                }
                _ => continue,
            };
            settle(entry, verdict, trail, clock.monotonic().saturating_sub(began))?;
        }
        Ok(body)
    }

    /// Begins with the hooks on an answer that passes in chunks.
    ///
    /// # Errors
    /// How the exchange ends, where it does.
    pub fn begin_response_chunks(
        &mut self,
        chain: &Chain,
        request: Request<'_>,
        response: &ResponseHead,
        clock: &dyn Clock,
    ) -> Result<ResponseChunks, Ending> {
        let Self { trail, slots, identity } = self;
        let request = Request { identity: identity.as_ref(), ..request };
        let mut running = Vec::new();
        for entry in chain.at(Stage::Response) {
            let Some(slot) = slots.get_mut(entry.slot) else { continue };
            let began = clock.monotonic();
            let spent = || clock.monotonic().saturating_sub(began);
            match begin(entry, &request, response, slot) {
                Ok(None) => {}
                Ok(Some(hook)) => {
                    let (policy, on_fault) = (entry.policy, entry.on_fault);
                    running.push(Running { policy, on_fault, hook, verdict: None, spent: spent() });
                }
                Err(fault) => settle(entry, Err(fault), trail, spent())?,
            }
        }
        Ok(ResponseChunks { running })
    }

    /// Writes down what the hooks on an answer's chunks decided, when it is over or was cut off.
    pub fn end_response_chunks(&mut self, chunks: ResponseChunks) {
        for Running { policy, verdict, spent, .. } in chunks.running {
            let verdict = verdict.unwrap_or(StepVerdict::Continue);
            let ended = matches!(
                verdict,
                StepVerdict::Deny { .. } | StepVerdict::Fault { open: false, .. }
            );
            let (policy, stage) = (Cow::Borrowed(policy), Stage::Response);
            self.trail.push(Step { policy, stage, verdict, duration: spent });
            if ended {
                // Those behind it did not see what was cut off.
                return;
            }
        }
    }
}

/// The hooks on one answer that passes in chunks, in the order they run.
pub struct ResponseChunks {
    running: Vec<Running>,
}

/// The rest of an answer must not be sent.
#[derive(Debug)]
pub struct Cut {
    /// The code of the refusal.
    pub code: &'static str,
}

struct Running {
    policy: &'static str,
    on_fault: OnFault,
    hook: Hooked,
    /// `None` as long as it goes on.
    verdict: Option<StepVerdict>,
    spent: Duration,
}

enum Hooked {
    Inspection(Box<dyn ChunkInspection>),
    Rewriting(Box<dyn ChunkRewriting>),
}

enum Passed {
    As(Bytes),
    Cut(Box<Denial>),
}

impl ResponseChunks {
    /// Whether no hook wants to see this answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether one of the hooks may change this answer.
    #[must_use]
    pub fn may_rewrite(&self) -> bool {
        self.running.iter().any(|running| matches!(running.hook, Hooked::Rewriting(_)))
    }

    /// What is sent in the place of `chunk`; empty where a hook holds it back.
    ///
    /// # Errors
    /// Where a hook cuts the answer off.
    pub fn chunk(&mut self, chunk: Bytes, clock: &dyn Clock) -> Result<Bytes, Cut> {
        self.pass(chunk, false, clock)
    }

    /// What is sent after the last chunk.
    ///
    /// # Errors
    /// As [`ResponseChunks::chunk`].
    pub fn end(&mut self, clock: &dyn Clock) -> Result<Bytes, Cut> {
        self.pass(Bytes::new(), true, clock)
    }

    fn pass(&mut self, mut bytes: Bytes, last: bool, clock: &dyn Clock) -> Result<Bytes, Cut> {
        for running in &mut self.running {
            if running.verdict.is_some() {
                continue;
            }
            if bytes.is_empty() && !last {
                break;
            }
            let began = clock.monotonic();
            let passed = running.hook.pass(bytes.clone(), last);
            running.spent += clock.monotonic().saturating_sub(began);
            match passed {
                Ok(Passed::As(changed)) => bytes = changed,
                Ok(Passed::Cut(denial)) => {
                    running.verdict = Some(StepVerdict::from(&*denial));
                    return Err(Cut { code: denial.code });
                }
                Err(fault) => {
                    let inspects = matches!(running.hook, Hooked::Inspection(_));
                    let open = running.on_fault == OnFault::Open && inspects;
                    running.verdict = Some(StepVerdict::Fault { reason: fault.reason, open });
                    if !open {
                        return Err(Cut { code: super::FAULT });
                    }
                }
            }
        }
        Ok(bytes)
    }
}

impl Hooked {
    /// Hands on a chunk, unless it is empty, and then the end, if it is the last.
    fn pass(&mut self, chunk: Bytes, last: bool) -> Result<Passed, Fault> {
        match self {
            Self::Inspection(inspection) => {
                if !chunk.is_empty()
                    && let Passage::Cut(denial) = inspection.chunk(&chunk)?
                {
                    return Ok(Passed::Cut(denial));
                }
                if last && let Passage::Cut(denial) = inspection.end()? {
                    return Ok(Passed::Cut(denial));
                }
                Ok(Passed::As(chunk))
            }
            Self::Rewriting(rewriting) => {
                let sent = if chunk.is_empty() { chunk } else { rewriting.chunk(chunk)? };
                if !last {
                    return Ok(Passed::As(sent));
                }
                let rest = rewriting.end()?;
                Ok(Passed::As(joined(sent, rest)))
            }
        }
    }
}

fn joined(first: Bytes, second: Bytes) -> Bytes {
    if second.is_empty() {
        return first;
    }
    if first.is_empty() {
        return second;
    }
    let mut both = BytesMut::from(first);
    both.extend_from_slice(&second);
    both.freeze()
}

/// Begins a hook on chunks; `None` where the entry is none, or does not want this answer.
fn begin(
    entry: &Entry,
    request: &Request<'_>,
    response: &ResponseHead,
    slot: &mut Slot,
) -> Result<Option<Hooked>, Fault> {
    Ok(match &entry.hook {
        Hook::ResponseChunkInspector(inspector) => {
            inspector.begin(request, response, slot)?.map(Hooked::Inspection)
        }
        Hook::ResponseChunkRewriter(rewriter) => {
            rewriter.begin(request, response, slot)?.map(Hooked::Rewriting)
        }
        _ => None,
    })
}

/// Shows a whole body to a hook on chunks, as one chunk. The body is there still where it faults:
/// so here a rewriter's fault can be open, which it cannot be in a stream.
fn at_once(
    entry: &Entry,
    request: &Request<'_>,
    response: &ResponseHead,
    body: &Bytes,
    slot: &mut Slot,
) -> Result<Option<Passed>, Fault> {
    let Some(mut hook) = begin(entry, request, response, slot)? else { return Ok(None) };
    hook.pass(body.clone(), true).map(Some)
}
