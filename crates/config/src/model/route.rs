//! What is served, to whom, under which policies.

use std::collections::BTreeMap;
use std::fmt;

use demilune_core::PathExceptions;
use demilune_policies::PolicyConfig;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::FaultMode;

/// A route. It states `authenticate` or `public`: with neither or both, nothing loads.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: MatchConfig,
    /// The only listener that serves it; all of them where this is left out.
    #[serde(default)]
    pub listener: Option<String>,
    /// Where its requests go.
    pub upstream: String,
    /// Who may call: the name of an authenticator, or `any_of` or `all_of` several.
    #[serde(default)]
    pub authenticate: Option<Authenticate>,
    /// Why anybody may call.
    #[serde(default)]
    pub public: Option<String>,
    /// Why the upstream gets to see the callers' credentials. Without it they are removed.
    #[serde(default)]
    pub keep_credential: Option<String>,
    /// Why WebSockets may be opened: what goes through them is not looked at. Without it they are
    /// refused.
    #[serde(default)]
    pub websocket: Option<String>,
    /// What its paths may hold that is refused otherwise, each with the reason why.
    #[serde(default)]
    pub path_exceptions: PathExceptionsConfig,
    /// Its policies, besides the defaults.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Why, by policy: needed where one here is weaker than the default it replaces, and for
    /// `on_fault: open`.
    #[serde(default)]
    pub reasons: BTreeMap<String, String>,
    /// What happens when a policy cannot decide, by policy: `closed` (503) or `open`.
    #[serde(default)]
    pub on_fault: BTreeMap<String, FaultMode>,
}

/// What two servers may understand differently in a path, and is refused for that. Where a route
/// needs it all the same, it says why. A dot segment gets through by none of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathExceptionsConfig {
    /// Why `%2F` and `%5C` may stand in its paths, as names of projects and packages have them.
    /// They stay encoded: they match within one segment, and are forwarded as they are.
    #[serde(default)]
    pub encoded_slash: Option<String>,
    /// Why its paths may be encoded twice (`%252e`). They are forwarded as they are.
    #[serde(default)]
    pub double_encoding: Option<String>,
    /// Why `;` may stand in its paths. Segments are matched with what follows it.
    #[serde(default)]
    pub semicolon: Option<String>,
    /// Why its paths may hold encoded bytes that are not UTF-8, as old clients send them.
    #[serde(default)]
    pub not_utf8: Option<String>,
}

impl PathExceptionsConfig {
    /// Each with its key.
    #[must_use]
    pub fn reasons(&self) -> [(&'static str, &Option<String>); 4] {
        [
            ("encoded_slash", &self.encoded_slash),
            ("double_encoding", &self.double_encoding),
            ("semicolon", &self.semicolon),
            ("not_utf8", &self.not_utf8),
        ]
    }

    /// What is admitted.
    #[must_use]
    pub fn granted(&self) -> PathExceptions {
        PathExceptions {
            encoded_slash: self.encoded_slash.is_some(),
            double_encoding: self.double_encoding.is_some(),
            semicolon: self.semicolon.is_some(),
            not_utf8: self.not_utf8.is_some(),
        }
    }
}

/// Conditions of a route; all must hold.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchConfig {
    /// One of these hosts: `api.example.com`, or `*.example.com` for every name below. Any host
    /// where left out.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// The path: `/v1/items/{id}` (one segment) or `/v1/items/**` (any number of segments, none
    /// included).
    pub path: String,
    /// One of these methods; `GET` admits `HEAD` too. Any method where left out.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Each of these headers, once, with this value; `"*"` for any value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Each of these query parameters, once, with this value; `"*"` for any value.
    #[serde(default)]
    pub query: BTreeMap<String, String>,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authenticate {
    /// Whoever one of these proves.
    AnyOf {
        /// Names of authenticators, asked in this order.
        names: Vec<String>,
        /// Why requests without any credential pass as nobody.
        anonymous: Option<String>,
    },
    /// Whoever all of these prove to be the same caller.
    AllOf(Vec<String>),
}

impl Authenticate {
    /// The authenticators named.
    #[must_use]
    pub fn names(&self) -> &[String] {
        match self {
            Self::AnyOf { names, .. } | Self::AllOf(names) => names,
        }
    }
}

const FIELDS: &[&str] = &["any_of", "all_of", "anonymous"];

impl<'de> Deserialize<'de> for Authenticate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AuthenticateVisitor)
    }
}

struct AuthenticateVisitor;

impl<'de> Visitor<'de> for AuthenticateVisitor {
    type Value = Authenticate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an authenticator, `{ any_of: [names] }` or `{ all_of: [names] }`")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Authenticate, E> {
        Ok(Authenticate::AnyOf { names: vec![name.to_owned()], anonymous: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Authenticate, A::Error> {
        let (mut any_of, mut all_of, mut anonymous) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "any_of" => any_of = Some(map.next_value::<Vec<String>>()?),
                "all_of" => all_of = Some(map.next_value::<Vec<String>>()?),
                "anonymous" => anonymous = Some(map.next_value::<String>()?),
                other => return Err(de::Error::unknown_field(other, FIELDS)),
            }
        }
        let message = match (any_of, all_of, anonymous) {
            (Some(names), None, anonymous) if !names.is_empty() => {
                return Ok(Authenticate::AnyOf { names, anonymous });
            }
            (None, Some(names), None) if !names.is_empty() => {
                return Ok(Authenticate::AllOf(names));
            }
            (Some(_), Some(_), _) => "write either `any_of` or `all_of`",
            (None, Some(_), Some(_)) => "`anonymous` goes with `any_of` only",
            (None, None, _) => "write `any_of` or `all_of`",
            _ => "the list of authenticators is empty",
        };
        Err(de::Error::custom(message))
    }
}

impl Serialize for Authenticate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Self::AnyOf { names, anonymous } => {
                map.serialize_entry("any_of", names)?;
                if let Some(reason) = anonymous {
                    map.serialize_entry("anonymous", reason)?;
                }
            }
            Self::AllOf(names) => map.serialize_entry("all_of", names)?,
        }
        map.end()
    }
}

impl JsonSchema for Authenticate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Authenticate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names =
            serde_json::json!({ "type": "array", "items": { "type": "string" }, "minItems": 1 });
        json_schema!({
            "description": "Who may call.",
            "oneOf": [
                { "type": "string", "description": "The name of an authenticator." },
                {
                    "type": "object",
                    "properties": {
                        "any_of": names,
                        "anonymous": {
                            "type": "string",
                            "description": "Why requests without any credential pass as nobody."
                        }
                    },
                    "required": ["any_of"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": { "all_of": names },
                    "required": ["all_of"],
                    "additionalProperties": false
                }
            ]
        })
    }
}
