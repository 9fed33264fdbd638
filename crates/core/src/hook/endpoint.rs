//! Endpoints of a policy's own: a login callback, a set of keys.

use std::fmt;
use std::sync::Arc;

use http::Method;

use super::{Outcome, Slot};
use crate::body::Body;
use crate::head::Request;
use crate::route::{Segment, Template};
use crate::verdict::{Ending, Fault};

/// Answers requests in the upstream's place, before anybody proved who they are.
///
/// The Edge stage of the policy's route has let the request pass: its limits by address and its
/// restrictions hold. No other stage runs, but rewriters of the answer's headers do.
pub trait Endpoint: Send + Sync {
    /// The most bytes of a body, received and decoded: a longer one is 413. Zero, the default,
    /// admits none. More than zero reads bodies of strangers, which needs a limit by address as
    /// [`Authenticator::needs_body`](super::Authenticator::needs_body) does.
    fn limit(&self) -> u64 {
        0
    }
    /// Answers or refuses. There is nothing to let through: a fault is 503, also where the
    /// operator opened the policy's faults.
    fn answer<'a>(
        &'a self,
        request: Request<'a>,
        body: &'a Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Ending, Fault>>;
}

/// Where an [`Endpoint`] stands.
#[derive(Clone)]
pub struct PolicyEndpoint {
    /// The method; `GET` admits `HEAD` too.
    pub method: Method,
    /// The path.
    pub path: EndpointPath,
    /// What answers.
    pub endpoint: Arc<dyn Endpoint>,
}

/// One whole path in canonical form, from the root of the host: without parameters and `**`. It is
/// not relative to the route's own path, since whoever calls it has it by heart: an identity
/// provider, a browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPath(Template);

/// Why a path cannot be an endpoint's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EndpointPathInvalid(String);

impl EndpointPath {
    /// Parses a path such as `/login/callback`.
    ///
    /// # Errors
    /// For anything that stands for more than one path, or is not in canonical form.
    pub fn parse(text: &str) -> Result<Self, EndpointPathInvalid> {
        let template = Template::parse(text).map_err(|e| EndpointPathInvalid(e.to_string()))?;
        if template.segments().iter().all(|s| matches!(s, Segment::Literal(_))) {
            return Ok(Self(template));
        }
        let reason = format!("path `{text}`: expected one path, without `{{name}}` and `**`");
        Err(EndpointPathInvalid(reason))
    }

    /// As a route's template.
    #[must_use]
    pub fn template(&self) -> &Template {
        &self.0
    }
}

impl fmt::Display for EndpointPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_has_one_path() {
        for path in ["/", "/login", "/login/callback", "/login/"] {
            assert!(EndpointPath::parse(path).is_ok(), "{path}");
        }
        for path in ["", "login", "/{x}", "/a/**", "/a//b", "/a/../b", "/%61"] {
            assert!(EndpointPath::parse(path).is_err(), "{path}");
        }
    }
}
