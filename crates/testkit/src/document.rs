//! Documents for tests of the whole binary.

use std::fmt::Write as _;

use demilune_identity::{ApiKey, PasswordHash, Pepper};

use crate::harness::{ALICE_KEY, ALICE_PASSWORD, BOB_KEY};
use crate::http2_origin::Http2Origin;
use crate::origin::Origin;

/// What the file `pepper` holds, which [`callers`] names.
pub(crate) const PEPPER: &str = "an example pepper, of more than thirty-two bytes";

/// A document with the plain listener `main` and the operator's endpoints, both on ports that the
/// kernel chooses, the upstream `origin`, and one route `all`, public, for all paths. Each of
/// them may be given more, as YAML in flow style: `limits: { head: 1s }`.
#[derive(Default)]
pub struct Document {
    endpoints: Vec<String>,
    listener: String,
    upstream: String,
    route: String,
    routes: String,
    defaults: String,
}

impl Document {
    /// Before this origin.
    #[must_use]
    pub fn before(origin: &Origin) -> Self {
        Self::default().endpoint(&origin.url())
    }

    /// Before this origin, known to speak HTTP/2; and behind a listener that speaks it, too.
    #[must_use]
    pub fn before_http2(origin: &Http2Origin) -> Self {
        let this = Self::default().endpoint(&origin.url());
        this.upstream("http2: prior_knowledge").listener("http2: prior_knowledge")
    }

    /// Adds an endpoint to the upstream.
    #[must_use]
    pub fn endpoint(mut self, url: &str) -> Self {
        self.endpoints.push(format!("\"{url}\""));
        self
    }

    /// Says more of the listener.
    #[must_use]
    pub fn listener(mut self, settings: &str) -> Self {
        let _ = write!(self.listener, ", {settings}");
        self
    }

    /// Says more of the upstream.
    #[must_use]
    pub fn upstream(mut self, settings: &str) -> Self {
        let _ = write!(self.upstream, ", {settings}");
        self
    }

    /// Says more of the route `all`; with an `authenticate` in it, it is not public.
    #[must_use]
    pub fn route(mut self, settings: &str) -> Self {
        let _ = write!(self.route, ", {settings}");
        self
    }

    /// Takes the route `all` away and puts these in its place, a line each, such as
    /// `shut: { match: { path: /shut }, upstream: origin, authenticate: keys }`.
    #[must_use]
    pub fn routes(mut self, routes: &[&str]) -> Self {
        for route in routes {
            let _ = writeln!(self.routes, "  {route}");
        }
        self
    }

    /// What every route gets: `policies: […]`.
    #[must_use]
    pub fn defaults(mut self, settings: &str) -> Self {
        self.defaults = format!("defaults: {{ {settings} }}\n");
        self
    }
}

impl From<Document> for String {
    fn from(document: Document) -> Self {
        let Document { endpoints, listener, upstream, route, routes, defaults } = document;
        let public = if route.contains("authenticate:") { "" } else { ", public: for the test" };
        let routes = if routes.is_empty() {
            format!("  all: {{ match: {{ path: /** }}, upstream: origin{public}{route} }}\n")
        } else {
            routes
        };
        let endpoints = endpoints.join(", ");
        format!(
            "version: 1
admin: {{ address: 127.0.0.1:0 }}
listeners:
  main: {{ address: 127.0.0.1:0{listener} }}
upstreams:
  origin: {{ endpoints: [{endpoints}]{upstream} }}
{}{defaults}routes:
{routes}",
            callers()
        )
    }
}

/// The parts `secrets`, `consumers` and `authenticators`: `alice`, of the group `gold`, with a
/// key and a password, and
/// `bob` with a key; `keys`, `query_keys` (in the parameter `key` too), `passwords` and, over
/// plain HTTP,
/// `plain_passwords`.
pub(crate) fn callers() -> String {
    let pepper = Pepper::new(1, PEPPER.as_bytes()).unwrap();
    let hash = |key: &str| ApiKey::parse(key).unwrap().digest(&pepper).to_string();
    format!(
        "secrets:
  pepper: {{ file: pepper }}
consumers:
  alice:
    groups: [gold]
    credentials:
      - api_key: {{ hash: \"{}\" }}
      - basic: {{ user: alice, password_hash: \"{}\" }}
  bob:
    credentials:
      - api_key: {{ hash: \"{}\" }}
authenticators:
  keys: {{ key_auth: {{ pepper: pepper }} }}
  query_keys:
    key_auth: {{ pepper: pepper, in_query: {{ parameter: key, reason: for the test }} }}
  passwords: {{ basic_auth: {{}} }}
  plain_passwords: {{ basic_auth: {{ plain_text: for the test }} }}
",
        hash(ALICE_KEY),
        PasswordHash::create(ALICE_PASSWORD).unwrap(),
        hash(BOB_KEY),
    )
}
