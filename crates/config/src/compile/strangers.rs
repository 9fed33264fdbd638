//! What policies do before anybody has proved who they are: read bodies, and answer at endpoints of
//! their own.

use std::sync::Arc;

use demilune_core::route::{Collision, collisions};
use demilune_core::{Chain, Route};

use super::Compiler;

impl Compiler<'_> {
    /// Bodies of strangers are read only behind a limit by address.
    pub(crate) fn check_strangers(&mut self, path: &str, chain: &Chain) {
        let Some(reader) = chain.reads_bodies_of_strangers() else { return };
        if !chain.limits_by_address() {
            let reason = format!("`{reader}` reads the bodies of callers that nobody knows yet");
            let diagnostic = self
                .diagnostic("config.body_for_strangers", path, reason)
                .help("write `rate_limit: { per: address, limit: … }` under `policies`");
            self.diagnostics.push(diagnostic);
        }
    }

    /// No endpoint of a policy stands where something else does. `routes` are those of one
    /// listener.
    pub(crate) fn check_endpoints(&mut self, routes: &[Arc<Route>]) {
        for Collision { route, policy, endpoint, other, other_policy } in collisions(routes) {
            let taken = match other_policy {
                Some(policy) => format!("`{policy}` of route `{other}` answers there"),
                None => format!("route `{other}` has this path"),
            };
            let reason = format!("`{policy}` is to answer `{endpoint}`, but {taken}");
            let path = format!("routes.{route}");
            // Two listeners may serve the same pair.
            let told = self.diagnostics.iter().any(|d| d.code == TAKEN && d.reason == reason);
            if !told {
                let beside = self.document.span(&format!("routes.{other}"));
                let diagnostic = self.diagnostic(TAKEN, &path, reason).related(beside, "this one");
                self.diagnostics.push(diagnostic);
            }
        }
    }
}

const TAKEN: &str = "config.duplicate";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use demilune_backends::{MemoryCounters, Pool};
    use demilune_core::chain::{NamedAuthenticator, Part};
    use demilune_core::hook::{Authenticator, Carrier, Endpoint, EndpointPath, Hooks, Proof};
    use demilune_core::route::{Matches, Template};
    use demilune_core::{
        Body, Directory, Ending, Fault, Guard, OnFault, Outcome, Request, Requirement, Slot, Stage,
        Verdict,
    };
    use http::{HeaderValue, Method};

    use super::super::{Services, files};
    use super::*;
    use crate::diagnostic::Diagnostics;
    use crate::load_text;

    /// No policy of this release does any of this.
    struct Acts;

    impl Guard for Acts {
        fn check(&self, _: &Request<'_>, _: &mut Slot) -> Result<Verdict, Fault> {
            Ok(Verdict::Continue)
        }
    }

    impl Endpoint for Acts {
        fn limit(&self) -> u64 {
            100
        }

        fn answer<'a>(
            &'a self,
            _: Request<'a>,
            _: &'a Body,
            _: &'a mut Slot,
        ) -> Outcome<'a, Result<Ending, Fault>> {
            Outcome::Now(Err(Fault::new("not asked")))
        }
    }

    impl Authenticator for Acts {
        fn authenticate<'a>(&'a self, _: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
            Outcome::Now(Ok(Proof::Absent))
        }

        fn needs_body(&self) -> Option<u64> {
            Some(100)
        }

        fn challenge(&self) -> HeaderValue {
            HeaderValue::from_static("Acts")
        }

        fn carriers(&self) -> Vec<Carrier> {
            Vec::new()
        }
    }

    fn endpoint(policy: &'static str) -> Part {
        let path = EndpointPath::parse("/cb").unwrap();
        let hooks = Hooks::new().endpoint(Method::POST, path, &Arc::new(Acts));
        Part { policy, hooks, on_fault: OnFault::Closed }
    }

    fn limit(stage: Stage) -> Part {
        let hooks = Hooks::new().guard(stage, &Arc::new(Acts)).limits_by_address();
        Part { policy: "limit", hooks, on_fault: OnFault::Closed }
    }

    fn signed() -> Requirement {
        let authenticator =
            NamedAuthenticator { name: "hooks".into(), authenticator: Arc::new(Acts) };
        Requirement::AllOf(vec![authenticator])
    }

    /// What is said of routes that no document can write yet.
    fn said(check: impl FnOnce(&mut Compiler<'_>)) -> String {
        let text = "version: 1\nroutes:\n  one: { match: { path: /one }, upstream: u }\n  \
                    two: { match: { path: /cb }, upstream: u }\n";
        let document = load_text("test.yaml", text, Path::new(".")).unwrap();
        let services = Services {
            counters: Arc::new(MemoryCounters::new(1)),
            compute: Arc::new(Pool::new(1, 1).unwrap()),
        };
        let mut compiler = Compiler {
            document: &document,
            services: &services,
            diagnostics: Diagnostics::new(),
            files: files::Files::new(&document),
            directory: Directory::default(),
        };
        check(&mut compiler);
        let told =
            compiler.diagnostics.iter().map(|d| format!("{} {}: {}", d.code, d.path, d.reason));
        told.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn bodies_of_strangers_need_a_limit_by_address_at_the_edge() {
        let strangers = |requirement: Requirement, parts: Vec<Part>| {
            let chain = Chain::new(requirement, parts, Vec::new());
            said(|compiler| compiler.check_strangers("routes.one", &chain))
        };
        let refused = |reader: &str| {
            let reason = "reads the bodies of callers that nobody knows yet";
            format!("config.body_for_strangers routes.one: `{reader}` {reason}")
        };
        assert_eq!(strangers(signed(), vec![]), refused("hooks"));
        assert_eq!(strangers(Requirement::Public, vec![endpoint("login")]), refused("login"));
        assert_eq!(strangers(signed(), vec![limit(Stage::Quota)]), refused("hooks"));
        assert_eq!(strangers(signed(), vec![limit(Stage::Edge)]), "");
        let parts = vec![endpoint("login"), limit(Stage::Edge)];
        assert_eq!(strangers(Requirement::Public, parts), "");
        assert_eq!(strangers(Requirement::Public, vec![]), "");
    }

    #[test]
    fn an_endpoint_where_something_else_stands_does_not_load() {
        let route = |name: &str, path: &str, parts| {
            Arc::new(Route {
                name: name.into(),
                source: "".into(),
                matches: Matches { path: Template::parse(path).unwrap(), ..Matches::default() },
                upstream: "u".into(),
                chain: Chain::new(Requirement::Public, parts, Vec::new()),
                websocket: false,
                path_exceptions: demilune_core::PathExceptions::default(),
            })
        };
        let routes =
            [route("one", "/one", vec![endpoint("login")]), route("two", "/cb", Vec::new())];
        let taken = said(|compiler| {
            // By two listeners.
            compiler.check_endpoints(&routes);
            compiler.check_endpoints(&routes);
        });
        let reason = "`login` is to answer `POST /cb`, but route `two` has this path";
        assert_eq!(taken, format!("config.duplicate routes.one: {reason}"));
        let routes = [
            route("one", "/one", vec![endpoint("login")]),
            route("two", "/two", vec![endpoint("logout")]),
        ];
        let taken = said(|compiler| compiler.check_endpoints(&routes));
        let reason = "`login` is to answer `POST /cb`, but `logout` of route `two` answers there";
        assert_eq!(taken, format!("config.duplicate routes.one: {reason}"));
    }
}
