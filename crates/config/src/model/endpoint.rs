//! The endpoints of an upstream, and how one is chosen.

use std::fmt;
use std::str::FromStr;

use demilune_core::Percent;
use demilune_core::head::{Host, Scheme};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An endpoint: its URL, or `{ url, weight }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointConfig {
    /// Where it is.
    pub url: EndpointUrl,
    /// How much of the requests it gets against the others, 1 to 100. Default 1.
    pub weight: u16,
}

const FIELDS: &[&str] = &["url", "weight"];

impl<'de> Deserialize<'de> for EndpointConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EndpointVisitor)
    }
}

struct EndpointVisitor;

impl<'de> Visitor<'de> for EndpointVisitor {
    type Value = EndpointConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an endpoint such as `http://10.0.0.11:8080`, or `{ url: …, weight: 3 }`")
    }

    fn visit_str<E: de::Error>(self, url: &str) -> Result<EndpointConfig, E> {
        Ok(EndpointConfig { url: url.parse().map_err(E::custom)?, weight: 1 })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<EndpointConfig, A::Error> {
        let (mut url, mut weight) = (None, 1);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "url" => url = Some(map.next_value::<EndpointUrl>()?),
                "weight" => weight = map.next_value()?,
                other => return Err(de::Error::unknown_field(other, FIELDS)),
            }
        }
        let url = url.ok_or_else(|| de::Error::missing_field("url"))?;
        Ok(EndpointConfig { url, weight })
    }
}

impl Serialize for EndpointConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.weight == 1 {
            return self.url.serialize(serializer);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("url", &self.url)?;
        map.serialize_entry("weight", &self.weight)?;
        map.end()
    }
}

impl JsonSchema for EndpointConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Endpoint".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let url = generator.subschema_for::<EndpointUrl>();
        json_schema!({
            "description": "An endpoint: its URL, or that with a weight.",
            "oneOf": [
                url,
                {
                    "type": "object",
                    "properties": {
                        "url": url,
                        "weight": {
                            "description": "How much of the requests it gets against the others. \
                                            Default 1.",
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 100
                        }
                    },
                    "required": ["url"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

/// How an endpoint is chosen among those that may get requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceConfig {
    /// The one with the fewest requests under way for its weight.
    #[default]
    LeastRequest,
    /// Each in turn, as often as its weight says.
    RoundRobin,
    /// Of two, the one that is likely to answer sooner: by its latency, of which peaks count at
    /// once and fade, and by the requests under way.
    PeakEwma,
    /// Requests of one key go to one endpoint, while it may get requests.
    ConsistentHash(ConsistentHashConfig),
}

/// Requests of one key go to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsistentHashConfig {
    /// What the key is: `consumer`, `address`, `{ header: x-tenant }` or `{ cookie: session }`. A
    /// request without it goes where the fewest requests are under way.
    pub on: HashOnConfig,
    /// By how much an endpoint may have more requests under way than its share, before requests of
    /// its keys go to another. Default `25%`.
    #[serde(default = "overload")]
    pub overload: Percent,
}

fn overload() -> Percent {
    Percent(25)
}

/// What the key of a request is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashOnConfig {
    /// The caller that was proved.
    Consumer,
    /// The client's address.
    Address,
    /// The value of this header, where it stands once.
    Header(String),
    /// The value of this cookie.
    Cookie(String),
}

/// `http://host[:port]` or `https://host[:port]`, nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Host and port.
    pub host: Host,
}

impl EndpointUrl {
    /// The port: as written, or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.host.port().unwrap_or(self.scheme.default_port())
    }
}

const EXPECTED: &str = "expected an endpoint such as `http://10.0.0.11:8080` or \
                        `https://shop.internal:8443`, without a path";

impl FromStr for EndpointUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(EXPECTED),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let host = Host::parse(rest).map_err(|_| EXPECTED)?;
        Ok(Self { scheme, host })
    }
}

impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host.name(), self.port())
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for EndpointUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https?://[^/?#@\\s]+/?$" })
    }
}
