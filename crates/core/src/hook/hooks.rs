//! The hooks of one policy, as it hands them over.

use std::sync::Arc;

use http::Method;

use super::{
    Authorizer, BodyMeter, Endpoint, EndpointPath, Gate, Guard, Hook, Inspector, PolicyEndpoint,
    ResponseBodyInspector, ResponseBodyRewriter, ResponseChunkInspector, ResponseChunkRewriter,
    ResponseInspector, ResponseRewriter, Rewriter,
};
use crate::stage::Stage;

/// The hooks of one built policy. They share one [`Slot`](super::Slot) per request.
#[derive(Default, Clone)]
pub struct Hooks {
    list: Vec<(Stage, Hook)>,
    endpoints: Vec<PolicyEndpoint>,
    answers_preflight: bool,
    limits_by_address: bool,
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

    /// Adds an inspector of the answer's whole body.
    #[must_use]
    pub fn response_body_inspector(
        self,
        inspector: &Arc<impl ResponseBodyInspector + 'static>,
    ) -> Self {
        self.with(Stage::Response, Hook::ResponseBodyInspector(Arc::clone(inspector) as _))
    }

    /// Adds a rewriter of the answer's whole body.
    #[must_use]
    pub fn response_body_rewriter(
        self,
        rewriter: &Arc<impl ResponseBodyRewriter + 'static>,
    ) -> Self {
        self.with(Stage::Response, Hook::ResponseBodyRewriter(Arc::clone(rewriter) as _))
    }

    /// Adds an inspector of the answer's body as it passes.
    #[must_use]
    pub fn response_chunk_inspector(
        self,
        inspector: &Arc<impl ResponseChunkInspector + 'static>,
    ) -> Self {
        self.with(Stage::Response, Hook::ResponseChunkInspector(Arc::clone(inspector) as _))
    }

    /// Adds a rewriter of the answer's body as it passes.
    #[must_use]
    pub fn response_chunk_rewriter(
        self,
        rewriter: &Arc<impl ResponseChunkRewriter + 'static>,
    ) -> Self {
        self.with(Stage::Response, Hook::ResponseChunkRewriter(Arc::clone(rewriter) as _))
    }

    /// Adds an endpoint of the policy's own: requests for `path` with `method` (`GET` admits
    /// `HEAD` too) on the hosts of the policy's route are answered by it. See [`Endpoint`].
    #[must_use]
    pub fn endpoint(
        mut self,
        method: Method,
        path: EndpointPath,
        endpoint: &Arc<impl Endpoint + 'static>,
    ) -> Self {
        self.endpoints.push(PolicyEndpoint { method, path, endpoint: Arc::clone(endpoint) as _ });
        self
    }

    /// Its own endpoints, in the order added.
    #[must_use]
    pub fn endpoints(&self) -> &[PolicyEndpoint] {
        &self.endpoints
    }

    /// Says that one of the hooks at [`Stage::Edge`] limits how often one address may come. Only
    /// behind such a limit are bodies of strangers read.
    #[must_use]
    pub fn limits_by_address(mut self) -> Self {
        self.limits_by_address = true;
        self
    }

    /// Whether [`Hooks::limits_by_address`] was said, and a hook at the Edge makes it true.
    #[must_use]
    pub fn does_limit_by_address(&self) -> bool {
        self.limits_by_address && self.list.iter().any(|(stage, _)| *stage == Stage::Edge)
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
