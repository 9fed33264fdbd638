//! What is settled about a request before a route is looked for: whether it may come in here, and
//! whose it is.

use std::rc::Rc;

use demilune_core::{Denial, Downstream, RequestHead, ResponseHead};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::Connection;
use crate::generation::Serving;
use crate::listener::forwarded;

/// A refusal before a route is known, and who makes it.
pub(super) type Turned = (&'static str, Box<Denial>);

/// The listener that serves the request, and who its client is where that is another than for the
/// connection as a whole.
///
/// # Errors
/// Where the listener is gone, the request is for a name that has another certificate than the one
/// that was asked for, or it cannot be told whose it is.
pub(super) fn arrive<'s>(
    serving: Option<&'s Serving>,
    connection: &Connection,
    head: &RequestHead,
) -> Result<(&'s Serving, Option<Rc<Downstream>>), Turned> {
    let downstream = &connection.downstream;
    let secure = downstream.tls.is_some();
    let refused = |by, status, code, public: &'static str| {
        Err((by, Box::new(Denial::new(status, code, public))))
    };
    // A connection from before a reload that asks for TLS here must not go on without.
    let Some(serving) = serving.filter(|serving| serving.tls.is_some() == secure) else {
        let public = "this address is no longer served";
        return refused("listener", StatusCode::SERVICE_UNAVAILABLE, "listener.gone", public);
    };
    let asked_for = downstream.tls.as_ref().and_then(|facts| facts.server_name.as_deref());
    if let (Some(tls), Some(asked_for)) = (&serving.tls, asked_for)
        && !tls.answers_for(asked_for, head.host.name())
    {
        // RFC 9110 section 7.4.
        let public = "this connection was opened for another name";
        return refused("tls", StatusCode::MISDIRECTED_REQUEST, "tls.misdirected", public);
    }
    let Some(trusted) = &serving.listener.trusted_proxies else { return Ok((serving, None)) };
    match forwarded::downstream(trusted, downstream, &head.headers) {
        Ok(own) => Ok((serving, own.map(Rc::new))),
        Err(denial) => Err(("forwarded", denial)),
    }
}

/// The answer of a listener that only sends clients to where they are served.
pub(super) fn redirection(head: &RequestHead) -> ResponseHead {
    let (path, query) = (head.target.path(), head.target.query());
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let place = format!("https://{}{path}{query}", head.host.name());
    let mut headers = HeaderMap::new();
    if let Ok(place) = HeaderValue::try_from(place) {
        headers.insert(LOCATION, place);
    }
    ResponseHead { status: StatusCode::PERMANENT_REDIRECT, headers }
}
