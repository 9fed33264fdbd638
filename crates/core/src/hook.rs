//! The roles a policy can play. Roles are capabilities: a [`Guard`] may refuse but not change, a
//! [`Rewriter`] may change but not refuse. "Can this policy alter what another saw?" is answered
//! by its
//! `impl` line.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::body::Body;
use crate::consumer::Identity;
use crate::head::{Outgoing, Request, ResponseHead};
use crate::stage::Stage;
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
    /// Looks at the request for a credential of its kind.
    fn authenticate<'a>(&'a self, request: Request<'a>) -> Outcome<'a, Result<Proof, Fault>>;
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
    /// See [`ResponseRewriter`].
    ResponseRewriter(Arc<dyn ResponseRewriter>),
}

/// The hooks of one built policy. They share one [`Slot`] per request.
#[derive(Default, Clone)]
pub struct Hooks {
    list: Vec<(Stage, Hook)>,
    answers_preflight: bool,
    parameters: Vec<String>,
}

impl Hooks {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a guard at [`Stage::Edge`] or [`Stage::Quota`].
    #[must_use]
    pub fn guard(self, stage: Stage, guard: &Arc<impl Guard + 'static>) -> Self {
        self.with(stage, Hook::Guard(Arc::clone(guard) as Arc<dyn Guard>))
    }

    /// Adds a gate at [`Stage::Edge`] or [`Stage::Quota`].
    #[must_use]
    pub fn gate(self, stage: Stage, gate: &Arc<impl Gate + 'static>) -> Self {
        self.with(stage, Hook::Gate(Arc::clone(gate) as Arc<dyn Gate>))
    }

    /// Adds an authorizer.
    #[must_use]
    pub fn authorizer(self, authorizer: &Arc<impl Authorizer + 'static>) -> Self {
        self.with(Stage::Authorize, Hook::Authorizer(Arc::clone(authorizer) as _))
    }

    /// Adds a meter of the body's length.
    #[must_use]
    pub fn body_meter(self, meter: &Arc<impl BodyMeter + 'static>) -> Self {
        self.with(Stage::Inspect, Hook::BodyMeter(Arc::clone(meter) as _))
    }

    /// Adds an inspector of the body.
    #[must_use]
    pub fn inspector(self, inspector: &Arc<impl Inspector + 'static>) -> Self {
        self.with(Stage::Inspect, Hook::Inspector(Arc::clone(inspector) as _))
    }

    /// Adds a rewriter of the request.
    #[must_use]
    pub fn rewriter(self, rewriter: &Arc<impl Rewriter + 'static>) -> Self {
        self.with(Stage::Transform, Hook::Rewriter(Arc::clone(rewriter) as _))
    }

    /// Adds an inspector of the answer's head.
    #[must_use]
    pub fn response_inspector(self, inspector: &Arc<impl ResponseInspector + 'static>) -> Self {
        self.with(Stage::Response, Hook::ResponseInspector(Arc::clone(inspector) as _))
    }

    /// Adds a rewriter of the answer's headers.
    #[must_use]
    pub fn response_rewriter(self, rewriter: &Arc<impl ResponseRewriter + 'static>) -> Self {
        self.with(Stage::Response, Hook::ResponseRewriter(Arc::clone(rewriter) as _))
    }

    /// Says that one of the guards answers CORS preflights, so that a route whose methods do not
    /// list
    /// `OPTIONS` still receives the preflights of its methods.
    #[must_use]
    pub fn answers_preflight(mut self) -> Self {
        self.answers_preflight = true;
        self
    }

    /// Whether [`Hooks::answers_preflight`] was said.
    #[must_use]
    pub fn does_answer_preflight(&self) -> bool {
        self.answers_preflight
    }

    /// Says that the policy reads the path parameter `{name}`: a route whose path has none such
    /// does not load.
    #[must_use]
    pub fn reads_parameter(mut self, name: impl Into<String>) -> Self {
        self.parameters.push(name.into());
        self
    }

    /// The path parameters that the policy reads.
    #[must_use]
    pub fn parameters(&self) -> &[String] {
        &self.parameters
    }

    /// The hooks with their stages, in the order added.
    #[must_use]
    pub fn list(&self) -> &[(Stage, Hook)] {
        &self.list
    }

    fn with(mut self, stage: Stage, hook: Hook) -> Self {
        self.list.push((stage, hook));
        self
    }
}
