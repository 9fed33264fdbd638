//! `security_headers`: what answers tell browsers to enforce, and what they no longer tell
//! attackers.
//!
//! Works on every answer, refusals included, and needs no memory of the request. The defaults are
//! those for APIs of OWASP's REST Security Cheat Sheet; the headers removed are from the list of
//! the OWASP Secure Headers Project.

use std::sync::Arc;

use demilune_core::{
    Env, Hooks, Invalid, Meta, Policy, Request, ResponseHead, ResponseRewriter, Scheme, Slot,
};
use http::header::{
    CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::header::{FieldName, FieldValue};

const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// What names the software behind an answer, and often its version.
const DISCLOSING: &[&str] = &[
    "liferay-portal",
    "powered-by",
    "server",
    "via",
    "x-aspnet-version",
    "x-aspnetmvc-version",
    "x-backend-server",
    "x-beserver",
    "x-cf-powered-by",
    "x-cms",
    "x-content-encoded-by",
    "x-diaginfo",
    "x-feserver",
    "x-framework",
    "x-generated-by",
    "x-generator",
    "x-mod-pagespeed",
    "x-owa-version",
    "x-php-version",
    "x-powered-by",
    "x-powered-cms",
    "x-runtime",
    "x-served-by",
    "x-server",
    "x-server-name",
    "x-turbo-charged-by",
];

/// Beginnings of such names.
const DISCLOSING_PREFIXES: &[&str] =
    &["x-drupal-", "x-envoy-", "x-kubernetes-", "x-litespeed-", "x-powered-by-", "x-varnish-"];

/// Sets the headers by which browsers protect users, and removes those that name the upstream's
/// software.
///
/// Each setting is `default`, `off`, or `{ value: "…" }`. With `off` the upstream's own header
/// passes. A `value` written here replaces the upstream's.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityHeaders {
    /// Only HTTPS from now on (RFC 6797); sent over HTTPS alone. Default: `max-age=31536000`, one
    /// year, in place of the upstream's.
    #[serde(default)]
    pub strict_transport_security: HeaderSetting,
    /// No guessing of content types. Default: `nosniff`, in place of the upstream's.
    #[serde(default)]
    pub x_content_type_options: HeaderSetting,
    /// Whether pages may frame the answer, for browsers that do not know the next one. Default:
    /// `DENY`, where the upstream sets none.
    #[serde(default)]
    pub x_frame_options: HeaderSetting,
    /// What a page made of the answer may load and who may frame it. Default, fit for an API:
    /// `default-src 'none'; frame-ancestors 'none'`, where the upstream sets none.
    #[serde(default)]
    pub content_security_policy: HeaderSetting,
    /// What the next site learns of this one's addresses. Default: `no-referrer`, where the
    /// upstream sets none.
    #[serde(default)]
    pub referrer_policy: HeaderSetting,
    /// Which sites may embed the answer without asking by CORS. Default: `same-origin`, where the
    /// upstream sets none.
    #[serde(default)]
    pub cross_origin_resource_policy: HeaderSetting,
    /// Headers removed from answers besides those that are known to name software, such as `server`
    /// and `x-powered-by`. Default: none.
    #[serde(default)]
    pub remove: Vec<FieldName>,
    /// Headers kept although they are known to name software. Default: none.
    #[serde(default)]
    pub keep: Vec<FieldName>,
}

/// What becomes of one header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HeaderSetting {
    /// The secure default.
    #[default]
    Default,
    /// Nothing: what the upstream sends passes.
    Off,
    /// This value, whatever the upstream sends.
    Value(FieldValue),
}

/// A header with its setting, and what the default is.
struct Known<'s> {
    name: HeaderName,
    setting: &'s HeaderSetting,
    default: &'static str,
    /// Whether the default replaces what the upstream sends.
    replaces: bool,
}

impl SecurityHeaders {
    fn known(&self) -> [Known<'_>; 6] {
        let header = |name, setting, default| Known { name, setting, default, replaces: false };
        let always = |name, setting, default| Known { name, setting, default, replaces: true };
        [
            always(STRICT_TRANSPORT_SECURITY, &self.strict_transport_security, "max-age=31536000"),
            always(X_CONTENT_TYPE_OPTIONS, &self.x_content_type_options, "nosniff"),
            header(X_FRAME_OPTIONS, &self.x_frame_options, "DENY"),
            header(
                CONTENT_SECURITY_POLICY,
                &self.content_security_policy,
                "default-src 'none'; frame-ancestors 'none'",
            ),
            header(REFERRER_POLICY, &self.referrer_policy, "no-referrer"),
            header(CROSS_ORIGIN_RESOURCE_POLICY, &self.cross_origin_resource_policy, "same-origin"),
        ]
    }

    fn removes(&self, name: &HeaderName) -> bool {
        let listed = |list: &[FieldName]| list.iter().any(|entry| entry.name() == name);
        listed(&self.remove) || (discloses(name.as_str()) && !listed(&self.keep))
    }
}

impl Policy for SecurityHeaders {
    const META: Meta = Meta { name: "security_headers", since: "0.1", codes: &[] };

    fn build(&self, _: &Env<'_>) -> Result<Hooks, Invalid> {
        let mut settings = Vec::new();
        for known in self.known() {
            let (value, replaces) = match known.setting {
                HeaderSetting::Off => continue,
                HeaderSetting::Default => (HeaderValue::from_static(known.default), known.replaces),
                HeaderSetting::Value(value) => (value.value().clone(), true),
            };
            settings.push(Setting { name: known.name, value, replaces });
        }
        for (field, list) in [("remove", &self.remove), ("keep", &self.keep)] {
            for (index, entry) in list.iter().enumerate() {
                if let Some(set) = settings.iter().find(|setting| setting.name == entry.name()) {
                    let reason = format!("`{}` is set by this policy", set.name);
                    return Err(Invalid::new(format!("{field}[{index}]"), reason)
                        .help("to leave the header to the upstream, set it to `off`"));
                }
            }
        }
        if let Some(index) = self.keep.iter().position(|name| self.remove.contains(name)) {
            let reason = "it stands under `remove` too";
            return Err(Invalid::new(format!("keep[{index}]"), reason));
        }
        let rules = Rules { config: self.clone(), settings };
        Ok(Hooks::new().response_rewriter(&Arc::new(rules)))
    }

    fn weakens(&self, wider: &Self) -> Option<String> {
        for (mine, theirs) in self.known().iter().zip(wider.known()) {
            if mine.setting == theirs.setting || *theirs.setting == HeaderSetting::Off {
                continue;
            }
            match mine.setting {
                HeaderSetting::Off => return Some(format!("`{}` is no longer set", mine.name)),
                HeaderSetting::Value(value) if value.as_str() != theirs.text() => {
                    return Some(format!("`{}` becomes `{}`", mine.name, value.as_str()));
                }
                HeaderSetting::Default if theirs.text() != mine.default => {
                    return Some(format!("`{}` becomes the default again", mine.name));
                }
                _ => {}
            }
        }
        let removed = wider.remove.iter().chain(&self.keep).map(FieldName::name);
        let mut kept = removed.filter(|name| wider.removes(name) && !self.removes(name));
        kept.next().map(|name| format!("`{name}` is no longer removed"))
    }
}

impl Known<'_> {
    fn text(&self) -> &str {
        match self.setting {
            HeaderSetting::Value(value) => value.as_str(),
            HeaderSetting::Default => self.default,
            HeaderSetting::Off => "",
        }
    }
}

struct Rules {
    config: SecurityHeaders,
    settings: Vec<Setting>,
}

struct Setting {
    name: HeaderName,
    value: HeaderValue,
    replaces: bool,
}

impl ResponseRewriter for Rules {
    fn rewrite(&self, request: &Request<'_>, response: &mut ResponseHead, _: &mut Slot) {
        let headers = &mut response.headers;
        remove(headers, |name| self.config.removes(name));
        for Setting { name, value, replaces } in &self.settings {
            if name == STRICT_TRANSPORT_SECURITY && request.head.scheme == Scheme::Http {
                // Browsers ignore it there, and it must not be sent (RFC 6797 section 7.2).
                headers.remove(name);
            } else if *replaces || !headers.contains_key(name) {
                headers.insert(name, value.clone());
            }
        }
    }
}

fn remove(headers: &mut HeaderMap, removed: impl Fn(&HeaderName) -> bool) {
    let names: Vec<HeaderName> = headers.keys().filter(|name| removed(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

fn discloses(name: &str) -> bool {
    DISCLOSING.binary_search(&name).is_ok()
        || DISCLOSING_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use demilune_testkit::check;
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::{built, downstream, head, refused, route};

    fn policy(settings: Value) -> SecurityHeaders {
        from_value(settings).unwrap()
    }

    /// The headers of an upstream's answer after the hook, as `name: value`.
    fn rewritten(
        settings: Value,
        scheme: Scheme,
        upstream: &[(&'static str, &str)],
    ) -> Vec<String> {
        let hooks = built(&policy(settings));
        let (mut head, downstream, route) = (head(), downstream("192.0.2.7"), route("/**"));
        head.scheme = scheme;
        let (id, now) = (demilune_core::RequestId(1), demilune_core::Moment::default());
        let request = Request {
            id,
            now,
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let mut response = ResponseHead { status: http::StatusCode::OK, headers: HeaderMap::new() };
        for (name, value) in upstream {
            response.headers.append(*name, value.parse().unwrap());
        }
        let [(_, demilune_core::Hook::ResponseRewriter(hook))] = hooks.list() else {
            panic!("one response hook and no other")
        };
        hook.rewrite(&request, &mut response, &mut Slot::default());
        let mut lines: Vec<String> = response
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn an_answer_is_admitted_with_the_headers_on_it() {
        check(
            "policies: [{security_headers: {}}]",
            "GET /",
            "200 |\n\
             < strict-transport-security: max-age=31536000\n\
             < x-content-type-options: nosniff\n\
             < x-frame-options: DENY\n\
             < content-security-policy: default-src 'none'; frame-ancestors 'none'\n\
             < referrer-policy: no-referrer\n\
             < cross-origin-resource-policy: same-origin\n\
             < server:",
        );
    }

    #[test]
    fn a_refusal_carries_the_headers_too() {
        check(
            "policies: [{security_headers: {}}, {ip_restriction: {deny: [192.0.2.7]}}]",
            "GET / from 192.0.2.7",
            "403 | …\n< x-frame-options: DENY\n< strict-transport-security: max-age=31536000",
        );
    }

    #[test]
    fn the_upstreams_choice_stays_except_where_it_cannot_be_better() {
        let upstream = [
            ("x-frame-options", "SAMEORIGIN"),
            ("content-security-policy", "default-src 'self'"),
            ("x-content-type-options", "sniff"),
            ("strict-transport-security", "max-age=0"),
        ];
        assert_eq!(
            rewritten(json!({}), Scheme::Https, &upstream),
            [
                "content-security-policy: default-src 'self'",
                "cross-origin-resource-policy: same-origin",
                "referrer-policy: no-referrer",
                "strict-transport-security: max-age=31536000",
                "x-content-type-options: nosniff",
                "x-frame-options: SAMEORIGIN",
            ]
        );
    }

    #[test]
    fn plain_http_promises_no_https() {
        let upstream = [("strict-transport-security", "max-age=1")];
        let lines = rewritten(json!({}), Scheme::Http, &upstream);
        assert!(!lines.iter().any(|line| line.starts_with("strict-transport")), "{lines:?}");
        assert!(lines.contains(&"x-content-type-options: nosniff".to_owned()));
    }

    #[test]
    fn off_leaves_a_header_to_the_upstream_and_a_value_replaces_it() {
        let settings = json!({
            "strict_transport_security": "off",
            "x_content_type_options": "off",
            "x_frame_options": { "value": "SAMEORIGIN" },
            "content_security_policy": "off",
            "referrer_policy": { "value": "same-origin" },
            "cross_origin_resource_policy": "off",
        });
        let upstream = [
            ("x-frame-options", "ALLOWALL"),
            ("x-frame-options", "DENY"),
            ("strict-transport-security", "max-age=1"),
        ];
        assert_eq!(
            rewritten(settings, Scheme::Https, &upstream),
            [
                "referrer-policy: same-origin",
                "strict-transport-security: max-age=1",
                "x-frame-options: SAMEORIGIN",
            ]
        );
    }

    #[test]
    fn what_names_the_software_is_removed() {
        let upstream = [
            ("server", "nginx/1.18.0"),
            ("x-powered-by", "PHP/7.4"),
            ("x-powered-by", "Express"),
            ("x-drupal-cache", "HIT"),
            ("via", "1.1 varnish"),
            ("x-internal", "10.0.0.7"),
            ("x-generator", "hugo"),
            ("etag", "\"1\""),
        ];
        let lines = rewritten(
            json!({ "remove": ["X-Internal"], "keep": ["x-generator"] }),
            Scheme::Https,
            &upstream,
        );
        let theirs = |line: &&String| upstream.iter().any(|(name, _)| line.starts_with(name));
        let left: Vec<&String> = lines.iter().filter(theirs).collect();
        assert_eq!(left, ["etag: \"1\"", "x-generator: hugo"]);
    }

    #[test]
    fn the_list_is_sorted_for_bisection() {
        assert!(DISCLOSING.is_sorted());
        assert!(DISCLOSING.iter().all(|name| discloses(name)));
    }

    #[test]
    fn contradictions_and_line_breaks_are_refused() {
        assert_eq!(
            refused(&policy(json!({ "remove": ["x-a", "x-frame-options"] }))).field,
            "remove[1]"
        );
        assert_eq!(refused(&policy(json!({ "keep": ["referrer-policy"] }))).field, "keep[0]");
        let both = json!({ "remove": ["server"], "keep": ["via", "server"] });
        assert_eq!(refused(&policy(both)).field, "keep[1]");
        for settings in [
            json!({ "referrer_policy": { "value": "a\r\nset-cookie: b" } }),
            json!({ "referrer_policy": { "value": "" } }),
            json!({ "referrer_policy": "no-referrer" }),
            json!({ "referrer_policy": false }),
            json!({ "remove": ["a b"] }),
            json!({ "permissions_policy": "off" }),
        ] {
            assert!(from_value::<SecurityHeaders>(settings.clone()).is_err(), "{settings}");
        }
    }

    #[test]
    fn less_protection_is_weaker() {
        let weakens = |mine, wider| policy(mine).weakens(&policy(wider)).is_some();
        let value = |value: &str| json!({ "referrer_policy": { "value": value } });
        for (mine, wider, expected) in [
            (json!({}), json!({}), false),
            (json!({ "x_frame_options": "off" }), json!({}), true),
            (json!({}), json!({ "x_frame_options": "off" }), false),
            (value("unsafe-url"), json!({}), true),
            (value("no-referrer"), json!({}), false),
            (json!({}), value("same-origin"), true),
            (value("same-origin"), value("same-origin"), false),
            (json!({ "keep": ["server"] }), json!({}), true),
            (json!({ "keep": ["etag"] }), json!({}), false),
            (json!({ "keep": ["server"] }), json!({ "keep": ["server"] }), false),
            (json!({}), json!({ "remove": ["x-internal"] }), true),
            (json!({ "remove": ["x-internal"] }), json!({}), false),
        ] {
            assert_eq!(weakens(mine.clone(), wider.clone()), expected, "{mine} {wider}");
        }
    }
}
