//! The roles a policy can play. Roles are capabilities: a [`Guard`] may refuse but not change, a
//! [`Rewriter`] may change but not refuse. "Can this policy alter what another saw?" is answered
//! by its `impl` line.

mod endpoint;
mod hooks;
mod response;

pub use endpoint::{Endpoint, EndpointPath, EndpointPathInvalid, PolicyEndpoint};
pub use hooks::Hooks;
pub use response::{
    ChunkInspection, ChunkRewriting, Passage, ResponseBodyInspector, ResponseBodyRewriter,
    ResponseChunkInspector, ResponseChunkRewriter, ResponseInspector, ResponseRewriter,
};

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::body::Body;
use crate::consumer::Identity;
use crate::head::{Outgoing, Request};
use crate::verdict::{Denial, Fault, Verdict};

/// A result that is there at once, or has to be waited for. Most are there at once, and then
/// nothing is boxed.
pub enum Outcome<'a, T> {
    /// The result.
    Now(T),
    /// A future of it. It need not be `Send`: an exchange stays on its worker.
    Later(Pin<Box<dyn Future<Output = T> + 'a>>),
}

impl<'a, T> Outcome<'a, T> {
    /// Boxes a future.
    pub fn later(future: impl Future<Output = T> + 'a) -> Self {
        Self::Later(Box::pin(future))
    }

    /// Waits for the result where it is not there yet.
    pub async fn wait(self) -> T {
        match self {
            Self::Now(value) => value,
            Self::Later(future) => future.await,
        }
    }
}

/// Private memory of one policy between its hooks, for one request.
#[derive(Default)]
pub struct Slot(Option<Box<dyn Any>>);

impl Slot {
    /// Stores `value`, in place of what was there.
    pub fn set<T: Any>(&mut self, value: T) {
        self.0 = Some(Box::new(value));
    }

    /// What this policy stored, if it is a `T`.
    #[must_use]
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }

    /// As [`Slot::get`], to change it.
    pub fn get_mut<T: Any>(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.downcast_mut()
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Slot(set)" } else { "Slot(empty)" })
    }
}

/// Decides on the head, at once.
pub trait Guard: Send + Sync {
    /// May refuse or answer; may not change anything but its slot.
    ///
    /// # Errors
    /// A fault where it cannot decide.
    fn check(&self, request: &Request<'_>, slot: &mut Slot) -> Result<Verdict, Fault>;
}

/// Decides on the head, and may have to wait for something outside.
pub trait Gate: Send + Sync {
    /// As [`Guard::check`].
    fn check<'a>(
        &'a self,
        request: Request<'a>,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>>;
}

/// What an authenticator found.
#[derive(Debug)]
pub enum Proof {
    /// Nothing of its own: another authenticator may be meant.
    Absent,
    /// A valid credential, and whose it is.
    Proved(Identity),
    /// A credential of its own that is not valid: 401, and no other authenticator is asked.
    Refused(Denial),
}

/// Proves who is calling.
pub trait Authenticator: Send + Sync {
    /// Looks at the request for a credential of its kind. Not asked where
    /// [`Authenticator::needs_body`] says that there is nothing to be said without the body.
    fn authenticate<'a>(&'a self, request: Request<'a>) -> Outcome<'a, Result<Proof, Fault>>;
    /// The most bytes of the body, as received, that its credential covers: the signature of a
    /// webhook. A longer body is 413. `None`, the default, where the head is enough.
    ///
    /// A route with such an authenticator reads bodies of strangers. It does not load unless one of
    /// its policies limits by address (see [`Hooks::limits_by_address`]).
    fn needs_body(&self) -> Option<u64> {
        None
    }
    /// As [`Authenticator::authenticate`], and asked in its place where
    /// [`Authenticator::needs_body`] is some: with the whole body as received, before any content
    /// coding is undone, since that is what is signed. Empty where there is none.
    fn authenticate_body<'a>(
        &'a self,
        request: Request<'a>,
        _body: &'a Bytes,
    ) -> Outcome<'a, Result<Proof, Fault>> {
        self.authenticate(request)
    }
    /// Its `WWW-Authenticate` challenge (RFC 9110 section 11.6.1).
    fn challenge(&self) -> HeaderValue;
    /// Where its credential travels: removed before forwarding.
    fn carriers(&self) -> Vec<Carrier>;
}

/// A place in a request that carries a credential.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// A header.
    Header(HeaderName),
    /// A parameter of the query.
    Query(String),
}

/// Decides what a proved identity may do. It cannot be asked about nobody.
pub trait Authorizer: Send + Sync {
    /// As [`Guard::check`], with the identity.
    fn authorize<'a>(
        &'a self,
        identity: &'a Identity,
        request: Request<'a>,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>>;
}

/// Decides on the body.
pub trait Inspector: Send + Sync {
    /// The most bytes (decoded) it needs to see; a larger body is refused before it is asked.
    fn limit(&self) -> u64;
    /// As [`Guard::check`], with the whole body.
    fn inspect<'a>(
        &'a self,
        request: Request<'a>,
        body: &'a Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>>;
}

/// Watches the body's length go by, and may stop it.
pub trait BodyMeter: Send + Sync {
    /// Called before the body is read, and on each chunk, with the bytes (as received, before any
    /// content coding is removed) so far.
    ///
    /// # Errors
    /// The denial that ends the exchange. It is boxed since it is rare.
    fn measure(&self, received: u64) -> Result<(), Box<Denial>>;
    /// The most bytes it will let pass.
    fn limit(&self) -> u64;
}

/// Changes what the upstream will see. May not refuse.
pub trait Rewriter: Send + Sync {
    /// Changes `outgoing`.
    ///
    /// # Errors
    /// A fault where it cannot: the request is not sent half rewritten.
    fn rewrite(
        &self,
        request: &Request<'_>,
        outgoing: &mut Outgoing,
        slot: &mut Slot,
    ) -> Result<(), Fault>;
}

/// One hook of a policy.
#[derive(Clone)]
pub enum Hook {
    /// See [`Guard`].
    Guard(Arc<dyn Guard>),
    /// See [`Gate`].
    Gate(Arc<dyn Gate>),
    /// See [`Authorizer`].
    Authorizer(Arc<dyn Authorizer>),
    /// See [`BodyMeter`].
    BodyMeter(Arc<dyn BodyMeter>),
    /// See [`Inspector`].
    Inspector(Arc<dyn Inspector>),
    /// See [`Rewriter`].
    Rewriter(Arc<dyn Rewriter>),
    /// See [`ResponseInspector`].
    ResponseInspector(Arc<dyn ResponseInspector>),
    /// See [`ResponseBodyInspector`].
    ResponseBodyInspector(Arc<dyn ResponseBodyInspector>),
    /// See [`ResponseBodyRewriter`].
    ResponseBodyRewriter(Arc<dyn ResponseBodyRewriter>),
    /// See [`ResponseChunkInspector`].
    ResponseChunkInspector(Arc<dyn ResponseChunkInspector>),
    /// See [`ResponseChunkRewriter`].
    ResponseChunkRewriter(Arc<dyn ResponseChunkRewriter>),
    /// See [`ResponseRewriter`].
    ResponseRewriter(Arc<dyn ResponseRewriter>),
}
