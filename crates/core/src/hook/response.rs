//! The roles on the way back.
//!
//! The hooks of the Response stage run in three passes, each from the last policy to the first:
//! [`ResponseInspector`]s on the head of the upstream's answer; then whatever wants its body; then
//! [`ResponseRewriter`]s, on every answer.
//!
//! Hooks on bodies see the upstream's answers only, never a policy's own answer or a refusal, and
//! they are not asked where an answer has no body: to `HEAD`, and with 204 and 304. What they see
//! has no content coding any more, and is never a part of something: see
//! [`Chain::response_body`](crate::chain::Chain::response_body).

use bytes::Bytes;

use super::{Outcome, Slot};
use crate::body::Body;
use crate::head::{Request, ResponseHead};
use crate::verdict::{Denial, Fault, Verdict};

/// Decides on the head of the upstream's answer.
pub trait ResponseInspector: Send + Sync {
    /// May refuse the answer; not asked about our own answers and refusals.
    ///
    /// # Errors
    /// A fault where it cannot decide.
    fn inspect(
        &self,
        request: &Request<'_>,
        response: &ResponseHead,
        slot: &mut Slot,
    ) -> Result<Verdict, Fault>;
}

/// Changes the headers of any answer: the upstream's, a policy's, and refusals.
pub trait ResponseRewriter: Send + Sync {
    /// Changes `response`. `slot` is empty where the policy's request half did not run. What it
    /// has to look up it looks up when built: this cannot fail.
    fn rewrite(&self, request: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot);
}

/// Decides on the whole body of the upstream's answer. Nothing of the answer leaves before.
pub trait ResponseBodyInspector: Send + Sync {
    /// The most bytes (decoded) that it can look at: a longer body is 502 and is not shown to it.
    /// All of it is held in memory, so streams without an end do not go with such a hook.
    fn limit(&self) -> u64;
    /// May refuse the answer, or put another in its place.
    fn inspect<'a>(
        &'a self,
        request: Request<'a>,
        response: &'a ResponseHead,
        body: &'a Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>>;
}

/// Changes the whole body of the upstream's answer. May not refuse.
pub trait ResponseBodyRewriter: Send + Sync {
    /// As [`ResponseBodyInspector::limit`], of the body as it gets it.
    fn limit(&self) -> u64;
    /// Changes `body`. What the headers must say of it the engine sees to. A fault leaves the body
    /// as it was, and nothing of it is sent unless the operator opened that.
    fn rewrite<'a>(
        &'a self,
        request: Request<'a>,
        response: &'a ResponseHead,
        body: &'a mut Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<(), Fault>>;
}

/// Watches the upstream's answer as it passes, and may cut it off.
///
/// Where no other hook of the route wants the whole body, the head and all that came before have
/// been sent when it does: the client sees that the answer is cut short, not a status.
pub trait ResponseChunkInspector: Send + Sync {
    /// Looks at one answer's head; `None` where it does not want to see the body.
    ///
    /// # Errors
    /// A fault where it cannot.
    fn begin(
        &self,
        request: &Request<'_>,
        response: &ResponseHead,
        slot: &mut Slot,
    ) -> Result<Option<Box<dyn ChunkInspection>>, Fault>;
}

/// One answer's body under a [`ResponseChunkInspector`]. It must not take long: it holds up the
/// worker.
pub trait ChunkInspection {
    /// The next bytes (decoded). They come in order and without gaps; where they are divided means
    /// nothing, so what is looked for may begin in one chunk and end in the next.
    ///
    /// # Errors
    /// A fault where it cannot decide: cuts the answer off, unless the operator opened that; then
    /// it is not asked any more.
    fn chunk(&mut self, chunk: &[u8]) -> Result<Passage, Fault>;

    /// The body is over.
    ///
    /// # Errors
    /// As [`ChunkInspection::chunk`].
    fn end(&mut self) -> Result<Passage, Fault> {
        Ok(Passage::Open)
    }
}

/// Whether what was looked at may pass.
#[derive(Debug)]
pub enum Passage {
    /// It may.
    Open,
    /// It may not, and nothing that comes after it.
    Cut(Box<Denial>),
}

/// Changes the upstream's answer as it passes. May not refuse.
pub trait ResponseChunkRewriter: Send + Sync {
    /// As [`ResponseChunkInspector::begin`]; `None` leaves the body as it is.
    ///
    /// # Errors
    /// A fault where it cannot.
    fn begin(
        &self,
        request: &Request<'_>,
        response: &ResponseHead,
        slot: &mut Slot,
    ) -> Result<Option<Box<dyn ChunkRewriting>>, Fault>;
}

/// One answer's body under a [`ResponseChunkRewriter`]. It must not take long: it holds up the
/// worker.
pub trait ChunkRewriting {
    /// The next bytes, as [`ChunkInspection::chunk`] has them; gives what is sent in their place.
    /// What cannot be told yet is held back, and given with a later chunk or at the end: bounding
    /// that is up to it.
    ///
    /// # Errors
    /// A fault where it cannot. It always cuts a stream off, also where the operator opened it:
    /// what was held back is lost, and the rest alone would be another answer.
    fn chunk(&mut self, chunk: Bytes) -> Result<Bytes, Fault>;

    /// The body is over: gives what was held back.
    ///
    /// # Errors
    /// As [`ChunkRewriting::chunk`].
    fn end(&mut self) -> Result<Bytes, Fault> {
        Ok(Bytes::new())
    }
}
