use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::diagnostic::{Diagnostics, FileId, Sources};
use crate::tree::{from_entry, from_node, parse};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Route {
    upstream: String,
    #[serde(default)]
    public: Option<String>,
    #[serde(default)]
    policies: Vec<Policy>,
    #[serde(default)]
    ports: Vec<u16>,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    limits: Limits,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Limits {
    retries: u8,
    ratio: f64,
    body: Option<Size>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Policy {
    Off,
    RateLimit(RateLimit),
    Cache { ttl: String },
    Range(u8, u8),
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateLimit {
    per: Per,
    limit: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Per {
    Address,
    Consumer,
}

#[derive(Debug, PartialEq)]
struct Size(u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits = text.strip_suffix("KiB").and_then(|digits| digits.parse().ok());
        digits.map(Self).ok_or_else(|| D::Error::custom("expected a size such as `64KiB`"))
    }
}

/// `code line:column path: reason` of each diagnostic, or what was read.
fn read<T>(text: &str) -> Result<T, Vec<String>>
where
    T: serde::de::DeserializeOwned,
{
    let node = parse(FileId(0), text.as_bytes()).unwrap();
    let mut found = Diagnostics::new();
    let value = from_node(&node, "at", &mut found);
    assert_eq!(value.is_some(), found.is_empty(), "{found:?}");
    value.ok_or_else(|| {
        let line = |d: &&crate::diagnostic::Diagnostic| {
            let at = d.at.unwrap();
            let help = d.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
            let code = d.code.strip_prefix("config.").unwrap();
            format!("{code} {}:{} {}: {}{help}", at.line, at.column, d.path, d.reason)
        };
        found.sorted().iter().map(line).collect()
    })
}

fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> Vec<String> {
    read::<T>(text).unwrap_err()
}

/// What a type says about one value.
fn value<T: serde::de::DeserializeOwned + std::fmt::Debug>(text: &str) -> Result<T, String> {
    let read = read::<BTreeMap<String, T>>(&format!("v: {text}\n"));
    read.map(|mut map| map.remove("v").unwrap()).map_err(|found| {
        assert_eq!(found.len(), 1, "{found:?}");
        let reason = found[0].strip_prefix("invalid_value 1:").unwrap();
        reason.split_once("at.v: ").unwrap().1.to_owned()
    })
}

#[test]
fn a_type_is_read_from_its_subtree() {
    let text = "upstream: shop\npolicies:\n  - off\n  - rate_limit: {per: address, limit: 1/s}\n  \
                - cache:\n      ttl: 60\n  - range: [1, 2]\n  - off:\nports: [80, 443]\nenabled: true\n\
                limits: {retries: 3, ratio: 0.5, body: 64KiB}\n";
    let route: Route = read(text).unwrap();
    assert_eq!(
        route,
        Route {
            upstream: "shop".into(),
            public: None,
            policies: vec![
                Policy::Off,
                Policy::RateLimit(RateLimit { per: Per::Address, limit: "1/s".into() }),
                Policy::Cache { ttl: "60".into() },
                Policy::Range(1, 2),
                Policy::Off,
            ],
            ports: vec![80, 443],
            enabled: true,
            limits: Limits { retries: 3, ratio: 0.5, body: Some(Size(64)) },
        }
    );
}

#[test]
fn all_mistakes_are_found_at_once_each_in_its_place() {
    let text = "\
upstraem: shop
public: [a]
polices: []
policies:
  - rate_limt: {}
  - rate_limit: {per: adress, limit: 1/s, burst: 3}
  - rate_limit: {limit: 1/s}
  - cache: {ttl: 1m, tll: 2m}
ports: [80, 99999, '443', 0x50]
enabled: yes
limits:
  retries: -1
  body: 64
";
    assert_eq!(
        refused::<Route>(text),
        [
            "unknown_key 1:1 at.upstraem: unknown key `upstraem` (did you mean `upstream`?)",
            "invalid_value 2:9 at.public: expected a string, found a list",
            "unknown_key 3:1 at.polices: unknown key `polices` (accepted here: `upstream`, `public`, \
         `policies`, `ports`, `enabled`, `limits`)",
            "unknown_key 5:5 at.policies[0].rate_limt: unknown key `rate_limt` (did you mean `rate_limit`?)",
            "invalid_value 6:23 at.policies[1].rate_limit.per: expected one of `address`, `consumer`, \
         found `adress` (did you mean `address`?)",
            "unknown_key 6:43 at.policies[1].rate_limit.burst: unknown key `burst` \
         (accepted here: `per`, `limit`)",
            "missing_key 7:5 at.policies[2].rate_limit: the key `per` is missing",
            "unknown_key 8:22 at.policies[3].cache.tll: unknown key `tll` (accepted here: `ttl`)",
            "invalid_value 9:13 at.ports[1]: expected a whole number from 0 to 65535, found the number `99999`",
            "invalid_value 9:20 at.ports[2]: expected a whole number from 0 to 65535, found the text \"443\" \
         (write it without quotes)",
            "invalid_value 9:27 at.ports[3]: expected a whole number from 0 to 65535, found `0x50`",
            "invalid_value 10:10 at.enabled: expected `true` or `false`, found `yes` (write `true` or `false`)",
            "invalid_value 12:12 at.limits.retries: expected a whole number from 0 to 255, found the number `-1`",
            "invalid_value 13:9 at.limits.body: expected a size such as `64KiB`",
        ]
    );
}

#[test]
fn a_key_that_was_mistyped_is_not_also_missing() {
    assert_eq!(
        refused::<Route>("upsteam: x\n"),
        ["unknown_key 1:1 at.upsteam: unknown key `upsteam` (did you mean `upstream`?)"]
    );
    assert_eq!(refused::<Route>("upstream_x_y_z: x\nports: []\n").len(), 1);
    assert_eq!(
        refused::<Route>("zzz: x\n"),
        [
            "unknown_key 1:1 at.zzz: unknown key `zzz` (accepted here: `upstream`, `public`, `policies`, \
             `ports`, `enabled`, `limits`)",
            "missing_key 1:1 at: the key `upstream` is missing",
        ]
    );
}

#[test]
fn a_value_that_was_refused_is_not_also_missing() {
    assert_eq!(
        refused::<Route>("upstream: []\n"),
        ["invalid_value 1:11 at.upstream: expected a string, found a list"]
    );
    assert_eq!(
        refused::<(u8, u8)>("[1, x]\n"),
        ["invalid_value 1:5 at[1]: expected a whole number from 0 to 255, found `x`"]
    );
}

#[test]
fn a_missing_key_is_reported_at_the_owner() {
    let node = parse(FileId(0), b"routes:\n  orders:\n    public: x\n").unwrap();
    let entry = node.get("routes").unwrap().entry("orders").unwrap();
    let mut found = Diagnostics::new();
    assert_eq!(from_entry::<Route>(entry, "routes.orders", &mut found), None);
    let mut sources = Sources::new();
    sources.add("gateway.yaml", "routes:\n  orders:\n    public: x\n");
    assert_eq!(
        found.render(&sources),
        "error[config.missing_key]: the key `upstream` is missing\n --> gateway.yaml:2:3\n  |\n\
         2 |   orders:\n  |   ^^^^^^\n"
    );
}

#[test]
fn a_boolean_is_true_or_false() {
    assert_eq!(value("true"), Ok(true));
    assert_eq!(value("false"), Ok(false));
    for text in ["yes", "no", "on", "off", "True", "FALSE", "y", "1", "[]", ""] {
        assert!(
            value::<bool>(text).unwrap_err().starts_with("expected `true` or `false`, found"),
            "{text}"
        );
    }
    assert!(value::<bool>("'true'").unwrap_err().ends_with("(write it without quotes)"));
}

#[test]
fn a_number_is_plain_decimal() {
    assert_eq!(value("0"), Ok(0_u8));
    assert_eq!(value("-9223372036854775808"), Ok(i64::MIN));
    assert_eq!(value("18446744073709551615"), Ok(u64::MAX));
    assert_eq!(value("1e3"), Ok(1000.0_f64));
    assert_eq!(value("-0.25"), Ok(-0.25_f32));
    for text in [
        "0x10", "1_000", "010", "+1", "1e3", ".5", "1.0", "'1'", "0o7", "256", "-1", "one", "",
        "[1]",
    ] {
        assert!(value::<u8>(text).is_err(), "{text}");
    }
    for text in [".5", "1.", ".inf", "-.inf", ".nan", "1e999", "0x1", "'1.5'"] {
        assert!(value::<f64>(text).is_err(), "{text}");
    }
}

#[test]
fn a_string_is_any_scalar_and_never_nothing() {
    for (text, expected) in
        [("123", "123"), ("true", "true"), ("'null'", "null"), ("''", ""), ("a b", "a b")]
    {
        assert_eq!(value::<String>(text).as_deref(), Ok(expected));
    }
    for text in ["", "~", "null"] {
        assert_eq!(value::<String>(text), Err("expected a string, found nothing".into()));
        assert_eq!(value::<Option<String>>(text), Ok(None));
    }
    assert_eq!(value("x"), Ok('x'));
    assert!(value::<char>("xy").is_err());
}

#[test]
fn a_list_is_not_a_scalar_and_nothing_is_not_a_list() {
    assert_eq!(value::<Vec<u8>>("1"), Err("expected a list, found the number `1`".into()));
    assert_eq!(
        value::<Vec<u8>>(""),
        Err("expected a list, found nothing (an empty list is written `[]`)".into())
    );
    assert_eq!(
        value::<Limits>(""),
        Err("expected a mapping, found nothing (a mapping of defaults is written `{}`)".into())
    );
    assert_eq!(value::<Limits>("[1, 2]"), Err("expected a mapping, found a list".into()));
    assert_eq!(value::<[u8; 2]>("[1, 2]"), Ok([1, 2]));
    assert_eq!(value::<[u8; 2]>("[1]"), Err("expected an array of length 2, found 1 items".into()));
    assert_eq!(value::<[u8; 2]>("[1, 2, 3]"), Err("expected 2 items, found 3".into()));
}

#[test]
fn an_enum_is_a_name_or_one_key() {
    assert_eq!(
        value::<Policy>("{}"),
        Err("expected one of `off`, `rate_limit`, `cache`, `range`, found `{}`".into())
    );
    assert!(value::<Policy>("").unwrap_err().contains("found nothing"));
    assert!(value::<Policy>("[]").unwrap_err().contains("found a list"));
    assert_eq!(value::<Policy>("cache"), Err("`cache` needs settings (write `cache: …`)".into()));
    assert_eq!(value::<Policy>("'off'"), Ok(Policy::Off));
    assert_eq!(value::<Policy>("{off: {}}"), Ok(Policy::Off));
    assert_eq!(
        refused::<Vec<Policy>>("- off: 1\n- range: [1]\n- range: [1, 2, 3]\n"),
        [
            "invalid_value 1:8 at[0].off: `off` takes no settings",
            "invalid_value 2:10 at[1].range: expected tuple variant Policy::Range with 2 elements, found 1 items",
            "invalid_value 3:10 at[2].range: expected 2 items, found 3",
        ]
    );
    assert_eq!(
        refused::<Vec<Policy>>("- rate_limit:\n  per: address\n- cache: {ttl: 1s}\n  off:\n"),
        [
            "invalid_value 2:3 at[0].per: a second key `per` beside `rate_limit` \
         (indent it to belong to `rate_limit`)",
            "invalid_value 4:3 at[1].off: a second key `off` beside `cache` (write each as an item of its own)",
        ]
    );
}

#[test]
fn keys_are_read_as_their_type() {
    let ports: BTreeMap<u16, String> = read("80: a\n443: b\n").unwrap();
    assert_eq!(ports.into_keys().collect::<Vec<_>>(), [80, 443]);
    let by_name: BTreeMap<Per, u8> = read("address: 1\nconsumer: 2\n").unwrap();
    assert_eq!(by_name.len(), 2);
    assert_eq!(refused::<BTreeMap<u16, u8>>("80: x\nhttp: 1\n'x': 2\n99999: 3\n"), [
        "invalid_value 1:5 at[\"80\"]: expected a whole number from 0 to 255, found `x`",
        "invalid_value 2:1 at.http: expected a whole number from 0 to 65535, found the key `http`",
        "invalid_value 3:1 at.x: expected a whole number from 0 to 65535, found the key `x`",
        "invalid_value 4:1 at[\"99999\"]: expected a whole number from 0 to 65535, found the key `99999`",
    ]
    .map(|line| line.replace("[\"80\"]", ".80").replace("[\"99999\"]", ".99999")));
    assert_eq!(
        refused::<BTreeMap<Per, u8>>("adress: 1\n"),
        ["unknown_key 1:1 at.adress: unknown key `adress` (did you mean `address`?)"]
    );
}

#[test]
fn a_visitor_of_its_own_gets_numbers_booleans_and_text() {
    let json: serde_json::Value =
        read("a: 1\nb: -1\nc: 1.5\nd: true\ne: x\nf: '1'\ng: ~\nh: 010\n").unwrap();
    let expected = serde_json::json!({
        "a": 1, "b": -1, "c": 1.5, "d": true, "e": "x", "f": "1", "g": null, "h": "010"
    });
    assert_eq!(json, expected);
    assert!(value::<serde_json::Value>("99999999999999999999").unwrap_err().contains("too large"));
    assert!(value::<serde_json::Value>("1e999").unwrap_err().contains("too large"));
}

#[test]
fn text_read_by_a_library_is_refused_where_it_stands() {
    assert!(value::<ipnet::IpNet>("10.0.0.0/8").is_ok());
    assert!(value::<ipnet::IpNet>("10.0.0.0/80").is_err());
    let found = refused::<Vec<ipnet::IpNet>>("- 10.0.0.0/8\n- 300.1.1.1/8\n- ::1/999\n");
    assert_eq!(
        found.iter().map(|line| line.get(..17).unwrap()).collect::<Vec<_>>(),
        ["invalid_value 2:3", "invalid_value 3:3"]
    );
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Pair")]
struct Ordered;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    low: u8,
    high: u8,
}

impl TryFrom<Pair> for Ordered {
    type Error = String;

    fn try_from(pair: Pair) -> Result<Self, String> {
        if pair.low <= pair.high { Ok(Self) } else { Err("`low` is above `high`".into()) }
    }
}

#[test]
fn a_check_across_fields_points_at_the_value() {
    assert_eq!(
        refused::<Vec<Ordered>>("- {low: 1, high: 2}\n- {low: 3, high: 2}\n- {low: 3}\n"),
        [
            "invalid_value 2:3 at[1]: `low` is above `high`",
            "missing_key 3:3 at[2]: the key `high` is missing",
        ]
    );
}

#[test]
fn a_value_that_may_be_secret_is_neither_quoted_nor_repeated() {
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its refusal is tested")]
    struct Login {
        password: u8,
        #[serde(default)]
        hidden: Option<Hidden>,
    }
    #[derive(Debug)]
    struct Hidden;
    impl<'de> Deserialize<'de> for Hidden {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visit;
            impl<'de> serde::de::Visitor<'de> for Visit {
                type Value = Hidden;
                fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    formatter.write_str("a reference")
                }
                fn visit_newtype_struct<D: Deserializer<'de>>(
                    self,
                    de: D,
                ) -> Result<Hidden, D::Error> {
                    u8::deserialize(de).map(|_| Hidden)
                }
            }
            deserializer.deserialize_newtype_struct(super::CONCEALED, Visit)
        }
    }
    let text = "password: hunter2\nhidden: hunter2\npasword: hunter2\nhiden: 1\n";
    let node = parse(FileId(0), text.as_bytes()).unwrap();
    let mut found = Diagnostics::new();
    assert!(from_node::<Login>(&node, "login", &mut found).is_none());
    let mut sources = Sources::new();
    sources.add("x.yaml", text);
    let shown = found.render(&sources);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("<not shown>").count(), 4, "{shown}");
    assert!(shown.contains("expected a whole number from 0 to 255, found a value"), "{shown}");
    let rows = serde_json::to_string(&found.rows(&sources)).unwrap();
    assert!(!rows.contains("hunter2"), "{rows}");
}

#[test]
fn a_flood_of_mistakes_ends() {
    let unknown: String = (0..20_000).map(|index| format!("key{index}: 1\n")).collect();
    let node = parse(FileId(0), unknown.as_bytes()).unwrap();
    let mut found = Diagnostics::new();
    assert!(from_node::<Limits>(&node, "", &mut found).is_none());
    assert!(found.is_full());
    let wrong = "- x\n".repeat(20_000);
    let node = parse(FileId(0), wrong.as_bytes()).unwrap();
    let mut found = Diagnostics::new();
    assert!(from_node::<Vec<u8>>(&node, "", &mut found).is_none());
    assert_eq!(found.len(), 32);
}
