//! Requests that a narrowed or removed route gives up, and that a laxer route takes.
//!
//! Taking `/admin/**` out closes nothing where a public `/**` stands behind it. Whether a route
//! takes over is not concluded but tried: a request that both match is looked up before and after,
//! by the rules by which the gateway itself finds routes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use demilune_core::chain::{Chain, Requirement};
use demilune_core::route::{HostPattern, Lookup, Matches, Route, RouteIndex, Segment, Template};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::routes::{Side, admits_more, below, callers, losses};
use super::{Judgements, Pair};
use crate::model::{MatchConfig, Model, RouteConfig};

/// The most requests tried for one pair of routes.
const TRIES: usize = 64;

pub(super) fn judge(pair: Pair<'_>, judgements: &mut Judgements) {
    let (before, after) = (&pair.before.model, &pair.after.model);
    let gave_up = |name: &String, old: &RouteConfig| {
        after.routes.get(name).is_none_or(|new| {
            let json = |route: &RouteConfig| serde_json::to_value(&route.matches).ok();
            new.listener != old.listener || json(new) != json(old)
        })
    };
    let changed: Vec<_> = before.routes.iter().filter(|(name, old)| gave_up(name, old)).collect();
    if changed.is_empty() {
        return;
    }
    let (was, is) = (Indexes::of(before), Indexes::of(after));
    for (name, old) in changed {
        for (taker, new) in after.routes.iter().filter(|(taker, _)| *taker != name) {
            let old_side = Side::of(pair.before, name, old);
            let Some(why) = laxer(old_side, old, Side::of(pair.after, taker, new), new) else {
                continue;
            };
            let Some(request) = taken(&was, &is, name, taker) else { continue };
            let path = match after.routes.contains_key(name) {
                true => format!("routes.{name}.match"),
                false => format!("routes.{name}"),
            };
            judgements.at(path, format!("`{request}` is served by `{taker}` now: {why}"));
        }
    }
}

/// How `new` asks less of a caller than `old`.
fn laxer(
    old_side: Side<'_>,
    old: &RouteConfig,
    new_side: Side<'_>,
    new: &RouteConfig,
) -> Option<String> {
    if admits_more(old, new).is_some() {
        return Some(format!("open to {}", callers(new)));
    }
    losses(old_side, new_side).into_iter().next().map(|loss| loss.why)
}

/// A request that `name` served before and `taker` serves after.
fn taken(was: &Indexes, is: &Indexes, name: &str, taker: &str) -> Option<Witness> {
    let (old, new) = (was.routes.get(name)?, is.routes.get(taker)?);
    let listeners: Vec<_> = was
        .listeners
        .iter()
        .filter_map(|(listener, index)| Some((index, is.listeners.get(listener)?)))
        .collect();
    witnesses(&old.matches, &new.matches).into_iter().find(|request| {
        let finds = |index: &RouteIndex, name: &str| {
            index.find(&request.lookup()).is_some_and(|route| &*route.name == name)
        };
        listeners.iter().any(|(was, is)| finds(was, name) && finds(is, taker))
    })
}

/// The routes of a document as the gateway would look for them, without their policies.
struct Indexes {
    routes: BTreeMap<String, Arc<Route>>,
    listeners: BTreeMap<String, RouteIndex>,
}

impl Indexes {
    fn of(model: &Model) -> Self {
        let route = |(name, config): (&String, &RouteConfig)| {
            let route = Route {
                name: name.as_str().into(),
                source: "".into(),
                matches: matches(&config.matches)?,
                upstream: config.upstream.as_str().into(),
                chain: Chain::new(Requirement::Public, Vec::new(), Vec::new()),
                websocket: false,
                path_exceptions: demilune_core::PathExceptions::default(),
            };
            Some((name.clone(), Arc::new(route)))
        };
        let routes: BTreeMap<_, _> = model.routes.iter().filter_map(route).collect();
        let serves = |listener: &String, name: &String| {
            let only = model.routes.get(name).and_then(|config| config.listener.as_ref());
            only.is_none_or(|only| only == listener)
        };
        let index = |listener: &String| {
            let served = routes.iter().filter(|(name, _)| serves(listener, name));
            let served: Vec<_> = served.map(|(_, route)| Arc::clone(route)).collect();
            (listener.clone(), RouteIndex::build(&served).0)
        };
        let listeners = model.listeners.keys().map(index).collect();
        Self { routes, listeners }
    }
}

/// `None` where a pattern is wrong, which `check` tells.
fn matches(config: &MatchConfig) -> Option<Matches> {
    let value = |text: &String| (text != "*").then(|| text.clone());
    let header = |(name, wanted): (&String, &String)| {
        Some((name.parse::<HeaderName>().ok()?, value(wanted)))
    };
    Some(Matches {
        hosts: config
            .hosts
            .iter()
            .map(|host| HostPattern::parse(host).ok())
            .collect::<Option<_>>()?,
        path: Template::parse(&config.path).ok()?,
        methods: config.methods.iter().map(|m| m.parse().ok()).collect::<Option<_>>()?,
        headers: config.headers.iter().map(header).collect::<Option<_>>()?,
        query: config.query.iter().map(|(name, wanted)| (name.clone(), value(wanted))).collect(),
    })
}

/// A request that satisfies two routes.
#[derive(Debug, Clone)]
struct Witness {
    method: Method,
    host: String,
    path: String,
    headers: HeaderMap,
    query: String,
}

impl Witness {
    fn lookup(&self) -> Lookup<'_> {
        Lookup {
            host: &self.host,
            path: &self.path,
            method: &self.method,
            preflight: None,
            headers: &self.headers,
            query: (!self.query.is_empty()).then_some(self.query.as_str()),
        }
    }
}

impl std::fmt::Display for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}{}", self.method, self.host, self.path)
    }
}

fn witnesses(a: &Matches, b: &Matches) -> Vec<Witness> {
    let Some((headers, query)) = common_conditions(a, b) else { return Vec::new() };
    let (hosts, methods) = (common_hosts(&a.hosts, &b.hosts), common_methods(a, b));
    let mut all = Vec::new();
    for path in common_paths(&a.path, &b.path) {
        for (host, method) in hosts.iter().flat_map(|h| methods.iter().map(move |m| (h, m))) {
            all.push(Witness {
                method: method.clone(),
                host: host.clone(),
                path: path.clone(),
                headers: headers.clone(),
                query: query.clone(),
            });
            if all.len() == TRIES {
                return all;
            }
        }
    }
    all
}

/// Stands for whatever a pattern leaves open: no route names it by chance.
const ANY: &str = "example";

fn common_hosts(a: &[HostPattern], b: &[HostPattern]) -> BTreeSet<String> {
    let open = [HostPattern::Below("invalid".to_owned())];
    let (a, b) = match (a.is_empty(), b.is_empty()) {
        (true, true) => (&open[..], &open[..]),
        (true, false) => (b, b),
        (false, true) => (a, a),
        (false, false) => (a, b),
    };
    let common = |a: &HostPattern, b: &HostPattern| match (a, b) {
        (HostPattern::Exact(a), HostPattern::Exact(b)) => (a == b).then(|| a.clone()),
        (HostPattern::Exact(name), HostPattern::Below(suffix))
        | (HostPattern::Below(suffix), HostPattern::Exact(name)) => {
            below(suffix, name).then(|| name.clone())
        }
        (HostPattern::Below(a), HostPattern::Below(b)) if a == b || below(a, b) => {
            Some(format!("{ANY}.{b}"))
        }
        (HostPattern::Below(a), HostPattern::Below(b)) => below(b, a).then(|| format!("{ANY}.{a}")),
    };
    a.iter().flat_map(|a| b.iter().filter_map(move |b| common(a, b))).collect()
}

fn common_methods(a: &Matches, b: &Matches) -> Vec<Method> {
    let admits = |list: &[Method], method: &Method| {
        let get = method == Method::HEAD && list.contains(&Method::GET);
        list.is_empty() || get || list.contains(method)
    };
    let mut all: Vec<Method> = a.methods.iter().chain(&b.methods).cloned().collect();
    if all.is_empty() {
        all.push(Method::GET);
    }
    all.retain(|method| admits(&a.methods, method) && admits(&b.methods, method));
    all.dedup();
    all
}

/// Paths that both match: where both leave the end open, of several lengths.
fn common_paths(a: &Template, b: &Template) -> Vec<String> {
    let (a, b) = (a.segments(), b.segments());
    let mut path = String::new();
    for index in 0.. {
        let segment = match (a.get(index), b.get(index)) {
            (None | Some(Segment::Rest), None) | (None, Some(Segment::Rest)) => break,
            (Some(Segment::Rest), _) => return ends(&path, b, index),
            (_, Some(Segment::Rest)) => return ends(&path, a, index),
            (Some(Segment::Parameter(_)), Some(Segment::Parameter(_))) => ANY,
            (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => a,
            (Some(Segment::Literal(only)), Some(Segment::Parameter(_)))
            | (Some(Segment::Parameter(_)), Some(Segment::Literal(only)))
                if !only.is_empty() =>
            {
                only
            }
            _ => return Vec::new(),
        };
        let _ = write!(path, "/{segment}");
    }
    vec![if path.is_empty() { "/".to_owned() } else { path }]
}

/// The paths that begin with `path` and go on as `segments` from `index` on, where the other
/// template leaves the end open.
fn ends(path: &str, segments: &[Segment], index: usize) -> Vec<String> {
    let mut path = path.to_owned();
    let mut open = false;
    for segment in segments.iter().skip(index) {
        match segment {
            Segment::Literal(text) => path = format!("{path}/{text}"),
            Segment::Parameter(_) => path = format!("{path}/{ANY}"),
            Segment::Rest => open = true,
        }
    }
    if !open {
        return vec![path];
    }
    let longer = [format!("{path}/{ANY}"), format!("{path}/{ANY}/{ANY}")];
    let shortest = if path.is_empty() { "/".to_owned() } else { path };
    longer.into_iter().chain([shortest]).collect()
}

/// Headers and a query that satisfy both; `None` where they ask for different values.
fn common_conditions(a: &Matches, b: &Matches) -> Option<(HeaderMap, String)> {
    let mut headers = HeaderMap::new();
    for (name, wanted) in merged(&a.headers, &b.headers)? {
        let value = wanted.as_deref().unwrap_or(ANY);
        headers.insert(name.clone(), HeaderValue::from_str(value).ok()?);
    }
    let mut query = String::new();
    for (name, wanted) in merged(&a.query, &b.query)? {
        let separator = if query.is_empty() { "" } else { "&" };
        let value = wanted.as_deref().unwrap_or(ANY);
        let _ = write!(query, "{separator}{}={}", encoded(name), encoded(value));
    }
    Some((headers, query))
}

type Conditions<'m, N> = Vec<(&'m N, &'m Option<String>)>;

fn merged<'m, N: PartialEq>(
    a: &'m [(N, Option<String>)],
    b: &'m [(N, Option<String>)],
) -> Option<Conditions<'m, N>> {
    let mut all: Conditions<'m, N> = a.iter().map(|(name, wanted)| (name, wanted)).collect();
    for (name, wanted) in b {
        match all.iter_mut().find(|(other, _)| *other == name) {
            Some((_, other)) if other.is_none() => *other = wanted,
            Some((_, other)) if wanted.is_some() && *other != wanted => return None,
            Some(_) => {}
            None => all.push((name, wanted)),
        }
    }
    Some(all)
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
