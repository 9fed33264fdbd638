//! The operator's endpoints: is it alive, is it ready, what does it count. Loopback only, and
//! read only.

use std::sync::{Arc, Mutex};

use demilune_telemetry::Telemetry;
use serde_json::json;

use crate::reload::{Status, lock};

/// Answers the operator.
#[derive(Clone)]
pub struct Admin {
    telemetry: Arc<Telemetry>,
    status: Arc<Mutex<Status>>,
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAnswer {
    /// The status.
    pub status: u16,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Admin {
    /// Answers from these.
    #[must_use]
    pub fn new(telemetry: Arc<Telemetry>, status: Arc<Mutex<Status>>) -> Self {
        Self { telemetry, status }
    }

    /// The gateway begins to end: not ready any more.
    pub fn drain(&self) {
        lock(&self.status).draining = true;
    }

    /// Answers `GET` or `HEAD` of `/livez`, `/readyz` and `/metrics`.
    #[must_use]
    pub fn answer(&self, method: &str, path: &str) -> AdminAnswer {
        let answer = |status, content_type, body| AdminAnswer { status, content_type, body };
        if !matches!(method, "GET" | "HEAD") {
            return answer(405, TEXT, "only GET is offered\n".to_owned());
        }
        match path {
            "/livez" => answer(200, TEXT, "ok\n".to_owned()),
            "/readyz" => self.ready(),
            "/metrics" => answer(200, demilune_telemetry::CONTENT_TYPE, self.telemetry.render()),
            _ => answer(404, TEXT, "there are /livez, /readyz and /metrics\n".to_owned()),
        }
    }

    /// Ready with any good document in force; a bad one on disk is told beside.
    fn ready(&self) -> AdminAnswer {
        let status = lock(&self.status).clone();
        let body = json!({
            "ready": !status.draining,
            "draining": status.draining,
            "config": { "version": status.version, "rejected": status.rejected },
        });
        let code = if status.draining { 503 } else { 200 };
        AdminAnswer { status: code, content_type: JSON, body: format!("{body}\n") }
    }
}
