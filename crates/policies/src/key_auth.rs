//! `key_auth`: callers prove themselves by an API key.
//!
//! The document holds digests under a pepper, never keys; a key is looked up by its digest, which
//! takes the same time whoever's it is. Where a key could be meant in two ways the request is
//! refused, and the client reads one text whatever was wrong: only the log tells what.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use demilune_core::pipeline::is_reserved_header;
use demilune_core::policy::{Code, REASON_HELP, check_reason};
use demilune_core::route::form_decoded;
use demilune_core::{
    Authentication, Authenticator, Carrier, Consumer, Denial, Env, Fault, Identity, Invalid, Meta,
    Outcome, Proof, Request, RequestHead,
};
use demilune_identity::{ApiKey, DigestFormat, KeyDigest, Pepper};
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::concealed;
use crate::header::FieldName;

/// The only version of the pepper that there is so far.
const PEPPER_VERSION: u32 = 1;
const PARAMETER_LONGEST: usize = 64;

/// Proves consumers by their API keys.
///
/// Keys travel in one header, whole. In `authorization` they follow the scheme `ApiKey`:
/// `Authorization: ApiKey dml_live_…`; other schemes are left to other authenticators.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAuth {
    /// The header that carries the key. Default: `x-api-key`.
    #[serde(default = "header")]
    pub header: FieldName,
    /// Accept the key in a parameter of the query too, where it will stand in logs and browsers'
    /// histories on its way. Default: it is not accepted there.
    #[serde(default)]
    pub in_query: Option<InQuery>,
    /// The name of the secret under which keys are digested: 32 random bytes or more.
    pub pepper: String,
}

/// A key in the query.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InQuery {
    /// The parameter that carries the key: 1 to 64 letters, digits, `_`, `-`, `.`.
    pub parameter: String,
    /// Why keys must be accepted where they leak.
    pub reason: String,
}

fn header() -> FieldName {
    FieldName::from_static("x-api-key")
}

/// An API key of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyCredential {
    /// The key's digest under the pepper: `hmac-sha256:1:` and 64 hexadecimal digits.
    pub hash: StoredDigest,
}

impl ApiKeyCredential {
    /// What no two consumers may share.
    #[must_use]
    pub fn unique(&self) -> String {
        self.hash.0.to_string()
    }
}

/// A digest of an API key, as `hmac-sha256:1:` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^hmac-sha256:1:[0-9a-f]{64}$"))]
pub struct StoredDigest(KeyDigest);

/// Why a text cannot be a [`StoredDigest`]; repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DigestInvalid {
    /// It is no digest.
    Format(DigestFormat),
    /// It was made under a pepper that there is not.
    Version,
}

impl fmt::Display for DigestInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format(format) => format.fmt(f),
            Self::Version => write!(f, "expected a digest under version {PEPPER_VERSION}"),
        }
    }
}

impl FromStr for StoredDigest {
    type Err = DigestInvalid;

    fn from_str(text: &str) -> Result<Self, DigestInvalid> {
        let digest: KeyDigest = text.parse().map_err(DigestInvalid::Format)?;
        if digest.version() != PEPPER_VERSION {
            return Err(DigestInvalid::Version);
        }
        Ok(Self(digest))
    }
}

impl<'de> Deserialize<'de> for StoredDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        concealed::deserialize(deserializer)
    }
}

impl Serialize for StoredDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl fmt::Debug for StoredDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoredDigest(concealed)")
    }
}

impl Authentication for KeyAuth {
    const META: Meta = Meta {
        name: "key_auth",
        since: "0.1",
        codes: &[
            Code {
                code: "key_auth.ambiguous",
                status: 401,
                meaning: "The header or the parameter occurs more than once, or the key in both.",
            },
            Code {
                code: "key_auth.malformed",
                status: 401,
                meaning: "What is given is no API key: another system's, mistyped or made up.",
            },
            Code {
                code: "key_auth.unknown",
                status: 401,
                meaning: "The key is well formed and belongs to no consumer.",
            },
        ],
    };

    fn build(&self, env: &Env<'_>) -> Result<Arc<dyn Authenticator>, Invalid> {
        let header = self.header.name();
        if is_reserved_header(header.as_str()) || [COOKIE, HOST].contains(header) {
            let reason = format!("`{header}` has another meaning and cannot carry keys");
            return Err(Invalid::new("header", reason));
        }
        if let Some(InQuery { parameter, reason }) = &self.in_query {
            let word = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
            let fits = (1..=PARAMETER_LONGEST).contains(&parameter.len());
            if !fits || !parameter.bytes().all(word) {
                let expected = "expected 1 to 64 letters, digits, `_`, `-` or `.`";
                return Err(Invalid::new("in_query.parameter", expected));
            }
            check_reason(reason)
                .map_err(|found| Invalid::new("in_query.reason", found).help(REASON_HELP))?;
        }
        let at_pepper = |invalid| Invalid { field: "pepper".to_owned(), ..invalid };
        let secret = env.secret(&self.pepper).map_err(at_pepper)?;
        let pepper = Pepper::new(PEPPER_VERSION, secret.reveal())
            .map_err(|why| Invalid::new("pepper", why.to_string()).conceal())?;
        let mut consumers = HashMap::new();
        for (consumer, credential) in env.directory.credentials::<ApiKeyCredential>() {
            if consumers.insert(credential.hash.0, Arc::clone(consumer)).is_some() {
                let reason =
                    format!("a key of `{}` belongs to another consumer too", consumer.name);
                return Err(Invalid::new("", reason));
            }
        }
        Ok(Arc::new(Keys {
            header: header.clone(),
            parameter: self.in_query.as_ref().map(|query| query.parameter.clone()),
            pepper,
            consumers,
        }))
    }
}

struct Keys {
    header: HeaderName,
    parameter: Option<String>,
    pepper: Pepper,
    consumers: HashMap<KeyDigest, Arc<Consumer>>,
}

impl Authenticator for Keys {
    fn authenticate<'a>(&'a self, request: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
        Outcome::Now(Ok(match self.shown(request.head) {
            Ok(None) => Proof::Absent,
            Ok(Some(key)) => self.prove(&key),
            Err(denial) => Proof::Refused(denial),
        }))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("ApiKey realm=\"demilune\"")
    }

    fn carriers(&self) -> Vec<Carrier> {
        let parameter = self.parameter.iter().cloned().map(Carrier::Query);
        std::iter::once(Carrier::Header(self.header.clone())).chain(parameter).collect()
    }
}

impl Keys {
    /// The key that the request shows, wherever it may; at most one.
    fn shown(&self, head: &RequestHead) -> Result<Option<Zeroizing<Vec<u8>>>, Denial> {
        let in_header = match head.single(&self.header) {
            Ok(value) => value.and_then(|value| self.in_header(value.as_bytes())),
            Err(_) => return Err(ambiguous("the header occurs more than once")),
        };
        match (in_header, self.in_query(head.target.query())?) {
            (Some(_), Some(_)) => Err(ambiguous("a key in the header and one in the query")),
            (in_header, in_query) => Ok(in_header.or(in_query)),
        }
    }

    /// The key in the header's value; `None` where the value is another scheme's.
    fn in_header(&self, value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        if self.header != AUTHORIZATION {
            return Some(Zeroizing::new(value.to_vec()));
        }
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, key) = value.split_at_checked(end)?;
        scheme
            .eq_ignore_ascii_case(b"apikey")
            .then(|| Zeroizing::new(key.trim_ascii_start().to_vec()))
    }

    fn in_query(&self, query: Option<&str>) -> Result<Option<Zeroizing<Vec<u8>>>, Denial> {
        let (Some(parameter), Some(query)) = (&self.parameter, query) else { return Ok(None) };
        let mut found = None;
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if form_decoded(name).as_deref() != Some(parameter.as_bytes()) {
                continue;
            }
            // Broken encoding decodes to nothing, which is no key.
            let value = Zeroizing::new(form_decoded(value).unwrap_or_default());
            if found.replace(value).is_some() {
                return Err(ambiguous("the parameter occurs more than once"));
            }
        }
        Ok(found)
    }

    fn prove(&self, key: &[u8]) -> Proof {
        let key = match ApiKey::parse(key) {
            Ok(key) => key,
            Err(format) => return Proof::Refused(denial("key_auth.malformed", format.to_string())),
        };
        match self.consumers.get(&key.digest(&self.pepper)) {
            Some(consumer) => Proof::Proved(Identity::of(Arc::clone(consumer))),
            None => Proof::Refused(denial("key_auth.unknown", "no consumer has this key")),
        }
    }
}

fn ambiguous(log: &'static str) -> Denial {
    denial("key_auth.ambiguous", log)
}

fn denial(code: &'static str, log: impl Into<std::borrow::Cow<'static, str>>) -> Denial {
    Denial::new(StatusCode::UNAUTHORIZED, code, "the API key is not valid").log(log)
}

#[cfg(test)]
mod tests {
    use demilune_core::{Directory, Target};
    use demilune_testkit::{ALICE_KEY, BOB_KEY, check};
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::{head, with_env};

    const KEY: &str = "dml_live_0123456789ABCDEFGHIJabcdefghij_0N9gBf";
    const OTHER: &str = "dml_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz_492xs3";

    /// The authenticator, where `alice` has [`KEY`].
    fn keys(settings: Value) -> Result<Arc<dyn Authenticator>, Invalid> {
        let config: KeyAuth = from_value(settings).unwrap();
        with_env(|env| {
            let mut directory = Directory::default();
            let pepper = Pepper::new(1, env.secret("pepper")?.reveal()).unwrap();
            let hash = ApiKey::parse(KEY).unwrap().digest(&pepper).to_string();
            let credential: ApiKeyCredential = from_value(json!({ "hash": hash })).unwrap();
            let (name, groups, attributes) = ("alice".into(), Vec::new(), Default::default());
            let alice = Arc::new(Consumer { name, groups, attributes });
            directory.insert(alice, Arc::new(credential));
            config.build(&Env { directory: &directory, ..*env })
        })
    }

    /// What a request with these headers and this target proves.
    fn proof(settings: &Value, headers: &[(&'static str, &str)], target: &str) -> String {
        let keys = keys(settings.clone()).unwrap();
        let mut head = head();
        head.target = Target::parse(target).unwrap();
        for (name, value) in headers {
            head.headers.append(*name, value.parse().unwrap());
        }
        let (downstream, route) =
            (crate::fixture::downstream("192.0.2.7"), crate::fixture::route("/**"));
        let request = Request {
            id: demilune_core::RequestId(1),
            now: demilune_core::Moment::default(),
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let Outcome::Now(Ok(proof)) = keys.authenticate(request) else { panic!("at once") };
        match proof {
            Proof::Absent => "absent".to_owned(),
            Proof::Proved(identity) => format!("proved {}", identity.subject),
            Proof::Refused(denial) => {
                let text = format!("{} {} {}", denial.code, denial.public, denial.log);
                assert!(!text.contains("0123456789") && !text.contains("zzzz"), "{text}");
                assert_eq!(denial.public, "the API key is not valid");
                format!("{} {}", denial.status.as_u16(), denial.code)
            }
        }
    }

    #[test]
    fn a_consumer_is_admitted_by_its_key_and_the_upstream_does_not_see_it() {
        check(
            "authenticate: keys",
            &format!("GET /\nx-api-key: {ALICE_KEY}"),
            "200 | keys: proved alice\n> x-api-key:\n> x-consumer-name: alice",
        );
        let bob = format!("GET /\nX-Api-Key: {BOB_KEY}");
        check("authenticate: keys", &bob, "200 | keys: proved bob\n> x-consumer-name: bob");
    }

    #[test]
    fn a_request_without_a_key_is_refused_with_a_challenge() {
        check(
            "authenticate: keys",
            "GET /",
            "401 | keys: absent; authenticate: deny 401 authentication.required\n\
             < www-authenticate: ApiKey realm=\"demilune\"",
        );
    }

    #[test]
    fn an_unknown_key_is_refused() {
        check(
            "authenticate: keys",
            &format!("GET /\nx-api-key: {OTHER}"),
            "401 | keys: deny 401 key_auth.unknown (no consumer has this key)",
        );
    }

    #[test]
    fn a_key_shown_twice_is_refused_though_it_is_valid() {
        check(
            "authenticate: keys",
            &format!("GET /\nx-api-key: {ALICE_KEY}\nx-api-key: {ALICE_KEY}"),
            "401 | keys: deny 401 key_auth.ambiguous (the header occurs more than once)",
        );
    }

    #[test]
    fn only_a_whole_and_known_key_proves() {
        let settings = json!({ "pepper": "pepper" });
        let shows = |key: &str| proof(&settings, &[("x-api-key", key)], "/");
        assert_eq!(shows(KEY), "proved alice");
        assert_eq!(shows(OTHER), "401 key_auth.unknown");
        let (short, long) = (KEY.trim_end_matches('f'), format!("{KEY}0"));
        for key in ["", "x", KEY.trim_start_matches('d'), short, &long, &KEY.to_uppercase()] {
            assert_eq!(shows(key), "401 key_auth.malformed", "{key}");
        }
        for key in [format!("{KEY},{KEY}"), format!("{KEY} {OTHER}"), format!("Bearer {KEY}")] {
            assert_eq!(shows(&key), "401 key_auth.malformed", "{key}");
        }
        assert_eq!(shows(&"d".repeat(60_000)), "401 key_auth.malformed");
        assert_eq!(proof(&settings, &[("authorization", KEY)], "/"), "absent");
        assert_eq!(proof(&settings, &[], &format!("/?x-api-key={KEY}")), "absent");
    }

    #[test]
    fn in_authorization_the_key_follows_its_scheme() {
        let settings = json!({ "pepper": "pepper", "header": "Authorization" });
        let shows = |value: &str| proof(&settings, &[("authorization", value)], "/");
        assert_eq!(shows(&format!("ApiKey {KEY}")), "proved alice");
        assert_eq!(shows(&format!("apikey   {KEY}")), "proved alice");
        for value in [format!("Bearer {KEY}"), format!("Basic {KEY}"), format!("ApiKey{KEY}")] {
            assert_eq!(shows(&value), "absent", "{value}");
        }
        for value in ["ApiKey", "ApiKey ", &format!("ApiKey {KEY} x"), "ApiKey a=b"] {
            assert_eq!(shows(value), "401 key_auth.malformed", "{value}");
        }
        let both = [("authorization", "Basic YTpi"), ("authorization", "ApiKey x")];
        assert_eq!(proof(&settings, &both, "/"), "401 key_auth.ambiguous");
        assert_eq!(proof(&settings, &[("x-api-key", KEY)], "/"), "absent");
    }

    #[test]
    fn a_key_in_the_query_needs_to_be_allowed_and_stands_alone() {
        let settings = json!({
            "pepper": "pepper",
            "in_query": { "parameter": "api_key", "reason": "old clients" },
        });
        let shows = |target: &str| proof(&settings, &[], target);
        assert_eq!(shows(&format!("/?a=b&api_key={KEY}")), "proved alice");
        assert_eq!(shows(&format!("/?api%5Fkey={}", KEY.replace('_', "%5f"))), "proved alice");
        assert_eq!(shows("/?API_KEY=x&api_key_=x&=x&a=%zz"), "absent");
        for target in ["/?api_key", "/?api_key=", "/?api_key=%", "/?api_key=x+y"] {
            assert_eq!(shows(target), "401 key_auth.malformed", "{target}");
        }
        assert_eq!(shows(&format!("/?api_key={KEY}&api_key={KEY}")), "401 key_auth.ambiguous");
        assert_eq!(shows(&format!("/?api_key={KEY}&api%5fkey=")), "401 key_auth.ambiguous");
        let both = format!("/?api_key={KEY}");
        assert_eq!(proof(&settings, &[("x-api-key", KEY)], &both), "401 key_auth.ambiguous");
    }

    #[test]
    fn what_carries_keys_is_named_for_removal() {
        let settings = json!({
            "pepper": "pepper",
            "header": "X-Key",
            "in_query": { "parameter": "key", "reason": "old clients" },
        });
        let header = Carrier::Header(HeaderName::from_static("x-key"));
        let carriers = keys(settings).unwrap().carriers();
        assert_eq!(carriers, [header, Carrier::Query("key".to_owned())]);
    }

    #[test]
    fn settings_that_would_leak_or_mislead_are_refused() {
        let query = |parameter: &str, reason: &str| {
            json!({
                "pepper": "pepper",
                "in_query": { "parameter": parameter, "reason": reason },
            })
        };
        for (settings, field) in [
            (json!({ "pepper": "pepper", "header": "cookie" }), "header"),
            (json!({ "pepper": "pepper", "header": "x-consumer-name" }), "header"),
            (query("", "old clients"), "in_query.parameter"),
            (query("a&b", "old clients"), "in_query.parameter"),
            (query("key", " "), "in_query.reason"),
            (query("key", "no"), "in_query.reason"),
        ] {
            assert_eq!(keys(settings).err().unwrap().field, field);
        }
        for pepper in ["short", "hunter2"] {
            let invalid = keys(json!({ "pepper": pepper })).err().unwrap();
            assert_eq!((&*invalid.field, invalid.conceal), ("pepper", true));
            assert!(!invalid.reason.contains("hunter2"), "{invalid:?}");
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_and_not_repeated() {
        let zeros = "0".repeat(64);
        let read = |hash: Value| from_value::<ApiKeyCredential>(json!({ "hash": hash }));
        let stored = read(json!(format!("hmac-sha256:1:{zeros}"))).unwrap();
        assert_eq!(stored.unique(), format!("hmac-sha256:1:{zeros}"));
        assert_eq!(serde_json::to_value(&stored).unwrap()["hash"], stored.unique());
        assert!(!format!("{stored:?}").contains('0'));
        for hash in [
            json!(KEY),
            json!(format!("hmac-sha256:2:{zeros}")),
            json!("hmac-sha256:1:0123456789"),
            json!(null),
        ] {
            let why = read(hash).unwrap_err().to_string();
            assert!(!why.contains("123456789"), "{why}");
        }
    }
}
