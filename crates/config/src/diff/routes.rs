//! What loosens on routes: who may call, what is matched, which policies are in force.

use demilune_core::route::{HostPattern, Segment, Template};
use demilune_policies::PolicyConfig;

use super::leaves::policy_at;
use super::objects::in_the_clear;
use super::{At, Judgements, Pair};
use crate::compile::{Effective, effective, opened_by};
use crate::document::Document;
use crate::model::{Authenticate, MatchConfig, RouteConfig};

pub(super) fn judge(pair: Pair<'_>, judgements: &mut Judgements) {
    for (name, new) in &pair.after.model.routes {
        let path = format!("routes.{name}");
        let Some(old) = pair.before.model.routes.get(name) else {
            judgements.at(path, format!("{} is served to {}", serves(&new.matches), callers(new)));
            continue;
        };
        if let Some((field, why)) = admits_more(old, new) {
            judgements.at(format!("{path}.{field}"), why);
        }
        for (field, why) in widened(&old.matches, &new.matches) {
            judgements.at(format!("{path}.match.{field}"), why);
        }
        if let Some(old) = &old.listener
            && new.listener.as_ref() != Some(old)
        {
            judgements.at(format!("{path}.listener"), "other clients reach it");
        }
        let upstream =
            |document: &Document, name: &str| document.model.upstreams.get(name).cloned();
        if old.upstream != new.upstream
            && let Some(was) = upstream(pair.before, &old.upstream)
            && let Some(is) = upstream(pair.after, &new.upstream)
            && let Some(why) = in_the_clear(&was, &is)
        {
            judgements.at(format!("{path}.upstream"), why);
        }
        if old.keep_credential.is_none() && new.keep_credential.is_some() {
            let why = "the upstream gets to see the callers' credentials";
            judgements.at(format!("{path}.keep_credential"), why);
        }
        if old.websocket.is_none() && new.websocket.is_some() {
            let why = "what goes through WebSockets is not looked at";
            judgements.at(format!("{path}.websocket"), why);
        }
        let exceptions = old.path_exceptions.reasons().into_iter();
        for ((key, was), (_, is)) in exceptions.zip(new.path_exceptions.reasons()) {
            if was.is_none() && is.is_some() {
                let why = "two servers may understand such paths differently";
                judgements.at(format!("{path}.path_exceptions.{key}"), why);
            }
        }
        for loss in losses(Side::of(pair.before, name, old), Side::of(pair.after, name, new)) {
            let sides = (true, loss.stays);
            let route = loss.shared.then_some(name.as_str());
            judgements.push(loss.at, loss.why, route, sides);
        }
    }
}

/// `GET, POST api.example.com/v1/**`.
fn serves(matches: &MatchConfig) -> String {
    let methods = match matches.methods.as_slice() {
        [] => String::new(),
        methods => format!("{} ", methods.join(", ")),
    };
    format!("{methods}{}{}", super::shortened(&matches.hosts), matches.path)
}

/// Who may call a route, in words.
pub(super) fn callers(route: &RouteConfig) -> String {
    match (&route.authenticate, &route.public) {
        (_, Some(_)) => "anybody".to_owned(),
        (Some(Authenticate::AllOf(names)), None) => {
            format!("callers proved by all of: {}", names.join(", "))
        }
        (Some(Authenticate::AnyOf { names, anonymous }), None) => {
            let nobody = if anonymous.is_some() { ", and without any credential" } else { "" };
            format!("callers proved by any of: {}{nobody}", names.join(", "))
        }
        (None, None) => "nobody".to_owned(),
    }
}

/// Whether somebody may call `new` who could not call `old`, by the field that says so.
///
/// Both decisions are monotone in what a caller can prove, so it is enough to look for a smallest
/// set of proofs that satisfies the new one and not the old one.
pub(super) fn admits_more(old: &RouteConfig, new: &RouteConfig) -> Option<(&'static str, String)> {
    if old.public.is_some() {
        return None;
    }
    if new.public.is_some() {
        return Some(("public", "anybody may call it".to_owned()));
    }
    let (Some(old), Some(new)) = (&old.authenticate, &new.authenticate) else {
        let unknown = "the document before did not say who may call it".to_owned();
        return new.authenticate.is_some().then_some(("authenticate", unknown));
    };
    let fewer = |missing: &[&String]| {
        let missing: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
        format!("callers need not prove {}", super::shortened(&missing))
    };
    match (old, new) {
        (Authenticate::AllOf(old), Authenticate::AllOf(new)) => {
            let missing: Vec<&String> = old.iter().filter(|name| !new.contains(name)).collect();
            (!missing.is_empty()).then(|| ("authenticate.all_of", fewer(&missing)))
        }
        (Authenticate::AllOf(old), Authenticate::AnyOf { names, anonymous }) => {
            if anonymous.is_some() {
                return Some(("authenticate.anonymous", ANONYMOUS.to_owned()));
            }
            let enough = names.iter().find(|name| old.iter().any(|needed| needed != *name))?;
            let why = format!("`{enough}` alone is enough");
            Some(("authenticate.any_of", why))
        }
        (Authenticate::AnyOf { names, .. }, Authenticate::AllOf(new)) => {
            let kept = new.iter().any(|name| names.contains(name));
            let why = || format!("callers are proved by {}", new.join(", "));
            (!kept).then(|| ("authenticate.all_of", why()))
        }
        (
            Authenticate::AnyOf { names: old, anonymous: was },
            Authenticate::AnyOf { names: new, anonymous: is },
        ) => {
            if was.is_none() && is.is_some() {
                return Some(("authenticate.anonymous", ANONYMOUS.to_owned()));
            }
            let more = new.iter().find(|name| !old.contains(name))?;
            Some(("authenticate.any_of", format!("`{more}` is enough")))
        }
    }
}

const ANONYMOUS: &str = "requests without any credential pass";

/// The conditions of a route that admit more than they did.
fn widened(old: &MatchConfig, new: &MatchConfig) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(host) = new_host(&old.hosts, &new.hosts) {
        found.push(("hosts".to_owned(), format!("{host} is served too")));
    }
    let wider = match (Template::parse(&old.path), Template::parse(&new.path)) {
        (Ok(old), Ok(new)) => !covers(&old, &new),
        _ => old.path != new.path,
    };
    if wider {
        found.push(("path".to_owned(), "other paths are served".to_owned()));
    }
    if let Some(method) = new_method(&old.methods, &new.methods) {
        found.push(("methods".to_owned(), format!("{method} is served too")));
    }
    for (section, old, new) in
        [("headers", &old.headers, &new.headers), ("query", &old.query, &new.query)]
    {
        for (name, value) in old {
            let asked = new.get(name).is_some_and(|now| value == "*" || now == value);
            if !asked {
                let field = crate::tree::join_key(section, name);
                found.push((field, "requests with other values are served".to_owned()));
            }
        }
    }
    found
}

fn new_host(old: &[String], new: &[String]) -> Option<String> {
    if old.is_empty() {
        return None;
    }
    if new.is_empty() {
        return Some("any host".to_owned());
    }
    let admitted = |host: &&String| {
        let parsed = |text: &String| HostPattern::parse(text).ok();
        old.iter().any(|other| match (parsed(other), parsed(host)) {
            (Some(wide), Some(narrow)) => host_covers(&wide, &narrow),
            _ => other == *host,
        })
    };
    new.iter().find(|host| !admitted(host)).cloned()
}

fn host_covers(wide: &HostPattern, narrow: &HostPattern) -> bool {
    match (wide, narrow) {
        (HostPattern::Exact(wide), HostPattern::Exact(narrow)) => wide == narrow,
        (HostPattern::Exact(_), HostPattern::Below(_)) => false,
        (HostPattern::Below(wide), HostPattern::Exact(narrow)) => below(wide, narrow),
        (HostPattern::Below(wide), HostPattern::Below(narrow)) => {
            wide == narrow || below(wide, narrow)
        }
    }
}

/// Whether `name` has labels in front of `suffix`.
pub(super) fn below(suffix: &str, name: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|labels| labels.ends_with('.'))
}

fn new_method(old: &[String], new: &[String]) -> Option<String> {
    if old.is_empty() {
        return None;
    }
    if new.is_empty() {
        return Some("any method".to_owned());
    }
    let has = |method: &str| old.iter().any(|other| other == method);
    let admitted = |method: &&String| has(method) || (*method == "HEAD" && has("GET"));
    new.iter().find(|method| !admitted(method)).cloned()
}

/// Whether `wide` matches every path that `narrow` matches.
fn covers(wide: &Template, narrow: &Template) -> bool {
    let (wide, narrow) = (wide.segments(), narrow.segments());
    for (index, segment) in wide.iter().enumerate() {
        let covered = match (segment, narrow.get(index)) {
            (Segment::Rest, _) => return true,
            (Segment::Parameter(_), Some(Segment::Parameter(_))) => true,
            (Segment::Parameter(_), Some(Segment::Literal(text))) => !text.is_empty(),
            (Segment::Literal(wide), Some(Segment::Literal(narrow))) => wide == narrow,
            _ => false,
        };
        if !covered {
            return false;
        }
    }
    wide.len() == narrow.len()
}

/// A route of one document.
#[derive(Clone, Copy)]
pub(super) struct Side<'d> {
    document: &'d Document,
    name: &'d str,
    config: &'d RouteConfig,
}

impl<'d> Side<'d> {
    pub(super) fn of(document: &'d Document, name: &'d str, config: &'d RouteConfig) -> Self {
        Self { document, name, config }
    }

    fn effective(&self) -> Vec<Effective<'d>> {
        effective(self.document, self.config, self.name)
    }

    /// Where a policy of this route stands, for the reader: on the route or in the defaults.
    fn level(&self, inherited: bool) -> String {
        if inherited {
            "defaults.policies".to_owned()
        } else {
            format!("routes.{}.policies", self.name)
        }
    }
}

/// A policy that holds less than it did.
pub(super) struct Loss {
    pub(super) at: At,
    pub(super) why: String,
    /// Whether there is still such a policy.
    stays: bool,
    /// Whether it is a default, before and after.
    shared: bool,
}

/// Every policy in force before that is gone, weaker, or open to faults after.
pub(super) fn losses(old: Side<'_>, new: Side<'_>) -> Vec<Loss> {
    let mut all = Vec::new();
    let now = new.effective();
    for was in old.effective() {
        let key = was.policy.key();
        let is = now.iter().find(|effective| effective.policy.key() == key);
        let shared = was.inherited && is.is_none_or(|is| is.inherited);
        let at = At {
            before: was.path.clone(),
            after: is.map(|is| is.path.clone()).unwrap_or_default(),
            ..label(old, new, was.policy, shared)
        };
        let loss = |at: At, why: String| Loss { at, why, stays: is.is_some(), shared };
        let Some(is) = is else {
            all.push(loss(at, format!("`{key}` is no longer in force")));
            continue;
        };
        if let Some(how) = is.policy.weakens(was.policy) {
            all.push(loss(at, format!("weaker than before: {how}")));
        }
        let opened = opened_by(new.document, new.config, new.name, is);
        if let Some(path) = opened
            && opened_by(old.document, old.config, old.name, &was).is_none()
        {
            let why = format!("`{key}` lets pass what it cannot decide about");
            let shared = path.starts_with("defaults.");
            all.push(Loss { at: At::path(path), why, stays: true, shared });
        }
    }
    all
}

fn label(old: Side<'_>, new: Side<'_>, policy: &PolicyConfig, inherited: bool) -> At {
    let level = if inherited { old.level(true) } else { new.level(false) };
    policy_at(&At::path(level), policy, None, None)
}
