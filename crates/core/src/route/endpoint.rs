//! Policies' own endpoints among the routes.
//!
//! An endpoint is found as a route of its own would be: its one path, its one method, on the hosts
//! of the route whose policy it is, by the same rules. What is found is that route again, with its
//! chain leading to the endpoint instead of the upstream.

use std::sync::Arc;

use http::Method;

use super::{Matches, Route};
use crate::chain::ChainEndpoint;

/// An endpoint that stands where something else stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The route whose policy has the endpoint.
    pub route: Arc<str>,
    /// The policy.
    pub policy: &'static str,
    /// The endpoint, such as `GET /login/callback`.
    pub endpoint: String,
    /// The route that has the path too.
    pub other: Arc<str>,
    /// Its policy, where it is not the route itself but an endpoint.
    pub other_policy: Option<&'static str>,
}

impl Route {
    /// This route once for each endpoint of its policies, leading there. Conditions on headers and
    /// query are the route's, not the endpoint's: a browser that is sent back from a login brings
    /// none of them.
    pub(super) fn at_endpoints(&self) -> impl Iterator<Item = Self> {
        let endpoints = self.chain.endpoints().iter().enumerate();
        endpoints.map(|(i, own)| Self {
            name: Arc::clone(&self.name),
            source: Arc::clone(&self.source),
            matches: Matches {
                hosts: self.matches.hosts.clone(),
                path: own.endpoint.path.template().clone(),
                methods: vec![own.endpoint.method.clone()],
                ..Matches::default()
            },
            upstream: Arc::clone(&self.upstream),
            chain: self.chain.serving(i),
            websocket: false,
            path_exceptions: crate::path::PathExceptions::default(),
        })
    }

    /// Whether some host is written in both.
    fn shares_host(&self, other: &Self) -> bool {
        let (mine, theirs) = (&self.matches.hosts, &other.matches.hosts);
        mine.iter().any(|host| theirs.contains(host)) || (mine.is_empty() && theirs.is_empty())
    }
}

/// The endpoints of `routes`, which one listener serves, that stand where a route or another
/// endpoint does. One that several routes inherit is the same one, and collides with nothing: the
/// first of them by name answers for it.
#[must_use]
pub fn collisions(routes: &[Arc<Route>]) -> Vec<Collision> {
    let mut found = Vec::new();
    for (at, route) in routes.iter().enumerate() {
        for (i, own) in route.chain.endpoints().iter().enumerate() {
            let collision = |other: &Arc<Route>, other_policy| Collision {
                route: Arc::clone(&route.name),
                policy: own.policy,
                endpoint: format!("{} {}", own.endpoint.method, own.endpoint.path),
                other: Arc::clone(&other.name),
                other_policy,
            };
            for other in routes.iter().filter(|other| route.shares_host(other)) {
                let matches = &other.matches;
                let takes = matches.methods.is_empty()
                    || matches.methods.iter().any(|m| overlap(m, &own.endpoint.method));
                if takes && matches.path == *own.endpoint.path.template() {
                    found.push(collision(other, None));
                }
            }
            for (other_at, other) in routes.iter().enumerate().skip(at) {
                if !route.shares_host(other) {
                    continue;
                }
                // Each pair once.
                let from = if other_at == at { i + 1 } else { 0 };
                let others = other.chain.endpoints().iter().skip(from);
                found.extend(
                    others
                        .filter(|their| same_place(own, their) && !same_thing(own, their))
                        .map(|their| collision(other, Some(their.policy))),
                );
            }
        }
    }
    found
}

fn same_place(a: &ChainEndpoint, b: &ChainEndpoint) -> bool {
    a.endpoint.path == b.endpoint.path && overlap(&a.endpoint.method, &b.endpoint.method)
}

fn same_thing(a: &ChainEndpoint, b: &ChainEndpoint) -> bool {
    let (a, b) = (Arc::as_ptr(&a.endpoint.endpoint), Arc::as_ptr(&b.endpoint.endpoint));
    std::ptr::addr_eq(a, b)
}

/// `GET` admits `HEAD` too.
fn overlap(a: &Method, b: &Method) -> bool {
    let read = |method: &Method| method == Method::GET || method == Method::HEAD;
    a == b || (read(a) && read(b))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::{HostPattern, Lookup, RouteIndex, Template};
    use super::*;
    use crate::chain::{Chain, OnFault, Part, Requirement};
    use crate::head::Request;
    use crate::hook::{Endpoint, EndpointPath, Hooks, Outcome, Slot};
    use crate::verdict::{Ending, Fault};
    use crate::{Body, Denial};

    struct Callback;

    impl Endpoint for Callback {
        fn answer<'a>(
            &'a self,
            _: Request<'a>,
            _: &'a Body,
            _: &'a mut Slot,
        ) -> Outcome<'a, Result<Ending, Fault>> {
            let denial = Denial::new(http::StatusCode::FORBIDDEN, "login.state", "no");
            Outcome::Now(Ok(Ending::Deny(Box::new(denial))))
        }
    }

    fn part(policy: &'static str, endpoints: &[(&str, &Arc<Callback>)]) -> Part {
        let hooks = endpoints.iter().fold(Hooks::new(), |hooks, (place, callback)| {
            let (method, path) = place.split_once(' ').unwrap();
            hooks.endpoint(method.parse().unwrap(), EndpointPath::parse(path).unwrap(), callback)
        });
        Part { policy, hooks, on_fault: OnFault::Closed }
    }

    /// A route such as `GET a.example /x/**`.
    fn route(name: &str, matches: &str, parts: Vec<Part>) -> Arc<Route> {
        let [methods, hosts, path]: [&str; 3] =
            matches.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let list = |text: &str| match text {
            "-" => Vec::new(),
            text => text.split(',').map(str::to_owned).collect(),
        };
        Arc::new(Route {
            name: name.into(),
            source: "".into(),
            matches: Matches {
                hosts: list(hosts).iter().map(|h| HostPattern::parse(h).unwrap()).collect(),
                path: Template::parse(path).unwrap(),
                methods: list(methods).iter().map(|m| m.parse().unwrap()).collect(),
                ..Matches::default()
            },
            upstream: "u".into(),
            chain: Chain::new(Requirement::Public, parts, Vec::new()),
            websocket: false,
            path_exceptions: crate::path::PathExceptions::default(),
        })
    }

    fn told(routes: &[Arc<Route>]) -> Vec<String> {
        let tell = |c: &Collision| {
            let other = c.other_policy.map_or(String::new(), |policy| format!(".{policy}"));
            format!("{}.{} {} | {}{other}", c.route, c.policy, c.endpoint, c.other)
        };
        collisions(routes).iter().map(tell).collect()
    }

    #[test]
    fn an_endpoint_is_found_on_the_hosts_of_its_route_alone() {
        let callback = Arc::new(Callback);
        let login = part("login", &[("GET /login/callback", &callback), ("POST /out", &callback)]);
        let routes = [
            route("app", "GET a.example /app/**", vec![login]),
            route("all", "- a.example /**", vec![]),
            route("other", "- - /**", vec![]),
        ];
        assert_eq!(told(&routes), Vec::<String>::new());
        let (index, shadowed) = RouteIndex::build(&routes);
        assert_eq!(shadowed, []);
        let found = |method: &str, host: &str, path: &str| {
            let (method, headers) = (method.parse().unwrap(), HeaderMap::new());
            let (preflight, query) = (None, None);
            let lookup =
                Lookup { host, path, method: &method, preflight, headers: &headers, query };
            let route = index.find(&lookup).unwrap();
            let served = route.chain.served().map_or(String::new(), |own| {
                format!(" {} {}", own.endpoint.method, own.endpoint.path)
            });
            format!("{}{served}", route.name)
        };
        for (method, host, path, expected) in [
            ("GET", "a.example", "/login/callback", "app GET /login/callback"),
            ("HEAD", "a.example", "/login/callback", "app GET /login/callback"),
            ("POST", "a.example", "/login/callback", "all"),
            ("POST", "a.example", "/out", "app POST /out"),
            ("GET", "a.example", "/app/login/callback", "app"),
            ("GET", "b.example", "/login/callback", "other"),
        ] {
            assert_eq!(found(method, host, path), expected, "{method} {host}{path}");
        }
    }

    #[test]
    fn an_endpoint_in_the_place_of_something_else_is_named() {
        let [one, two] = [Arc::new(Callback), Arc::new(Callback)];
        let login = || part("login", &[("GET /cb", &one)]);
        let other = || part("other", &[("GET /cb", &two)]);
        let app = || route("app", "- a.example /app/**", vec![login()]);
        for (beside, expected) in [
            (route("r", "- a.example /cb", vec![]), "app.login GET /cb | r"),
            (route("r", "HEAD b.example,a.example /cb", vec![]), "app.login GET /cb | r"),
            (route("r", "- a.example /r", vec![other()]), "app.login GET /cb | r.other"),
            (route("r", "POST a.example /cb", vec![]), ""),
            (route("r", "- a.example /{x}", vec![]), ""),
            (route("r", "- b.example /cb", vec![]), ""),
            (route("r", "- - /cb", vec![]), ""),
            (route("r", "- b.example /r", vec![other()]), ""),
            // Inherited by both: one and the same.
            (route("r", "- a.example /r", vec![login()]), ""),
        ] {
            let expected: Vec<&str> = expected.split_terminator(';').collect();
            assert_eq!(told(&[app(), beside]), expected);
        }
        let itself = route("self", "- - /cb", vec![login()]);
        assert_eq!(told(&[itself]), ["self.login GET /cb | self"]);
        let twice = route("twice", "- - /x", vec![login(), other()]);
        assert_eq!(told(&[twice]), ["twice.login GET /cb | twice.other"]);
    }
}
