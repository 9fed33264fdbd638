//! Finding the route of a request: one hash look-up for the host, one step a segment for the path.

use std::sync::Arc;

// The keys are the document's: no client can choose ones that collide, so a quick hash will do.
use hashbrown::HashMap;
use http::{HeaderMap, Method};

use super::{HostPattern, Route, Segment};

/// What a look-up needs of a request.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// The host's name, in lower case.
    pub host: &'a str,
    /// The canonical path.
    pub path: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The method that a CORS preflight asks for.
    pub preflight: Option<&'a Method>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The query.
    pub query: Option<&'a str>,
}

/// The routes of one listener, indexed.
#[derive(Debug, Default)]
pub struct RouteIndex {
    exact: HashMap<String, Tree>,
    below: HashMap<String, Tree>,
    any: Tree,
}

/// A route that can never win.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// The route.
    pub route: Arc<str>,
    /// One that matches all it matches, and wins.
    pub by: Arc<str>,
}

impl RouteIndex {
    /// Indexes `routes` and the endpoints of their policies, and names the routes that can never
    /// win.
    #[must_use]
    pub fn build(routes: &[Arc<Route>]) -> (Self, Vec<Shadowed>) {
        let mut index = Self::default();
        for route in routes {
            index.insert(route);
            for endpoint in route.at_endpoints() {
                index.insert(&Arc::new(endpoint));
            }
        }
        let mut shadows: HashMap<Arc<str>, (usize, Arc<str>)> = HashMap::new();
        let trees = index.exact.values_mut().chain(index.below.values_mut());
        for tree in trees.chain(std::iter::once(&mut index.any)) {
            for (route, by) in tree.sort() {
                shadows.entry(route).or_insert((0, by)).0 += 1;
            }
        }
        let mut shadowed: Vec<Shadowed> = routes
            .iter()
            .filter_map(|route| {
                let (times, by) = shadows.get(&route.name)?;
                (*times >= route.matches.hosts.len().max(1))
                    .then(|| Shadowed { route: Arc::clone(&route.name), by: Arc::clone(by) })
            })
            .collect();
        shadowed.sort_by(|a, b| a.route.cmp(&b.route));
        (index, shadowed)
    }

    fn insert(&mut self, route: &Arc<Route>) {
        if route.matches.hosts.is_empty() {
            self.any.insert(route);
        }
        for host in &route.matches.hosts {
            let tree = match host {
                HostPattern::Exact(name) => self.exact.entry(name.clone()).or_default(),
                HostPattern::Below(name) => self.below.entry(name.clone()).or_default(),
            };
            tree.insert(route);
        }
    }

    /// The route that wins; see the module for the rules. The cost grows with the path's segments
    /// and with how many templates differ only behind parameters, not with the number of routes.
    #[must_use]
    pub fn find(&self, lookup: &Lookup<'_>) -> Option<&Arc<Route>> {
        if let Some(route) = self.exact.get(lookup.host).and_then(|tree| tree.find(lookup)) {
            return Some(route);
        }
        if !self.below.is_empty() {
            let mut rest = lookup.host;
            while let Some((_, suffix)) = rest.split_once('.') {
                if let Some(route) = self.below.get(suffix).and_then(|tree| tree.find(lookup)) {
                    return Some(route);
                }
                rest = suffix;
            }
        }
        self.any.find(lookup)
    }
}

/// The routes of one host as a tree of segments.
#[derive(Debug)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, usize>,
    parameter: Option<usize>,
    end: Vec<Arc<Route>>,
    rest: Vec<Arc<Route>>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Tree {
    fn insert(&mut self, route: &Arc<Route>) {
        let mut at = 0;
        for segment in route.matches.path.segments() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            let child = match segment {
                Segment::Rest => {
                    node.rest.push(Arc::clone(route));
                    return;
                }
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::Parameter(_) => *node.parameter.get_or_insert(next),
            };
            if child == next {
                self.nodes.push(Node::default());
            }
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.end.push(Arc::clone(route));
        }
    }

    /// Sorts each node's routes by precedence; gives (route, by) for each that another covers.
    fn sort(&mut self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut covered = Vec::new();
        for node in &mut self.nodes {
            for list in [&mut node.end, &mut node.rest] {
                list.sort_by(|a, b| {
                    a.matches.rank().cmp(&b.matches.rank()).then_with(|| a.name.cmp(&b.name))
                });
                // Where an endpoint stands in another's place is told by `collisions`.
                let routes = list.iter().filter(|route| route.chain.served().is_none());
                for (i, route) in routes.clone().enumerate() {
                    let winner = routes.clone().take(i).find(|w| w.matches.covers(&route.matches));
                    if let Some(winner) = winner {
                        covered.push((Arc::clone(&route.name), Arc::clone(&winner.name)));
                    }
                }
            }
        }
        covered
    }

    fn find(&self, lookup: &Lookup<'_>) -> Option<&Arc<Route>> {
        self.walk(0, lookup.path.get(1..), lookup)
    }

    /// `left` is the path behind the last slash taken; `None` when no segment is left.
    fn walk(&self, at: usize, left: Option<&str>, lookup: &Lookup<'_>) -> Option<&Arc<Route>> {
        let node = self.nodes.get(at)?;
        let Some(left) = left else {
            return first(&node.end, lookup).or_else(|| first(&node.rest, lookup));
        };
        let (segment, left) = match left.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (left, None),
        };
        if let Some(child) = node.literals.get(segment)
            && let Some(route) = self.walk(*child, left, lookup)
        {
            return Some(route);
        }
        if let Some(child) = node.parameter
            && !segment.is_empty()
            && let Some(route) = self.walk(child, left, lookup)
        {
            return Some(route);
        }
        first(&node.rest, lookup)
    }
}

fn first<'t>(routes: &'t [Arc<Route>], lookup: &Lookup<'_>) -> Option<&'t Arc<Route>> {
    routes.iter().find(|route| route.matches.admits(lookup, route.chain.answers_preflight()))
}

#[cfg(test)]
mod tests {
    use super::super::{Matches, Template};
    use super::*;
    use crate::chain::{Chain, Requirement};

    fn route(name: &str, host: &str, path: &str, methods: &[&str]) -> Route {
        Route {
            name: name.into(),
            source: "".into(),
            matches: Matches {
                hosts: host.split_terminator(',').map(|h| HostPattern::parse(h).unwrap()).collect(),
                path: Template::parse(path).unwrap(),
                methods: methods.iter().map(|m| m.parse().unwrap()).collect(),
                ..Matches::default()
            },
            upstream: "u".into(),
            chain: Chain::new(Requirement::Public, Vec::new(), Vec::new()),
            websocket: false,
            path_exceptions: crate::PathExceptions::default(),
        }
    }

    fn index(mut routes: Vec<Route>, reverse: bool) -> (RouteIndex, Vec<Shadowed>) {
        if reverse {
            routes.reverse();
        }
        RouteIndex::build(&routes.into_iter().map(Arc::new).collect::<Vec<_>>())
    }

    fn find(index: &RouteIndex, method: &str, host: &str, target: &str) -> String {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let mut headers = HeaderMap::new();
        headers.insert("x-version", "2".parse().unwrap());
        let method = method.parse().unwrap();
        let lookup =
            Lookup { host, path, method: &method, preflight: None, headers: &headers, query };
        index.find(&lookup).map_or("none".to_owned(), |route| route.name.to_string())
    }

    #[test]
    fn the_more_specific_route_wins_whatever_the_order() {
        for reverse in [false, true] {
            let (index, shadowed) = index(
                vec![
                    route("any", "", "/**", &[]),
                    route("exact", "api.example.com", "/v1/**", &[]),
                    route("get", "api.example.com", "/v1/items", &["GET"]),
                    route("two", "api.example.com", "/v1/items", &["GET", "PUT"]),
                    route("literal", "api.example.com", "/v1/items/new", &[]),
                    route("parameter", "api.example.com", "/v1/items/{id}", &[]),
                    route("deep", "api.example.com", "/v1/{kind}/new/x", &[]),
                    route("wild", "*.example.com", "/**", &[]),
                    route("wilder", "*.eu.example.com", "/**", &[]),
                ],
                reverse,
            );
            assert_eq!(shadowed, []);
            let cases = [
                ("GET", "api.example.com", "/v1/items", "get"),
                ("HEAD", "api.example.com", "/v1/items", "get"),
                ("PUT", "api.example.com", "/v1/items", "two"),
                ("POST", "api.example.com", "/v1/items", "exact"),
                ("GET", "api.example.com", "/v1/items/new", "literal"),
                ("GET", "api.example.com", "/v1/items/7", "parameter"),
                ("GET", "api.example.com", "/v1/items/new/x", "deep"),
                ("GET", "api.example.com", "/v1/items/", "exact"),
                ("GET", "api.example.com", "/v1", "exact"),
                ("GET", "api.example.com", "/v2", "wild"),
                ("GET", "x.eu.example.com", "/", "wilder"),
                ("GET", "example.com", "/", "any"),
            ];
            for (method, host, path, expected) in cases {
                assert_eq!(find(&index, method, host, path), expected, "{method} {host}{path}");
            }
        }
    }

    #[test]
    fn conditions_on_headers_and_query_narrow() {
        let mut header = route("header", "", "/x", &[]);
        header.matches.headers =
            vec![(http::HeaderName::from_static("x-version"), Some("2".into()))];
        let mut query = route("query", "", "/x", &[]);
        query.matches.query = vec![("v w".into(), Some("1&".into()))];
        let mut other = route("other", "", "/y", &[]);
        other.matches.headers =
            vec![(http::HeaderName::from_static("x-version"), Some("3".into()))];
        let (index, _) = index(vec![header, query, other], false);
        assert_eq!(find(&index, "GET", "h", "/x"), "header");
        assert_eq!(find(&index, "GET", "h", "/y"), "none");
        let mut alone = route("query", "", "/x", &[]);
        alone.matches.query = vec![("v w".into(), Some("1&".into()))];
        let (index, _) = super::tests::index(vec![alone], false);
        assert_eq!(find(&index, "GET", "h", "/x?a=b&v+w=1%26"), "query");
        assert_eq!(find(&index, "GET", "h", "/x?v+w=1%26&v%20w=2"), "none");
        assert_eq!(find(&index, "GET", "h", "/x?v+w=%"), "none");
    }

    #[test]
    fn a_route_that_can_never_win_is_named() {
        let (_, shadowed) = index(
            vec![
                route("a", "h,i", "/x/{id}", &["GET"]),
                route("b", "h", "/x/{name}", &["GET"]),
                route("c", "h,j", "/x/{name}", &["GET"]),
                route("d", "h", "/x/{name}", &["GET", "PUT"]),
            ],
            false,
        );
        assert_eq!(shadowed, [Shadowed { route: "b".into(), by: "a".into() }]);
    }
}
