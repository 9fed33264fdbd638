//! What a policy may say: it returns a value, the engine acts on it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

/// The result of one hook that decides.
#[derive(Debug)]
pub enum Verdict {
    /// Go on with the next hook.
    Continue,
    /// A legitimate short cut: a preflight's answer, a redirect, a cached reply. No security event.
    Answer(Box<Answer>),
    /// A refusal: a security event of its code.
    Deny(Box<Denial>),
}

impl Verdict {
    /// Shorthand for a denial.
    #[must_use]
    pub fn deny(denial: Denial) -> Self {
        Self::Deny(Box::new(denial))
    }
}

/// A response made by a policy instead of by the upstream.
#[derive(Debug)]
pub struct Answer {
    /// The status line's code.
    pub status: StatusCode,
    /// Headers of the answer. `Content-Length` is set by the engine.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole body.
    pub body: Bytes,
}

/// A refusal, with what each reader may know of it.
#[derive(Debug, Clone)]
pub struct Denial {
    /// 4xx where the client is at fault, 5xx where the gateway or the upstream is.
    pub status: StatusCode,
    /// Stable: the metric's label, the event's type, the anchor in the docs, the test's
    /// expectation.
    pub code: &'static str,
    /// What the client may read: the `detail` of RFC 9457.
    pub public: Cow<'static, str>,
    /// For our log only. Never holds the secret that was refused.
    pub log: Cow<'static, str>,
    /// Such as `WWW-Authenticate` or `RateLimit`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// When it makes sense to come back.
    pub retry_after: Option<Duration>,
}

impl Denial {
    /// A refusal with `status` and stable `code`; `public` is all that the client may read of it.
    pub fn new(
        status: StatusCode,
        code: &'static str,
        public: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            public: public.into(),
            log: Cow::Borrowed(""),
            headers: Vec::new(),
            retry_after: None,
        }
    }

    /// Adds what only our log may say.
    #[must_use]
    pub fn log(mut self, log: impl Into<Cow<'static, str>>) -> Self {
        self.log = log.into();
        self
    }

    /// Adds a header to the refusal.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Says when to come back; rendered as `Retry-After` in whole seconds, rounded up.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }
}

/// How an exchange ends without the upstream's answer.
#[derive(Debug)]
pub enum Ending {
    /// By a policy's own answer.
    Answer(Box<Answer>),
    /// By a refusal.
    Deny(Box<Denial>),
}

/// "Could not decide": closes with 503 unless the operator opened it, with a reason.
#[derive(Debug, Clone)]
pub struct Fault {
    /// For the log only.
    pub reason: Cow<'static, str>,
}

impl Fault {
    /// A fault with its reason, for the log only.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
}
