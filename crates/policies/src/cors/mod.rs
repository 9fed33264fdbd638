//! `cors`: which web pages of other origins may call a route (Fetch standard, section 3.2).
//!
//! A browser asks first (the preflight) and hides answers from pages that may not read them; the
//! attacks that this policy answers come from pages whose user has rights here. Hence: a request
//! that carries an origin not listed is refused, not merely answered without headers, which also
//! keeps foreign pages from opening WebSockets; no origin is ever reflected that was not matched;
//! `null`, which any sandboxed frame can be, never matches; and what upstreams say about CORS is
//! replaced.
//!
//! A preflight never passes this guard: it is answered or refused here, since a route that does not
//! list `OPTIONS` receives one only for this policy's sake.

mod origin;

pub use origin::{Origin, OriginPattern};

use std::sync::Arc;

use demilune_core::policy::Code;
use demilune_core::{
    Answer, Denial, Env, Fault, Guard, Hooks, Invalid, Meta, Period, Policy, Request, RequestHead,
    ResponseHead, ResponseRewriter, Slot, Stage, Verdict,
};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::header::FieldName;

const MAX_AGE_MOST: Period = Period(std::time::Duration::from_secs(24 * 60 * 60));

/// Admits web pages of other origins, and refuses all that are not listed.
///
/// Requests without an `Origin` header, such as those of servers and command lines, are not
/// concerned; neither are those of pages of the gateway's own origin.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The origins admitted, at least one: `https://app.example.com`, with a port where it is not
    /// the scheme's own; `https://*.example.com` for all names below; or `"*"` alone for every
    /// origin but `null`, without `credentials`.
    pub origins: Vec<OriginPattern>,
    /// The methods that a preflight is told are allowed. Default: `GET`, `HEAD`, `POST`.
    #[serde(default = "methods")]
    pub methods: Vec<MethodName>,
    /// The request headers that a preflight is told are allowed, besides those that browsers send
    /// unasked. `content-type` must stand here for JSON. Default: none.
    #[serde(default)]
    pub headers: Vec<FieldName>,
    /// The response headers that a page may read, besides those that every page may. Default: none.
    #[serde(default)]
    pub expose: Vec<FieldName>,
    /// Whether pages may send the user's cookies and certificates. Needs origins of `https`.
    /// Default: `false`.
    #[serde(default)]
    pub credentials: bool,
    /// How long a browser may remember a preflight's answer. Default: `10min`; at most `24h`.
    #[serde(default = "max_age")]
    pub max_age: Period,
}

fn methods() -> Vec<MethodName> {
    [Method::GET, Method::HEAD, Method::POST].map(MethodName).to_vec()
}

fn max_age() -> Period {
    Period(std::time::Duration::from_secs(10 * 60))
}

/// A method's name in upper case, such as `PATCH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^[A-Z][A-Z_-]*$"))]
pub struct MethodName(Method);

impl TryFrom<String> for MethodName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let upper = text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_');
        // No page may send these three (Fetch standard, "forbidden method").
        let forbidden = matches!(text.as_str(), "CONNECT" | "TRACE" | "TRACK");
        match Method::from_bytes(text.as_bytes()) {
            Ok(method) if upper && !forbidden => Ok(Self(method)),
            _ => Err(format!("expected a method in upper case, such as `PATCH`, found `{text}`")),
        }
    }
}

impl From<MethodName> for String {
    fn from(method: MethodName) -> Self {
        method.0.as_str().to_owned()
    }
}

impl Policy for Cors {
    const META: Meta = Meta {
        name: "cors",
        since: "0.1",
        codes: &[
            Code {
                code: "cors.origin",
                status: 403,
                meaning: "The page's origin is not listed, is `null`, or is given more than once.",
            },
            Code {
                code: "cors.method",
                status: 403,
                meaning: "A preflight asks for a method that is not listed.",
            },
            Code {
                code: "cors.header",
                status: 403,
                meaning: "A preflight asks for a request header that is not listed.",
            },
        ],
    };

    fn build(&self, _: &Env<'_>) -> Result<Hooks, Invalid> {
        self.check_origins()?;
        if self.max_age > MAX_AGE_MOST {
            let reason = format!("expected at most `{MAX_AGE_MOST}`, found `{}`", self.max_age);
            return Err(Invalid::new("max_age", reason));
        }
        let names = |list: &[FieldName]| list.iter().map(|n| n.name().clone()).collect::<Vec<_>>();
        let (headers, expose) = (names(&self.headers), names(&self.expose));
        let methods: Vec<Method> = self.methods.iter().map(|method| method.0.clone()).collect();
        let rules = Arc::new(Rules {
            origins: self.origins.clone(),
            allow_methods: joined("methods", methods.iter().map(Method::as_str))?,
            methods,
            allow_headers: joined("headers", headers.iter().map(HeaderName::as_str))?,
            headers,
            expose: joined("expose", expose.iter().map(HeaderName::as_str))?,
            credentials: self.credentials,
            max_age: HeaderValue::from(self.max_age.0.as_secs()),
        });
        Ok(Hooks::new().guard(Stage::Edge, &rules).response_rewriter(&rules).answers_preflight())
    }

    fn weakens(&self, wider: &Self) -> Option<String> {
        let covered = |mine: &OriginPattern| wider.origins.iter().any(|theirs| theirs.covers(mine));
        if let Some(origin) = self.origins.iter().find(|mine| !covered(mine)) {
            return Some(format!("pages of `{origin}` may call it"));
        }
        if self.credentials && !wider.credentials {
            return Some("pages may send the user's credentials".to_owned());
        }
        if let Some(method) = self.methods.iter().find(|mine| !wider.methods.contains(mine)) {
            return Some(format!("pages may use `{}`", method.0));
        }
        if let Some(header) = self.headers.iter().find(|mine| !wider.headers.contains(mine)) {
            return Some(format!("pages may send `{}`", header.name()));
        }
        let header = self.expose.iter().find(|mine| !wider.expose.contains(mine))?;
        Some(format!("pages may read `{}`", header.name()))
    }
}

impl Cors {
    fn check_origins(&self) -> Result<(), Invalid> {
        if self.origins.is_empty() {
            return Err(Invalid::new("origins", "expected at least one origin, found none"));
        }
        for (index, pattern) in self.origins.iter().enumerate() {
            let field = format!("origins[{index}]");
            match pattern {
                OriginPattern::Any if self.credentials => {
                    let reason = "`*` with `credentials` would let any page act as its user";
                    return Err(Invalid::new(field, reason).help("name the origins"));
                }
                OriginPattern::Any if self.origins.len() > 1 => {
                    return Err(Invalid::new(field, "`*` covers all the others")
                        .help("let it stand alone, or leave it out"));
                }
                OriginPattern::Exact(origin) | OriginPattern::Below(origin)
                    if self.credentials && !origin.is_authentic() =>
                {
                    let reason = "anybody on the network can write pages of an origin of `http`: \
                                  with `credentials` they would act as its user";
                    return Err(Invalid::new(field, reason).help("use the origin of `https`"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn joined<'w>(field: &str, words: impl Iterator<Item = &'w str>) -> Result<HeaderValue, Invalid> {
    HeaderValue::from_str(&words.collect::<Vec<_>>().join(", "))
        .map_err(|_| Invalid::new(field, "expected words that fit in a header"))
}

struct Rules {
    origins: Vec<OriginPattern>,
    methods: Vec<Method>,
    headers: Vec<HeaderName>,
    credentials: bool,
    allow_methods: HeaderValue,
    allow_headers: HeaderValue,
    expose: HeaderValue,
    max_age: HeaderValue,
}

/// What a request's `Origin` says of its caller.
enum Caller {
    /// There is none: no page of another origin.
    None,
    /// A page of the origin that it calls.
    Own,
    /// A page that may call; this is what `Access-Control-Allow-Origin` says to it.
    Allowed(HeaderValue),
    /// A page that may not; why, for the log.
    Refused(String),
}

/// What the guard leaves for the response.
enum Settled {
    /// The caller may read the upstream's answer.
    Allowed(HeaderValue),
    /// The answer is the guard's own and says it all.
    Preflight,
}

impl Rules {
    fn caller(&self, head: &RequestHead) -> Caller {
        let value = match head.single(&ORIGIN) {
            Ok(None) => return Caller::None,
            Ok(Some(value)) => value,
            Err(_) => return Caller::Refused("Origin occurs more than once".to_owned()),
        };
        let Some(origin) = value.to_str().ok().and_then(Origin::parse) else {
            return Caller::Refused(shown(value.as_bytes()));
        };
        let pattern = self.origins.iter().find(|pattern| pattern.admits(&origin));
        match pattern {
            Some(OriginPattern::Any) => Caller::Allowed(HeaderValue::from_static("*")),
            Some(_) => Caller::Allowed(value.clone()),
            None if origin.is_own(head) => Caller::Own,
            None => Caller::Refused(shown(value.as_bytes())),
        }
    }

    /// Answers a preflight of an origin that may call (Fetch standard, section 4.8).
    fn preflight(&self, head: &RequestHead, method: &Method, origin: HeaderValue) -> Verdict {
        let single = head.single(&ACCESS_CONTROL_REQUEST_METHOD).is_ok();
        if !single || !self.methods.contains(method) {
            let public = "this method is not open to pages of other origins";
            return deny("cors.method", public, shown(method.as_str().as_bytes()));
        }
        if let Some(name) = self.first_unlisted(&head.headers) {
            let public = "this header is not open to pages of other origins";
            return deny("cors.header", public, shown(name));
        }
        let mut headers = vec![
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (ACCESS_CONTROL_ALLOW_METHODS, self.allow_methods.clone()),
            (ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
            (
                VARY,
                HeaderValue::from_static(
                    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
                ),
            ),
        ];
        if !self.headers.is_empty() {
            headers.push((ACCESS_CONTROL_ALLOW_HEADERS, self.allow_headers.clone()));
        }
        if self.credentials {
            headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true")));
        }
        let body = bytes::Bytes::new();
        Verdict::Answer(Box::new(Answer { status: StatusCode::NO_CONTENT, headers, body }))
    }

    /// The first of the headers asked for that is not listed.
    fn first_unlisted<'h>(&self, headers: &'h HeaderMap) -> Option<&'h [u8]> {
        headers
            .get_all(ACCESS_CONTROL_REQUEST_HEADERS)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|name| !name.is_empty())
            .find(|name| {
                !self.headers.iter().any(|h| name.eq_ignore_ascii_case(h.as_str().as_bytes()))
            })
    }
}

impl Guard for Rules {
    fn check(&self, request: &Request<'_>, slot: &mut Slot) -> Result<Verdict, Fault> {
        let head = request.head;
        let refused =
            |log| Ok(deny("cors.origin", "pages of this origin may not call this resource", log));
        let (origin, method) = match (self.caller(head), head.preflight()) {
            (Caller::None, _) | (Caller::Own, None) => return Ok(Verdict::Continue),
            (Caller::Own, Some(_)) => return refused("a preflight for its own origin".to_owned()),
            (Caller::Refused(log), _) => return refused(log),
            (Caller::Allowed(origin), method) => (origin, method),
        };
        slot.set(Settled::Allowed(origin.clone()));
        let Some(method) = method else { return Ok(Verdict::Continue) };
        let verdict = self.preflight(head, &method, origin);
        if matches!(verdict, Verdict::Answer(_)) {
            slot.set(Settled::Preflight);
        }
        Ok(verdict)
    }
}

impl ResponseRewriter for Rules {
    fn rewrite(&self, request: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot) {
        let origin = match slot.get::<Settled>() {
            Some(Settled::Preflight) => return,
            Some(Settled::Allowed(origin)) => Some(origin.clone()),
            // Refused before the guard ran: let a page that may call read why.
            None => match self.caller(request.head) {
                Caller::Allowed(origin) => Some(origin),
                _ => None,
            },
        };
        let headers = &mut response.headers;
        let said: Vec<HeaderName> = headers
            .keys()
            .filter(|name| name.as_str().starts_with("access-control-"))
            .cloned()
            .collect();
        for name in said {
            headers.remove(name);
        }
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if self.credentials {
                let yes = HeaderValue::from_static("true");
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
            }
            if !self.expose.is_empty() {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
            }
        }
        vary_by_origin(headers);
    }
}

/// Tells caches that the answer depends on the origin (RFC 9110 section 12.5.5).
fn vary_by_origin(headers: &mut HeaderMap) {
    let said = headers
        .get_all(VARY)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"));
    if !said {
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
}

fn deny(code: &'static str, public: &'static str, log: String) -> Verdict {
    Verdict::deny(Denial::new(StatusCode::FORBIDDEN, code, public).log(log))
}

/// What a client sent, for the log: printable and bounded.
fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().take(100).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use demilune_testkit::check;
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::{built, downstream, head, refused, route};

    const APP: &str = "policies: [{cors: {origins: [https://app.example.com], \
                       methods: [GET, PUT], headers: [x-api-key, content-type], expose: [etag]}}]";

    fn cors(settings: Value) -> Cors {
        from_value(settings).unwrap()
    }

    #[test]
    fn a_listed_origin_is_admitted_and_may_read_the_answer() {
        check(
            APP,
            "GET /\norigin: https://app.example.com",
            "200 | cors: continue\n\
             < access-control-allow-origin: https://app.example.com\n\
             < access-control-expose-headers: etag\n\
             < access-control-allow-credentials:\n\
             < vary: Origin",
        );
    }

    #[test]
    fn an_origin_that_is_not_listed_is_refused_and_learns_nothing() {
        for origin in [
            "https://evil.example",
            "null",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://app.example.com.evil.example",
            "https://evilapp.example.com",
            "https://app.example.com@evil.example",
            "https://app.example.com/",
            "https://app.example.com.",
            "https://app.example.com https://evil.example",
            "app.example.com",
            "*",
        ] {
            check(
                APP,
                &format!("GET /\norigin: {origin}"),
                &format!(
                    "403 | cors: deny 403 cors.origin ({origin})\n\
                     < access-control-allow-origin:\n< vary: Origin"
                ),
            );
        }
    }

    #[test]
    fn two_origins_are_refused_though_both_are_listed() {
        check(
            APP,
            "GET /\norigin: https://app.example.com\norigin: https://app.example.com",
            "403 | cors: deny 403 cors.origin (Origin occurs more than once)",
        );
    }

    #[test]
    fn without_an_origin_nothing_is_refused_but_caches_are_told() {
        let expected = "200 | cors: continue\n< access-control-allow-origin:\n< vary: Origin";
        check(APP, "GET /", expected);
    }

    #[test]
    fn a_page_of_the_gateways_own_origin_may_call() {
        let own = "POST https://api.example.com/\norigin: https://api.example.com:443";
        check(APP, own, "200 | cors: continue\n< access-control-allow-origin:");
        let plain = "POST http://api.example.com/\norigin: https://api.example.com";
        check(APP, plain, "403 | cors: deny 403 cors.origin (https://api.example.com)");
    }

    #[test]
    fn a_preflight_is_answered_before_authentication() {
        check(
            &format!("authenticate: keys\n{APP}"),
            "OPTIONS /\norigin: https://app.example.com\n\
             access-control-request-method: PUT\n\
             access-control-request-headers: Content-Type,, x-api-key",
            "204 | cors: answer 204\n\
             < access-control-allow-origin: https://app.example.com\n\
             < access-control-allow-methods: GET, PUT\n\
             < access-control-allow-headers: x-api-key, content-type\n\
             < access-control-max-age: 600\n\
             < vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        );
    }

    #[test]
    fn a_preflight_for_more_than_is_listed_is_refused() {
        let asks = |rest: &str| format!("OPTIONS /\norigin: https://app.example.com\n{rest}");
        for (rest, denied) in [
            ("access-control-request-method: DELETE", "cors.method (DELETE)"),
            ("access-control-request-method: put", "cors.method (put)"),
            (
                "access-control-request-method: PUT\naccess-control-request-method: GET",
                "cors.method (PUT)",
            ),
            (
                "access-control-request-method: GET\n\
                 access-control-request-headers: x-api-key\n\
                 access-control-request-headers: x-other",
                "cors.header (x-other)",
            ),
            (
                "access-control-request-method: GET\naccess-control-request-headers: *",
                "cors.header (*)",
            ),
        ] {
            check(APP, &asks(rest), &format!("403 | cors: deny 403 {denied}"));
        }
    }

    #[test]
    fn no_preflight_passes_the_guard_whoever_sends_it() {
        check(
            APP,
            "OPTIONS https://api.example.com/\norigin: https://api.example.com\n\
             access-control-request-method: GET",
            "403 | cors: deny 403 cors.origin (a preflight for its own origin)",
        );
        check(
            APP,
            "OPTIONS /\norigin: https://evil.example\naccess-control-request-method: GET",
            "403 | cors: deny 403 cors.origin (https://evil.example)\n\
             < access-control-allow-methods:",
        );
    }

    #[test]
    fn a_refusal_after_the_guard_can_be_read_by_a_listed_page() {
        check(
            &format!("authenticate: keys\n{APP}"),
            "GET /\norigin: https://app.example.com",
            "401 | cors: continue; …\n< access-control-allow-origin: https://app.example.com",
        );
    }

    #[test]
    fn names_below_a_wildcard_are_admitted_and_the_name_itself_is_not() {
        let policies = "policies: [{cors: {origins: ['https://*.example.com']}}]";
        for origin in ["https://a.example.com", "https://b.a.example.com", "HTTPS://A.Example.COM"]
        {
            let expected = format!("200 | …\n< access-control-allow-origin: {origin}");
            check(policies, &format!("GET /\norigin: {origin}"), &expected);
        }
        for origin in ["https://example.com", "https://aexample.com", "https://.example.com"] {
            let expected = format!("403 | cors: deny 403 cors.origin ({origin})");
            check(policies, &format!("GET /\norigin: {origin}"), &expected);
        }
    }

    #[test]
    fn every_origin_but_null_may_call_where_the_star_stands() {
        let policies = "policies: [{cors: {origins: ['*']}}]";
        let expected = "200 | …\n< access-control-allow-origin: *";
        check(policies, "GET /\norigin: https://any.example", expected);
        check(policies, "GET /\norigin: null", "403 | cors: deny 403 cors.origin (null)");
    }

    /// The headers of an upstream's answer after the response hook.
    fn rewritten(origin: Option<&str>, guarded: bool, upstream: &[(&str, &str)]) -> HeaderMap {
        let settings = json!({ "origins": ["https://app.example.com"], "credentials": true });
        let hooks = built(&cors(settings));
        let (mut head, downstream, route) = (head(), downstream("192.0.2.7"), route("/**"));
        if let Some(origin) = origin {
            head.headers.insert(ORIGIN, origin.parse().unwrap());
        }
        let (id, now) = (demilune_core::RequestId(1), demilune_core::Moment::default());
        let request = Request {
            id,
            now,
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let mut response = ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() };
        for (name, value) in upstream {
            let name: HeaderName = name.parse().unwrap();
            response.headers.append(name, value.parse().unwrap());
        }
        let mut slot = Slot::default();
        for (_, hook) in hooks.list() {
            match hook {
                demilune_core::Hook::Guard(guard) if guarded => {
                    guard.check(&request, &mut slot).map(drop).unwrap();
                }
                demilune_core::Hook::ResponseRewriter(rewriter) => {
                    rewriter.rewrite(&request, &mut response, &mut slot);
                }
                _ => {}
            }
        }
        response.headers
    }

    #[test]
    fn what_the_upstream_says_about_cors_is_replaced() {
        let lax = [
            ("access-control-allow-origin", "*"),
            ("access-control-allow-origin", "https://evil.example"),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-private-network", "true"),
        ];
        for origin in [None, Some("https://evil.example"), Some("null")] {
            let headers = rewritten(origin, true, &lax);
            assert_eq!(headers.keys().collect::<Vec<_>>(), ["vary"], "{origin:?}");
        }
        for guarded in [true, false] {
            let headers = rewritten(Some("https://app.example.com"), guarded, &lax);
            let all = headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(all.iter().collect::<Vec<_>>(), ["https://app.example.com"]);
            assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            assert!(!headers.contains_key("access-control-allow-private-network"));
        }
    }

    #[test]
    fn vary_names_the_origin_once() {
        for (upstream, expected) in [
            (&[][..], &["Origin"][..]),
            (&["Accept"], &["Accept", "Origin"]),
            (&["Accept, ORIGIN"], &["Accept, ORIGIN"]),
            (&["Accept", "origin"], &["Accept", "origin"]),
            (&["*"], &["*"]),
            (&["Origin-Like"], &["Origin-Like", "Origin"]),
        ] {
            let said: Vec<(&str, &str)> = upstream.iter().map(|value| ("vary", *value)).collect();
            let headers = rewritten(None, true, &said);
            assert_eq!(headers.get_all(VARY).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn combinations_that_give_users_away_are_refused() {
        for (settings, field) in [
            (json!({ "origins": [] }), "origins"),
            (json!({ "origins": ["*"], "credentials": true }), "origins[0]"),
            (json!({ "origins": ["https://a.example", "*"] }), "origins[1]"),
            (json!({ "origins": ["http://a.example"], "credentials": true }), "origins[0]"),
            (json!({ "origins": ["https://a.example"], "max_age": "25h" }), "max_age"),
        ] {
            assert_eq!(refused(&cors(settings)).field, field);
        }
        built(&cors(json!({ "origins": ["http://localhost:3000"], "credentials": true })));
        for settings in [
            json!({ "origins": ["*"], "headers": ["*"] }),
            json!({ "origins": ["*"], "methods": ["*"] }),
            json!({ "origins": ["*"], "methods": ["patch"] }),
            json!({ "origins": ["*"], "methods": ["TRACE"] }),
            json!({}),
        ] {
            assert!(from_value::<Cors>(settings.clone()).is_err(), "{settings}");
        }
    }

    #[test]
    fn more_origins_rights_or_words_are_weaker() {
        let wider = json!({ "origins": ["https://*.example.com", "https://b.example"] });
        let weakens = |settings| cors(settings).weakens(&cors(wider.clone()));
        for settings in [
            wider.clone(),
            json!({ "origins": ["https://a.example.com"] }),
            json!({ "origins": ["https://*.a.example.com", "https://b.example:443"] }),
        ] {
            assert_eq!(weakens(settings), None);
        }
        for settings in [
            json!({ "origins": ["https://example.com"] }),
            json!({ "origins": ["http://a.example.com"] }),
            json!({ "origins": ["https://*.b.example"] }),
            json!({ "origins": ["*"] }),
            json!({ "origins": ["https://b.example"], "credentials": true }),
            json!({ "origins": ["https://b.example"], "methods": ["GET", "DELETE"] }),
            json!({ "origins": ["https://b.example"], "headers": ["x-a"] }),
            json!({ "origins": ["https://b.example"], "expose": ["x-a"] }),
        ] {
            assert!(weakens(settings.clone()).is_some(), "{settings}");
        }
    }
}
