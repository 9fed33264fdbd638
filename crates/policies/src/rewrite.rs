//! `rewrite`: change headers and path on the way to the upstream, and headers on the way back.
//!
//! Runs after every control has seen the request as it came. What frames a message, governs a
//! connection or carries the gateway's own word about the caller cannot be touched, and no line
//! break can get into a header: fixed text is checked when the document is, and what a request adds
//! are segments of its path, whose canonical form is visible ASCII.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use demilune_core::path::canonical_path;
use demilune_core::pipeline::is_reserved_header;
use demilune_core::{
    Env, Fault, Hooks, Invalid, Meta, Outgoing, Policy, Request, ResponseHead, ResponseRewriter,
    Rewriter, Slot, Target,
};
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::header::{FieldName, FieldValue};

/// Changes what the upstream and the client are sent.
///
/// Headers are removed first, then set; a header that is set replaces all of its name.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Changes to the request before it is sent to the upstream. Default: none.
    #[serde(default)]
    pub request: RequestChanges,
    /// Changes to the answer, whoever made it, before it is sent to the client. Default: none.
    #[serde(default)]
    pub response: ResponseChanges,
}

/// Changes to a request.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestChanges {
    /// Headers set, by name. In a value `{name}` stands for a parameter of the route's path, and
    /// `{{` for a brace; a route whose path has no such parameter does not load. Default: none.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Headers removed, by name. Default: none.
    #[serde(default)]
    pub remove: Vec<String>,
    /// What becomes of the path; the query stays. Default: it stays too.
    #[serde(default)]
    pub path: Option<PathChange>,
}

/// Changes to an answer.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseChanges {
    /// Headers set, by name; values are fixed. Default: none.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Headers removed, by name. Default: none.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// A change to the path. A path that does not begin with the prefix, in whole segments, stays.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathChange {
    /// Cuts this off: `/v1` makes `/orders` of `/v1/orders`, and `/` of `/v1`.
    StripPrefix(String),
    /// Puts another prefix in its place.
    ReplacePrefix(Replacement),
}

/// One prefix in place of another.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The prefix as requests have it, such as `/v1`; `/` stands before every path.
    pub from: String,
    /// What the upstream is sent instead, such as `/internal/{tenant}`: `{name}` and `{{` as in
    /// `set`.
    pub to: String,
}

impl Policy for Rewrite {
    const META: Meta = Meta { name: "rewrite", since: "0.1", codes: &[] };

    fn build(&self, _: &Env<'_>) -> Result<Hooks, Invalid> {
        let request = &self.request;
        let upstream = ToUpstream {
            remove: removed("request", &request.remove)?,
            set: request.set()?,
            path: request.path.as_ref().map(PathChange::compile).transpose()?,
        };
        let client = ToClient {
            remove: removed("response", &self.response.remove)?,
            set: self.response.set()?,
        };
        check_disjoint("request", &upstream.remove, upstream.set.iter().map(|(name, _)| name))?;
        check_disjoint("response", &client.remove, client.set.iter().map(|(name, _)| name))?;
        let mut hooks = upstream.parameters().fold(Hooks::new(), Hooks::reads_parameter);
        if !(upstream.remove.is_empty() && upstream.set.is_empty() && upstream.path.is_none()) {
            hooks = hooks.rewriter(&Arc::new(upstream));
        }
        if !(client.remove.is_empty() && client.set.is_empty()) {
            hooks = hooks.response_rewriter(&Arc::new(client));
        }
        if hooks.list().is_empty() {
            return Err(Invalid::new("", "nothing is rewritten")
                .help("say what to change under `request` or `response`"));
        }
        Ok(hooks)
    }

    /// It admits nothing: it runs when everything has been decided.
    fn weakens(&self, _: &Self) -> Option<String> {
        None
    }
}

impl RequestChanges {
    /// What is wrong with a header that may be something that only the upstream should see is told
    /// without its line.
    fn set(&self) -> Result<Vec<(HeaderName, Value)>, Invalid> {
        let mut set = Vec::new();
        for (name, text) in &self.set {
            let field = entry("request", name);
            let name = checked_name(&field, name).map_err(Invalid::conceal)?;
            if is_reserved_header(name.as_str()) {
                return Err(reserved(field, &name));
            }
            if name == AUTHORIZATION {
                let reason = "a credential does not stand in the document";
                return Err(Invalid::new(field, reason).conceal());
            }
            let template =
                Template::parse(text).map_err(|why| Invalid::new(&field, why).conceal())?;
            let fixed = checked_value(&field, &template.sample()).map_err(Invalid::conceal)?;
            let value =
                if template.is_fixed() { Value::Fixed(fixed) } else { Value::Filled(template) };
            set.push((name, value));
        }
        Ok(set)
    }
}

impl ResponseChanges {
    fn set(&self) -> Result<Vec<(HeaderName, HeaderValue)>, Invalid> {
        self.set
            .iter()
            .map(|(name, text)| {
                let field = entry("response", name);
                Ok((checked_name(&field, name)?, checked_value(&field, text)?))
            })
            .collect()
    }
}

impl PathChange {
    fn compile(&self) -> Result<Prefix, Invalid> {
        let (field, from, to) = match self {
            Self::StripPrefix(from) => ("request.path.strip_prefix", from, "/"),
            Self::ReplacePrefix(Replacement { from, to }) => {
                ("request.path.replace_prefix.from", from, to.as_str())
            }
        };
        if from == "/" && to == "/" {
            return Err(Invalid::new(field, "`/` in place of `/` changes nothing"));
        }
        let from = checked_prefix(field, from)?;
        let field = "request.path.replace_prefix.to";
        let template = Template::parse(to).map_err(|why| Invalid::new(field, why))?;
        checked_prefix(field, &template.sample())?;
        let to = if to == "/" { Template::default() } else { template };
        Ok(Prefix { from: from.to_owned(), to })
    }
}

struct ToUpstream {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, Value)>,
    path: Option<Prefix>,
}

impl ToUpstream {
    /// The path parameters that are filled in somewhere.
    fn parameters(&self) -> impl Iterator<Item = &str> {
        let headers = self.set.iter().filter_map(|(_, value)| match value {
            Value::Filled(template) => Some(template),
            Value::Fixed(_) => None,
        });
        headers.chain(self.path.as_ref().map(|path| &path.to)).flat_map(Template::parameters)
    }
}

struct ToClient {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
}

enum Value {
    Fixed(HeaderValue),
    Filled(Template),
}

/// One prefix for another; `/` is held as nothing.
struct Prefix {
    from: String,
    to: Template,
}

impl Rewriter for ToUpstream {
    fn rewrite(
        &self,
        request: &Request<'_>,
        outgoing: &mut Outgoing,
        _: &mut Slot,
    ) -> Result<(), Fault> {
        // All that can fail comes first: nothing is changed by halves.
        let target = match &self.path {
            Some(prefix) => prefix.replace(request, &outgoing.target)?,
            None => None,
        };
        let mut set = Vec::with_capacity(self.set.len());
        for (name, value) in &self.set {
            let value = match value {
                Value::Fixed(value) => value.clone(),
                Value::Filled(template) => HeaderValue::from_str(&template.fill(request)?)
                    .map_err(|_| Fault::new(format!("`{name}` would not be a header's value")))?,
            };
            set.push((name.clone(), value));
        }
        if let Some(target) = target {
            outgoing.target = target;
        }
        change(&mut outgoing.headers, &self.remove, set);
        Ok(())
    }
}

impl ResponseRewriter for ToClient {
    fn rewrite(&self, _: &Request<'_>, response: &mut ResponseHead, _: &mut Slot) {
        change(&mut response.headers, &self.remove, self.set.iter().cloned());
    }
}

impl Prefix {
    /// The new target; `None` where the path does not begin with the prefix.
    fn replace(&self, request: &Request<'_>, target: &Target) -> Result<Option<Target>, Fault> {
        let rest = match target.path().strip_prefix(self.from.as_str()) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
            _ => return Ok(None),
        };
        let mut path = self.to.fill(request)?.into_owned() + rest;
        if path.is_empty() {
            path.push('/');
        }
        let text = match target.query() {
            Some(query) => Cow::Owned(format!("{path}?{query}")),
            None => Cow::Borrowed(&*path),
        };
        match Target::parse_with(&text, target.needs()) {
            // Parts of canonical paths, joined, are canonical. Were they not, the upstream would be
            // sent a path that nobody meant.
            Ok(new) if new.path() == path => Ok(Some(new)),
            Ok(_) => Err(Fault::new("the rewritten path is not canonical")),
            Err(refusal) => Err(Fault::new(format!("the rewritten path is refused: {refusal}"))),
        }
    }
}

/// Text with parameters of the route's path.
#[derive(Default)]
struct Template(Vec<Part>);

enum Part {
    Fixed(String),
    Parameter(String),
}

impl Template {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected a parameter such as `{id}` behind the brace; \
                                a brace itself is written `{{`";
        let mut parts = Vec::new();
        let mut fixed = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            fixed.push_str(before);
            if let Some(after) = after.strip_prefix('{') {
                fixed.push('{');
                rest = after;
                continue;
            }
            let (name, after) = after.split_once('}').ok_or(EXPECTED)?;
            let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            if name.is_empty() || !name.bytes().all(word) {
                return Err(EXPECTED);
            }
            parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            parts.push(Part::Parameter(name.to_owned()));
            rest = after;
        }
        fixed.push_str(rest);
        parts.push(Part::Fixed(fixed));
        Ok(Self(parts))
    }

    fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Parameter(name) => Some(name.as_str()),
            Part::Fixed(_) => None,
        })
    }

    fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Fixed(_)))
    }

    /// The text with `x` for each parameter, to check what does not depend on the request.
    fn sample(&self) -> String {
        let part = |part: &Part| match part {
            Part::Fixed(text) => text.clone(),
            Part::Parameter(_) => "x".to_owned(),
        };
        self.0.iter().map(part).collect()
    }

    fn fill(&self, request: &Request<'_>) -> Result<Cow<'_, str>, Fault> {
        if let [Part::Fixed(text)] = self.0.as_slice() {
            return Ok(Cow::Borrowed(text));
        }
        let mut filled = String::new();
        for part in &self.0 {
            filled.push_str(match part {
                Part::Fixed(text) => text,
                Part::Parameter(name) => request.parameter(name).ok_or_else(|| {
                    Fault::new(format!("the route's path has no parameter `{{{name}}}`"))
                })?,
            });
        }
        Ok(Cow::Owned(filled))
    }
}

fn change(
    headers: &mut HeaderMap,
    remove: &[HeaderName],
    set: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
) {
    for name in remove {
        remove_with_look_alikes(headers, name);
    }
    for (name, value) in set {
        remove_with_look_alikes(headers, &name);
        headers.insert(name, value);
    }
}

/// Removes a header, and those that a CGI-like upstream cannot tell from it: `x_tenant` is
/// `x-tenant` there.
fn remove_with_look_alikes(headers: &mut HeaderMap, name: &HeaderName) {
    headers.remove(name);
    let one = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let alike = |other: &HeaderName| {
        other.as_str().contains('_')
            && other.as_str().bytes().map(one).eq(name.as_str().bytes().map(one))
    };
    let doomed: Vec<HeaderName> = headers.keys().filter(|other| alike(other)).cloned().collect();
    for other in doomed {
        headers.remove(other);
    }
}

fn entry(half: &str, name: &str) -> String {
    format!("{half}.set[\"{}\"]", name.replace('\\', "\\\\").replace('"', "\\\""))
}

fn removed(half: &str, names: &[String]) -> Result<Vec<HeaderName>, Invalid> {
    let mut list = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let field = format!("{half}.remove[{index}]");
        let name = checked_name(&field, name)?;
        if half == "request" && is_reserved_header(name.as_str()) {
            return Err(reserved(field, &name));
        }
        list.push(name);
    }
    Ok(list)
}

fn checked_name(field: &str, text: &str) -> Result<HeaderName, Invalid> {
    let name = FieldName::try_from(text.to_owned()).map_err(|why| Invalid::new(field, why))?;
    let name = name.name();
    let governs = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, HOST, CONTENT_LENGTH]
        .contains(name)
        || [EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION].contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "http2-settings");
    if governs {
        let reason =
            format!("`{name}` frames messages or governs connections: it is not rewritten");
        return Err(Invalid::new(field, reason));
    }
    Ok(name.clone())
}

fn reserved(field: String, name: &HeaderName) -> Invalid {
    Invalid::new(field, format!("`{name}` is the gateway's own word to upstreams"))
}

fn checked_value(field: &str, text: &str) -> Result<HeaderValue, Invalid> {
    let value = FieldValue::try_from(text.to_owned()).map_err(|why| Invalid::new(field, why))?;
    Ok(value.value().clone())
}

/// A prefix in whole segments and canonical form, `/` as nothing.
fn checked_prefix<'t>(field: &str, text: &'t str) -> Result<&'t str, Invalid> {
    if text == "/" {
        return Ok("");
    }
    let invalid = |reason: String| Err(Invalid::new(field, reason));
    if text.ends_with('/') {
        return invalid(
            "expected whole segments, such as `/v1`, without a slash at the end".into(),
        );
    }
    match canonical_path(text) {
        Ok(path) if *path == *text => Ok(text),
        Ok(path) => invalid(format!("paths are in canonical form, in which this is `{path}`")),
        Err(refusal) => invalid(refusal.to_string()),
    }
}

fn check_disjoint<'n>(
    half: &str,
    removed: &[HeaderName],
    set: impl Iterator<Item = &'n HeaderName>,
) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    for name in set {
        if !seen.insert(name.as_str()) {
            return Err(Invalid::new(entry(half, name.as_str()), "this header is set twice"));
        }
        if let Some(index) = removed.iter().position(|other| other == name) {
            let reason = format!("`{name}` is set too, which replaces it");
            return Err(Invalid::new(format!("{half}.remove[{index}]"), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use demilune_core::{Hook, Moment, RequestId};
    use demilune_testkit::check;
    use http::Method;
    use serde_json::{Value as Json, from_value, json};

    use super::*;
    use crate::fixture::{built, downstream, head, refused, route};

    fn policy(settings: Json) -> Rewrite {
        from_value(settings).unwrap()
    }

    /// What the upstream is sent for `target` under `template`, or the fault.
    fn sent(settings: Json, template: &str, target: &str) -> Result<Outgoing, String> {
        let hooks = built(&policy(settings));
        let (mut head, downstream, route) = (head(), downstream("192.0.2.7"), route(template));
        head.target = Target::parse(target).unwrap();
        let request = Request {
            id: RequestId(1),
            now: Moment::default(),
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let mut outgoing = Outgoing {
            method: Method::GET,
            target: head.target.clone(),
            headers: HeaderMap::new(),
        };
        let [(_, Hook::Rewriter(rewriter))] = hooks.list() else { panic!("one rewriter") };
        let result = rewriter.rewrite(&request, &mut outgoing, &mut Slot::default());
        result.map(|()| outgoing).map_err(|fault| fault.reason.into_owned())
    }

    fn path(change: Json, template: &str, target: &str) -> Result<String, String> {
        let sent = sent(json!({ "request": { "path": change } }), template, target)?;
        Ok(sent.target.as_path_and_query().to_string())
    }

    #[test]
    fn a_request_is_admitted_with_its_headers_changed() {
        check(
            "policies: [{rewrite: {request: {set: {x-version: '2'}, remove: [X-Debug]}}}]",
            "GET /\nx-version: 1\nx-version: 3\nx-debug: 1\nx-kept: 1",
            "200 | rewrite: continue\n> x-version: 2\n> x-debug:\n> x-kept: 1",
        );
    }

    #[test]
    fn an_answer_has_its_headers_changed() {
        check(
            "policies: [{rewrite: {response: {set: {cache-control: no-store}}}}]",
            "GET /",
            "200 |\n< cache-control: no-store",
        );
    }

    #[test]
    fn the_upstream_is_sent_the_rewritten_path_with_the_query() {
        check(
            "policies: [{rewrite: {request: {path: {strip_prefix: /v1}}}}]",
            "GET /v1/orders?x=%2F",
            "200 | rewrite: continue\n> GET /orders?x=%2F",
        );
    }

    #[test]
    fn prefixes_are_whole_segments() {
        let strip = json!({ "strip_prefix": "/v1" });
        let replace = json!({ "replace_prefix": { "from": "/v1", "to": "/a/b" } });
        let prepend = json!({ "replace_prefix": { "from": "/", "to": "/api" } });
        for (change, target, expected) in [
            (&strip, "/v1/orders", "/orders"),
            (&strip, "/v1", "/"),
            (&strip, "/v1/", "/"),
            (&strip, "/v1?x=1", "/?x=1"),
            (&strip, "/v10/orders", "/v10/orders"),
            (&strip, "/v2/v1", "/v2/v1"),
            (&strip, "/v1/v1/x", "/v1/x"),
            (&replace, "/v1/x%20y?q", "/a/b/x%20y?q"),
            (&replace, "/v1", "/a/b"),
            (&prepend, "/", "/api/"),
            (&prepend, "/x", "/api/x"),
        ] {
            assert_eq!(path(change.clone(), "/**", target).unwrap(), expected, "{target}");
        }
    }

    #[test]
    fn parameters_of_the_path_are_filled_in() {
        let settings = json!({ "request": {
            "set": { "x-tenant": "t={tenant}; {{x}" },
            "path": { "replace_prefix": { "from": "/t", "to": "/internal/{id}/{{" } },
        } });
        let sent = sent(settings, "/t/{tenant}/{id}", "/t/caf%C3%A9/7").unwrap();
        assert_eq!(sent.headers["x-tenant"], "t=caf%C3%A9; {x}");
        assert_eq!(sent.target.path(), "/internal/7/{/caf%C3%A9/7");
    }

    #[test]
    fn what_looks_like_a_header_that_is_set_or_removed_goes_with_it() {
        check(
            "policies: [{rewrite: {request: {set: {x-tenant: acme}, remove: [x-debug]}}}]",
            "GET /\nx_tenant: other\nx_debug: 1\nx_other: 1",
            "200 | rewrite: continue\n> x-tenant: acme\n> x_tenant:\n> x_debug:\n> x_other: 1",
        );
    }

    #[test]
    fn no_line_break_reaches_a_header_by_way_of_a_parameter() {
        for target in ["/t/a%0d%0ax-admin:%201", "/t/a%0ax", "/t/a\r\nx", "/t/%250d%250a"] {
            assert!(Target::parse(target).is_err(), "{target:?}");
        }
    }

    #[test]
    fn what_cannot_be_filled_in_is_a_fault_that_changes_nothing() {
        let missing = json!({ "request": { "set": { "x-a": "1", "x-tenant": "{tenant}" } } });
        let expected = "the route's path has no parameter `{tenant}`";
        assert_eq!(sent(missing, "/**", "/").unwrap_err(), expected);
        let twice = json!({ "replace_prefix": { "from": "/", "to": "/{id}41" } });
        assert!(path(twice, "/{id}", "/%25").unwrap_err().contains("encoded twice"));
    }

    #[test]
    fn names_that_frame_govern_or_identify_are_refused() {
        for name in [
            "host",
            "Content-Length",
            "transfer-encoding",
            "connection",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "keep-alive",
            "x-consumer-name",
            "X-Consumer_Name",
            "x-forwarded-for",
            "forwarded",
            "x-request-id",
            "a b",
            "a\r\nb",
            "",
            "*",
            "authorization",
        ] {
            let field = format!("request.set[\"{name}\"]");
            let refusal = refused(&policy(json!({ "request": { "set": { name: "1" } } })));
            assert_eq!(refusal.field, field);
        }
        for name in ["content-length", "x-consumer-name", "x y"] {
            let refusal = refused(&policy(json!({ "request": { "remove": ["x-a", name] } })));
            assert_eq!(refusal.field, "request.remove[1]");
        }
        for name in ["content-length", "Transfer-Encoding", "connection", "a:b"] {
            let refusal = refused(&policy(json!({ "response": { "set": { name: "1" } } })));
            assert_eq!(refusal.field, format!("response.set[\"{name}\"]"));
        }
    }

    #[test]
    fn values_with_line_breaks_or_broken_parameters_are_refused() {
        for value in ["a\r\nb", "a\nb", "a\0", "", " a", "é", "{", "{a", "{}", "{a b}", "{a{b}"] {
            let refusal = refused(&policy(json!({ "request": { "set": { "x-a": value } } })));
            assert_eq!(refusal.field, "request.set[\"x-a\"]", "{value:?}");
        }
        let refusal = refused(&policy(json!({ "response": { "set": { "x-a": "a\r\nb" } } })));
        assert_eq!(refusal.field, "response.set[\"x-a\"]");
        built(&policy(json!({ "response": { "set": { "nel": "{\"max_age\":1}" } } })));
    }

    #[test]
    fn prefixes_that_no_path_has_are_refused() {
        for prefix in ["", "v1", "/v1/", "/", "/a//b", "/a/../b", "/%61", "/a?b", "/a#b", "/a%2"] {
            let change = json!({ "request": { "path": { "strip_prefix": prefix } } });
            assert_eq!(refused(&policy(change)).field, "request.path.strip_prefix", "{prefix:?}");
        }
        for to in ["", "v1", "/v1/", "/%{x}", "/{x", "/a?b", "/a/../{x}", "https://a", "//a"] {
            let change = json!({ "replace_prefix": { "from": "/v1", "to": to } });
            let refusal = refused(&policy(json!({ "request": { "path": change } })));
            assert_eq!(refusal.field, "request.path.replace_prefix.to", "{to:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let fields = [
            (json!({}), ""),
            (json!({ "request": { "set": { "X-A": "1", "x-a": "2" } } }), "request.set[\"x-a\"]"),
            (
                json!({ "request": { "set": { "x-a": "1" }, "remove": ["X-A"] } }),
                "request.remove[0]",
            ),
            (
                json!({ "response": { "set": { "x-a": "1" }, "remove": ["x-a"] } }),
                "response.remove[0]",
            ),
        ];
        for (settings, field) in fields {
            assert_eq!(refused(&policy(settings)).field, field);
        }
    }
}
