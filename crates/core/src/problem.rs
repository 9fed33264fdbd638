//! The one place that renders a refusal for the client: RFC 9457 `application/problem+json`.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue};

use crate::head::{RequestId, ResponseHead};
use crate::verdict::Denial;

/// The answer to a refused request: what the client may read, and the id by which the operator
/// finds the rest.
#[must_use]
pub fn render(denial: &Denial, id: RequestId) -> (ResponseHead, Bytes) {
    let status = denial.status;
    let mut body = String::with_capacity(192);
    body.push_str("{\"title\":");
    push_json(&mut body, status.canonical_reason().unwrap_or("Refused"));
    let _ = write!(body, ",\"status\":{}", status.as_u16());
    body.push_str(",\"detail\":");
    push_json(&mut body, &denial.public);
    let mut headers = HeaderMap::with_capacity(4 + denial.headers.len());
    if let Some(after) = denial.retry_after {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        let seconds = seconds.max(1);
        let _ = write!(body, ",\"retry_after\":{seconds}");
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let _ = write!(body, ",\"request_id\":\"{id}\"}}");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in &denial.headers {
        headers.append(name.clone(), value.clone());
    }
    (ResponseHead { status, headers }, Bytes::from(body))
}

/// Appends `text` as a JSON string (RFC 8259 section 7).
fn push_json(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::*;

    #[test]
    fn a_refusal_says_what_the_client_may_read_and_no_more() {
        let denial =
            Denial::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit.exceeded", "slow \"down\"\n")
                .log("198.51.100.7 over 10/s")
                .retry_after(Duration::from_millis(1200));
        let (head, body) = render(&denial, RequestId(0xab));
        assert_eq!(
            body,
            "{\"title\":\"Too Many Requests\",\"status\":429,\
             \"detail\":\"slow \\\"down\\\"\\u000a\",\
             \"retry_after\":2,\"request_id\":\"000000000000000000000000000000ab\"}"
        );
        assert_eq!(head.headers["retry-after"], "2");
        assert_eq!(head.headers["content-type"], "application/problem+json");
    }
}
