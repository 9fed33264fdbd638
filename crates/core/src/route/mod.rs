//! Routes: what they match, and which one wins.
//!
//! Among all routes that match a request, one wins by these rules, in this order, whatever order
//! they are written in:
//!
//! 1. the more specific host: exact, then wildcard (longer first), then any;
//! 2. the more specific path: segment by segment from the left, a literal before `{parameter}`
//!    before `**`;
//! 3. fewer methods, and any list before none;
//! 4. more header conditions, then more query conditions;
//! 5. the name, in alphabetical order.
//!
//! A route that can never win is an error in the document, not a surprise in production.

mod endpoint;
mod index;
mod pattern;

pub use endpoint::{Collision, collisions};
pub use index::{Lookup, RouteIndex, Shadowed};
pub use pattern::{HostPattern, PatternInvalid, Segment, Template};

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};

use crate::chain::Chain;
use crate::path::PathExceptions;

/// One route, compiled.
#[derive(Debug)]
pub struct Route {
    /// Its name in the document.
    pub name: Arc<str>,
    /// Where it stands in the document, such as `gateway.yaml:31`.
    pub source: Arc<str>,
    /// What it matches.
    pub matches: Matches,
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Its policies and its identity decision.
    pub chain: Chain,
    /// Whether WebSocket connections may be opened through it.
    pub websocket: bool,
    /// What its paths may hold that is refused otherwise.
    pub path_exceptions: PathExceptions,
}

/// The conditions of a route; all must hold.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// One of these hosts; any where empty.
    pub hosts: Vec<HostPattern>,
    /// The path.
    pub path: Template,
    /// One of these methods (`GET` admits `HEAD` too); any where empty.
    pub methods: Vec<Method>,
    /// Each of these headers, once, with this value; `None` for any value.
    pub headers: Vec<(HeaderName, Option<String>)>,
    /// Each of these query parameters, once, with this value; `None` for any value.
    pub query: Vec<(String, Option<String>)>,
}

impl Route {
    /// The value captured for `{name}` in `path`, which this route matched.
    #[must_use]
    pub fn parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        self.matches.path.parameter(path, name)
    }
}

impl Matches {
    /// Whether the conditions besides host and path hold.
    fn admits(&self, lookup: &Lookup<'_>, answers_preflight: bool) -> bool {
        self.admits_method(lookup, answers_preflight)
            && self
                .headers
                .iter()
                .all(|(name, value)| header_equals(lookup.headers, name, value.as_deref()))
            && self.query.iter().all(|(name, value)| {
                query_equals(lookup.query.unwrap_or_default(), name, value.as_deref())
            })
    }

    fn admits_method(&self, lookup: &Lookup<'_>, answers_preflight: bool) -> bool {
        let lists = |method: &Method| {
            self.methods.contains(method)
                || (method == Method::HEAD && self.methods.contains(&Method::GET))
        };
        self.methods.is_empty()
            || lists(lookup.method)
            || (answers_preflight && lookup.preflight.is_some_and(lists))
    }

    /// Whether everything that `other` admits (host and path apart) is admitted here.
    fn covers(&self, other: &Self) -> bool {
        let methods = self.methods.is_empty()
            || (!other.methods.is_empty()
                && other.methods.iter().all(|m| self.methods.contains(m)));
        methods
            && self.headers.iter().all(|condition| {
                other.headers.iter().any(|(name, value)| {
                    *name == condition.0 && (condition.1.is_none() || *value == condition.1)
                })
            })
            && self.query.iter().all(|condition| {
                other.query.iter().any(|(name, value)| {
                    *name == condition.0 && (condition.1.is_none() || *value == condition.1)
                })
            })
    }

    /// Rules 3 and 4 as a sort key: smaller wins.
    fn rank(&self) -> (usize, std::cmp::Reverse<usize>, std::cmp::Reverse<usize>) {
        let methods = if self.methods.is_empty() { usize::MAX } else { self.methods.len() };
        (methods, std::cmp::Reverse(self.headers.len()), std::cmp::Reverse(self.query.len()))
    }
}

/// A header that stands there twice satisfies no condition.
fn header_equals(headers: &HeaderMap, name: &HeaderName, wanted: Option<&str>) -> bool {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => wanted.is_none_or(|wanted| value.as_bytes() == wanted.as_bytes()),
        _ => false,
    }
}

/// A parameter that stands there twice satisfies no condition.
fn query_equals(query: &str, name: &str, wanted: Option<&str>) -> bool {
    let mut values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(key).as_deref() == Some(name.as_bytes())).then_some(value)
    });
    match (values.next(), values.next()) {
        (Some(value), None) => {
            wanted.is_none_or(|wanted| form_decoded(value).as_deref() == Some(wanted.as_bytes()))
        }
        _ => false,
    }
}

/// The bytes that an `application/x-www-form-urlencoded` name or value stands for; `None` where its
/// percent-encoding is broken.
#[must_use]
pub fn form_decoded(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => u8::try_from(digit(bytes.next())? * 16 + digit(bytes.next())?).ok()?,
            other => other,
        });
    }
    Some(out)
}
