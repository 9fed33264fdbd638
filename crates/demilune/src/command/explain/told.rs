//! An explanation as text and as JSON.
//!
//! Invariant: the value of a header that was given is not printed among headers, and no query where
//! it may hold a key. What policies say of a request never holds a credential: that is theirs to
//! keep.

use std::fmt::Write as _;

use demilune_config::Document;
use demilune_config::diagnostic::clean;
use demilune_config::explain::{Explanation, Question};
use demilune_config::tree::looks_secret;
use demilune_core::trail::StepVerdict;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::output::columns;

/// Stands for the value of a header that was given.
const GIVEN: &str = "<as given>";
/// Stands for a value that may be a secret.
const CONCEALED: &str = "<not shown>";

/// The longest body of an answer that is printed, in bytes.
const BODY_SHOWN: usize = 4_096;

/// What is told of an explanation.
pub(super) struct Told<'a> {
    pub(super) document: &'a Document,
    pub(super) question: &'a Question,
    /// The headers given.
    pub(super) given: &'a HeaderMap,
    pub(super) explanation: &'a Explanation,
}

// Writing to a string cannot fail, so the results of `write!` are dropped throughout.
impl Told<'_> {
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n\n", clean(&self.request()));
        text.push_str(&columns(&self.facts()));
        self.trail(&mut text);
        let _ = writeln!(text, "\nverdict: {}", clean(&self.verdict()));
        self.answer(&mut text);
        self.upstream(&mut text);
        self.settings(&mut text);
        text
    }

    /// The request without its query, which may carry a key.
    fn request(&self) -> String {
        let head = &self.question.head;
        let query = if head.target.query().is_some() { "?…" } else { "" };
        let url =
            format!("{}://{}{}", head.scheme.as_str(), head.host.as_str(), head.target.path());
        format!("{} {url}{query} from {}", head.method, self.question.from)
    }

    fn facts(&self) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        let mut fact = |name: &str, what: &str, place: &str| {
            facts.push((name.to_owned(), format!("{what} ({place})")));
        };
        fact("listener", &self.explanation.listener, &self.listener_place());
        match &self.explanation.route {
            Some(route) => fact("route", &route.name, &route.source),
            None => facts.push(("route".to_owned(), "none matches".to_owned())),
        }
        if let Some((decision, place)) = &self.explanation.identity {
            facts.push(("identity".to_owned(), format!("{decision} ({place})")));
        }
        facts
    }

    fn listener_place(&self) -> String {
        self.document.location(&format!("listeners.{}", self.explanation.listener))
    }

    fn trail(&self, text: &mut String) {
        let trail = self.explanation.exchange.trail();
        let steps = trail.steps().iter();
        let mut rows: Vec<_> =
            steps.map(|step| (step.stage.name().to_owned(), step.to_string())).collect();
        for finding in trail.findings() {
            let seen = format!("{}: {} {}", finding.policy, finding.code, finding.text);
            rows.push(("finding".to_owned(), seen));
        }
        if !rows.is_empty() {
            let _ = write!(text, "\ntrail:\n{}", columns(&rows));
        }
    }

    /// `403 ip_restriction.address`, or that the upstream would be asked.
    fn verdict(&self) -> String {
        let status = self.explanation.status.as_u16();
        match (self.code(), &self.explanation.route) {
            (Some(code), _) => format!("{status} {code}"),
            (None, Some(route)) if self.explanation.outgoing.is_some() => {
                format!("the upstream `{}` is asked", route.upstream)
            }
            _ => format!("{status}, answered by the gateway"),
        }
    }

    /// The stable code of the refusal, if it is one.
    fn code(&self) -> Option<&'static str> {
        if self.explanation.outgoing.is_some() {
            return None;
        }
        match &self.explanation.exchange.trail().steps().last()?.verdict {
            StepVerdict::Deny { code, .. } => Some(code),
            StepVerdict::Fault { .. } => Some(demilune_core::pipeline::FAULT),
            _ => None,
        }
    }

    fn answer(&self, text: &mut String) {
        let asked = self.explanation.outgoing.is_some();
        let headers = self.headers(&self.explanation.response.headers, false);
        if asked && headers.is_empty() {
            return;
        }
        let title = if asked { "besides what the upstream answers" } else { "whole" };
        let _ = writeln!(text, "\nthe client reads ({title}):");
        if !asked {
            let _ = writeln!(text, "  {}", self.explanation.status);
        }
        lines(text, &headers);
        let body = self.body();
        if !body.is_empty() {
            let _ = writeln!(text, "\n  {}", clean(&body));
        }
    }

    fn body(&self) -> String {
        let body = &self.explanation.body;
        let shown = body.get(..BODY_SHOWN).unwrap_or(body);
        String::from_utf8_lossy(shown).into_owned()
    }

    fn upstream(&self, text: &mut String) {
        let (Some(outgoing), Some(route)) = (&self.explanation.outgoing, &self.explanation.route)
        else {
            return;
        };
        let _ = writeln!(text, "\nthe upstream `{}` is sent:", clean(&route.upstream));
        let _ = writeln!(text, "  {} {}", outgoing.method, clean(&self.target()));
        lines(text, &self.headers(&outgoing.headers, true));
    }

    /// Path and query as the upstream would be sent them. A query that was not touched may still
    /// hold a credential where the route keeps it.
    fn target(&self) -> String {
        let Some(outgoing) = &self.explanation.outgoing else { return String::new() };
        let route = self.explanation.route.as_ref();
        let config = route.and_then(|route| self.document.model.routes.get(&*route.name));
        let kept = config.is_none_or(|config| config.keep_credential.is_some());
        match outgoing.target.query() {
            Some(_) if kept => format!("{}?{GIVEN}", outgoing.target.path()),
            _ => outgoing.target.as_path_and_query().to_string(),
        }
    }

    /// Headers by name, with what may be told of their values. Whether there may be secrets: the
    /// document could set one for the upstream.
    fn headers(&self, headers: &HeaderMap, secrets: bool) -> Vec<(String, String)> {
        let shown = |(name, value): (&HeaderName, &HeaderValue)| {
            let conceal = secrets && looks_secret(name.as_str());
            (name.to_string(), self.value(value, conceal))
        };
        let mut all: Vec<_> = headers.iter().map(shown).collect();
        all.sort();
        all
    }

    fn value(&self, value: &HeaderValue, conceal: bool) -> String {
        if self.given.values().any(|given| given == value) {
            GIVEN.to_owned()
        } else if conceal {
            CONCEALED.to_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        }
    }

    fn settings(&self, text: &mut String) {
        let settings = &self.explanation.settings;
        if settings.is_empty() {
            return;
        }
        let width = settings.iter().map(|s| s.key.chars().count()).max().unwrap_or_default();
        let rows: Vec<_> = settings
            .iter()
            .map(|s| (format!("{:width$}  {}", s.key, s.value), s.source.clone()))
            .collect();
        let _ = write!(text, "\nvalues in force:\n{}", columns(&rows));
    }

    pub(super) fn json(&self) -> Value {
        let explanation = self.explanation;
        let steps = explanation.exchange.trail().steps().iter();
        let trail: Vec<_> = steps
            .map(|step| json!({ "stage": step.stage.name(), "step": step.to_string() }))
            .collect();
        let named = |name: &str, place: &str| json!({ "name": name, "place": place });
        let upstream = explanation.outgoing.as_ref().map(|outgoing| {
            json!({
                "name": explanation.route.as_ref().map(|route| &*route.upstream),
                "method": outgoing.method.as_str(),
                "target": self.target(),
                "headers": rows(&self.headers(&outgoing.headers, true)),
            })
        });
        let settings: Vec<_> = explanation
            .settings
            .iter()
            .map(|s| json!({ "key": s.key, "value": s.value, "place": s.source }))
            .collect();
        json!({
            "request": self.request(),
            "listener": named(&explanation.listener, &self.listener_place()),
            "route": explanation.route.as_ref().map(|route| named(&route.name, &route.source)),
            "identity": explanation.identity.as_ref().map(|(decision, place)| {
                json!({ "decision": decision, "place": place })
            }),
            "trail": trail,
            "status": explanation.status.as_u16(),
            "code": self.code(),
            "response": {
                "headers": rows(&self.headers(&explanation.response.headers, false)),
                "body": self.body(),
            },
            "upstream": upstream,
            "settings": settings,
        })
    }
}

fn rows(headers: &[(String, String)]) -> Vec<Value> {
    headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn lines(text: &mut String, headers: &[(String, String)]) {
    for (name, value) in headers {
        let _ = writeln!(text, "  {name}: {}", clean(value));
    }
}
