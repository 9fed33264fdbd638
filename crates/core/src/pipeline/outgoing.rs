//! From what the client sent to what the upstream may see.

use std::fmt::Write as _;

use http::header::{ACCEPT_ENCODING, CONNECTION, IF_RANGE, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::chain::Chain;
use crate::head::{Outgoing, Request};
use crate::hook::Carrier;
use crate::path::Target;
use crate::route::form_decoded;

const X_CONSUMER_NAME: HeaderName = HeaderName::from_static("x-consumer-name");
const X_CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");
const X_CONSUMER_PROVED_BY: HeaderName = HeaderName::from_static("x-consumer-proved-by");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Asks for the difference to an older answer (RFC 3229 section 10.5.3).
const A_IM: HeaderName = HeaderName::from_static("a-im");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Copies what may pass, and says who is calling in our own words. `None` where the target
/// without its credentials is none that could be sent.
pub(super) fn outgoing(chain: &Chain, request: &Request<'_>) -> Option<Outgoing> {
    let head = request.head;
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 8);
    let nominated = nominated(&head.headers);
    for (name, value) in &head.headers {
        if may_pass(chain, name) && !nominated.iter().any(|n| n == name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Ok(address) = HeaderValue::from_str(request.downstream.forwarded_for()) {
        headers.insert(X_FORWARDED_FOR, address);
    }
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(head.scheme.as_str()));
    if let Ok(host) = HeaderValue::from_str(head.host.as_str()) {
        headers.insert(X_FORWARDED_HOST, host);
    }
    if let Ok(id) = HeaderValue::from_str(&request.id.to_string()) {
        headers.insert(X_REQUEST_ID, id);
    }
    identify(&mut headers, request);
    Some(Outgoing { method: head.method.clone(), target: stripped(chain, &head.target)?, headers })
}

/// Whether a field of a client's head or trailers may reach the upstream: it governs no connection,
/// says nothing that only the gateway says, and carries no credential of the route's.
#[must_use]
pub fn may_pass(chain: &Chain, name: &HeaderName) -> bool {
    let carries = |c: &Carrier| matches!(c, Carrier::Header(h) if same_to_cgi(h, name));
    !is_hop_by_hop(name.as_str())
        && !is_reserved_header(name.as_str())
        && !chain.strip().iter().any(carries)
}

/// Asks the upstream for an answer that hooks on bodies can see all of: whole, and without a
/// content coding. Without a coding rather than with one that we undo: the client gets the bytes
/// undone in any case, so that coding them would cost both sides and win only the way between.
pub(super) fn ask_for_readable(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [RANGE, IF_RANGE, A_IM] {
        headers.remove(name);
    }
}

/// Words of proxies about the client, and words by which some frameworks take another path or
/// method than the one that was checked.
const RESERVED: &[&str] = &[
    "cf-connecting-ip",
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
    "x-rewrite-url",
];

/// The words in which only the gateway speaks to upstreams. `name` is in lower case; `_` counts
/// as `-`, since CGI-like upstreams cannot tell them apart.
#[must_use]
pub fn is_reserved_header(name: &str) -> bool {
    if !name.starts_with(['x', 'f', 't', 'c']) {
        return false;
    }
    let prefixed = |prefix: &str| {
        name.len() >= prefix.len()
            && name.bytes().zip(prefix.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    let is = |word: &str| name.len() == word.len() && prefixed(word);
    prefixed("x-consumer-") || prefixed("x-forwarded-") || RESERVED.iter().any(|word| is(word))
}

/// Headers of one connection only (RFC 9110 section 7.6.1), and those that frame the message; `_`
/// counts as `-` here too.
fn is_hop_by_hop(name: &str) -> bool {
    match name {
        "connection"
        | "te"
        | "trailer"
        | "transfer-encoding"
        | "upgrade"
        | "keep-alive"
        | "proxy-connection"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "http2-settings" => true,
        // `Host` is written anew for the endpoint; `Expect` was answered by us.
        "host" | "content-length" | "expect" => true,
        name if name.contains('_') => is_hop_by_hop(&name.replace('_', "-")),
        _ => false,
    }
}

/// The names that `Connection` nominates, in lower case.
fn nominated(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
        .filter(|name| !matches!(name.as_str(), "" | "keep-alive" | "close" | "upgrade"))
        .collect()
}

/// `x_api_key` is `x-api-key` to a CGI-like upstream.
fn same_to_cgi(carrier: &HeaderName, name: &HeaderName) -> bool {
    carrier == name
        || (carrier.as_str().len() == name.as_str().len()
            && carrier
                .as_str()
                .bytes()
                .zip(name.as_str().bytes())
                .all(|(a, b)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_'))))
}

fn identify(headers: &mut HeaderMap, request: &Request<'_>) {
    let Some(identity) = request.identity else { return };
    if let Ok(name) = HeaderValue::from_str(&identity.subject) {
        headers.insert(X_CONSUMER_NAME, name);
    }
    let joined = |parts: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for part in parts {
            let _ = write!(text, "{}{part}", if text.is_empty() { "" } else { ", " });
        }
        HeaderValue::from_str(&text)
    };
    if let Some(consumer) = identity.consumer.as_ref().filter(|c| !c.groups.is_empty())
        && let Ok(groups) = joined(&mut consumer.groups.iter().map(|g| &**g))
    {
        headers.insert(X_CONSUMER_GROUPS, groups);
    }
    if !identity.proved_by.is_empty()
        && let Ok(names) = joined(&mut identity.proved_by.iter().map(|n| &**n))
    {
        headers.insert(X_CONSUMER_PROVED_BY, names);
    }
}

/// The target without the query parameters that carry credentials.
fn stripped(chain: &Chain, target: &Target) -> Option<Target> {
    let carries = |pair: &str| {
        let key = pair.split('=').next().unwrap_or(pair);
        chain.strip().iter().any(|carrier| match carrier {
            Carrier::Query(name) => form_decoded(key).as_deref() == Some(name.as_bytes()),
            Carrier::Header(_) => false,
        })
    };
    let Some(query) = target.query().filter(|query| query.split('&').any(carries)) else {
        return Some(target.clone());
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !carries(pair)).collect();
    let text = if kept.is_empty() {
        target.path().to_owned()
    } else {
        format!("{}?{}", target.path(), kept.join("&"))
    };
    Target::parse_with(&text, target.needs()).ok()
}
