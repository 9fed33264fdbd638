//! `request_size`: limits on the size of target, headers and body.
//!
//! Runs at the edge. A declared length over the limit is refused before a byte of the body is read;
//! a body without one is measured as it passes, so that chunked requests are held to the same
//! limit.

use std::sync::Arc;

use demilune_core::policy::Code;
use demilune_core::{
    BodyMeter, ByteSize, Denial, Env, Fault, Guard, Hooks, Invalid, Meta, Policy, Request,
    RequestHead, Slot, Stage, Verdict,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const HEADERS_MOST: ByteSize = ByteSize(64 << 10);
const TARGET_MOST: ByteSize = ByteSize(8 << 10);

/// Limits the size of requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestSize {
    /// The most bytes of body, as received: coded bodies are counted before they are decoded. `0B`
    /// admits no body. Default: `1MiB`.
    #[serde(default = "body")]
    pub body: ByteSize,
    /// The most bytes of all headers together: for each, its name, its value and 4 for what
    /// separates them. Default: `16KiB`; at most `64KiB`.
    #[serde(default = "headers")]
    pub headers: ByteSize,
    /// The most bytes of path and query together. Default: `4KiB`; at most `8KiB`.
    #[serde(default = "target")]
    pub target: ByteSize,
}

fn body() -> ByteSize {
    ByteSize(1 << 20)
}

fn headers() -> ByteSize {
    ByteSize(16 << 10)
}

fn target() -> ByteSize {
    ByteSize(4 << 10)
}

impl Policy for RequestSize {
    const META: Meta = Meta {
        name: "request_size",
        since: "0.1",
        codes: &[
            Code {
                code: "request_size.target",
                status: 414,
                meaning: "Path and query together are longer than `target`.",
            },
            Code {
                code: "request_size.headers",
                status: 431,
                meaning: "The headers together are longer than `headers`.",
            },
            Code {
                code: "request_size.body",
                status: 413,
                meaning: "The body is longer than `body`, as declared or as received.",
            },
        ],
    };

    fn build(&self, _: &Env<'_>) -> Result<Hooks, Invalid> {
        for (field, size, most) in
            [("headers", self.headers, HEADERS_MOST), ("target", self.target, TARGET_MOST)]
        {
            if size.0 == 0 || size > most {
                let reason = format!("expected a size from `1B` to `{most}`, found `{size}`");
                return Err(Invalid::new(field, reason));
            }
        }
        let limits = Arc::new(self.clone());
        Ok(Hooks::new().guard(Stage::Edge, &limits).body_meter(&limits))
    }

    fn weakens(&self, wider: &Self) -> Option<String> {
        [
            ("body", self.body, wider.body),
            ("headers", self.headers, wider.headers),
            ("target", self.target, wider.target),
        ]
        .into_iter()
        .find(|(_, mine, theirs)| mine > theirs)
        .map(|(field, mine, theirs)| format!("`{field}` is raised from {theirs} to {mine}"))
    }
}

impl Guard for RequestSize {
    fn check(&self, request: &Request<'_>, _: &mut Slot) -> Result<Verdict, Fault> {
        let head = request.head;
        let target = head.target.as_path_and_query().as_str().len();
        if over(target, self.target) {
            let public = format!("the request's target is longer than {}", self.target);
            let denial = Denial::new(StatusCode::URI_TOO_LONG, "request_size.target", public);
            return Ok(Verdict::deny(denial.log(format!("{target} bytes"))));
        }
        let headers = headers_size(head);
        if over(headers, self.headers) {
            let public = format!("the request's headers are larger than {}", self.headers);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let denial = Denial::new(status, "request_size.headers", public);
            return Ok(Verdict::deny(denial.log(format!("{headers} bytes"))));
        }
        match head.content_length {
            Some(declared) if declared > self.body.0 => {
                Ok(Verdict::deny(self.body_denial().log(format!("{declared} bytes declared"))))
            }
            _ => Ok(Verdict::Continue),
        }
    }
}

impl BodyMeter for RequestSize {
    fn measure(&self, received: u64) -> Result<(), Box<Denial>> {
        if received > self.body.0 {
            return Err(Box::new(self.body_denial().log(format!("{received} bytes received"))));
        }
        Ok(())
    }

    fn limit(&self) -> u64 {
        self.body.0
    }
}

impl RequestSize {
    fn body_denial(&self) -> Denial {
        let public = format!("the request's body is larger than {}", self.body);
        Denial::new(StatusCode::PAYLOAD_TOO_LARGE, "request_size.body", public)
    }
}

fn headers_size(head: &RequestHead) -> usize {
    // As HTTP/1.1 writes them: `name: value` and a line's end.
    head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn over(found: usize, limit: ByteSize) -> bool {
    u64::try_from(found).map_or(true, |found| found > limit.0)
}

#[cfg(test)]
mod tests {
    use demilune_testkit::check;
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::fixture::refused;

    fn size(settings: Value) -> RequestSize {
        from_value(settings).unwrap()
    }

    #[test]
    fn a_body_is_admitted_up_to_its_limit_and_not_beyond() {
        let policies = "policies: [{request_size: {body: 4B}}]";
        check(policies, "POST /\n\n1234", "200 | request_size: continue");
        check(policies, "GET /", "200 | request_size: continue");
        check(
            policies,
            "POST /\n\n12345",
            "413 | request_size: deny 413 request_size.body (5 bytes declared)",
        );
    }

    #[test]
    fn a_body_without_a_declared_length_is_measured() {
        let limits = size(json!({ "body": "4B" }));
        assert_eq!(limits.limit(), 4);
        assert!(limits.measure(0).is_ok() && limits.measure(4).is_ok());
        let denial = limits.measure(5).unwrap_err();
        assert_eq!((denial.status.as_u16(), denial.code), (413, "request_size.body"));
        assert!(limits.measure(u64::MAX).is_err());
    }

    #[test]
    fn headers_are_counted_together() {
        let policies = "policies: [{request_size: {headers: 35B}}]";
        // `host: localhost` makes 17, each of the others 6.
        check(policies, "GET /\na: 1\nb: 2\nc: 3", "200 | request_size: continue");
        check(
            policies,
            "GET /\na: 1\na: 2\na: 3\na: 4",
            "431 | request_size: deny 431 request_size.headers (41 bytes)",
        );
    }

    #[test]
    fn the_target_is_counted_with_its_query() {
        let policies = "policies: [{request_size: {target: 8B}}]";
        check(policies, "GET /a?b=123", "200 | request_size: continue");
        let denied = "414 | request_size: deny 414 request_size.target (9 bytes)";
        check(policies, "GET /a?b=1234", denied);
        check(policies, "GET /12345678", denied);
    }

    #[test]
    fn a_stranger_is_refused_before_authentication() {
        check(
            "authenticate: keys\npolicies: [{request_size: {body: 4B}}]",
            "POST /\nx-api-key: wrong\n\n12345",
            "413 | request_size: deny 413 request_size.body (5 bytes declared)",
        );
    }

    #[test]
    fn limits_that_the_listener_could_not_keep_are_refused() {
        for (settings, field) in [
            (json!({ "headers": "65KiB" }), "headers"),
            (json!({ "headers": "0B" }), "headers"),
            (json!({ "target": "9KiB" }), "target"),
            (json!({ "target": "0B" }), "target"),
        ] {
            assert_eq!(refused(&size(settings)).field, field);
        }
    }

    #[test]
    fn a_larger_limit_is_weaker() {
        let wider = size(json!({ "body": "2MiB" }));
        assert_eq!(size(json!({})).weakens(&wider), None);
        assert_eq!(wider.weakens(&size(json!({}))).unwrap(), "`body` is raised from 1MiB to 2MiB");
        assert!(size(json!({ "headers": "17KiB" })).weakens(&wider).is_some());
        assert!(size(json!({ "target": "5KiB" })).weakens(&wider).is_some());
    }
}
